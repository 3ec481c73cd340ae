package judge

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"marquee/eval/metric"
)

// Finding is something suspicious about a result, by name.
type Finding struct {
	Name   string `json:"name"`
	Detail string `json:"detail"`
}

const (
	// ConstantScores: for most users the model gives all titles the same score, so its lists are in the order of ties.
	ConstantScores = "constant-scores"
	// MemorisedTest: the model puts nearly all held-out titles of nearly everybody first. No model does that without having seen
	// them.
	MemorisedTest = "memorised-test"
	// ShortLists: some users got fewer titles than asked for.
	ShortLists = "short-lists"
	// Sampled: only sampled candidates were ranked.
	Sampled = "sampled-candidates"
)

// memorised is the mean NDCG from which a model has evidently seen the test. The best published models stay below
// .5 on every full-ranking protocol there is.
const memorised = 0.95

func (j *judgement) findings(r *Result) []Finding {
	var out []Finding
	add := func(name, format string, args ...any) {
		out = append(out, Finding{name, fmt.Sprintf(format, args...)})
	}
	flat := 0
	for _, f := range j.flat {
		if f {
			flat++
		}
	}
	if 2*flat > len(r.Users) {
		add(ConstantScores, "all titles have the same score for %d of %d users", flat, len(r.Users))
	}
	// One relevant title among few candidates is found easily, one among a catalogue is not.
	ndcg := r.Means[fmt.Sprintf("ndcg@%d", j.k)]
	if ndcg >= memorised && j.h.Candidates == nil && j.h.Train.Cols >= 10*j.k && len(r.Users) >= 20 {
		add(MemorisedTest, "ndcg@%d is %.4f: the model has seen the held-out titles", j.k, ndcg)
	}
	short := 0
	for i := range r.Users {
		if len(r.List(i)) < j.k {
			short++
		}
	}
	if short > 0 && j.h.Candidates == nil {
		add(ShortLists, "%d of %d users got fewer than %d titles", short, len(r.Users), j.k)
	}
	if j.h.Candidates != nil {
		add(Sampled, "ranked among sampled candidates: do not compare with full rankings")
	}
	return out
}

// ErrFingerprint is wrapped where numbers of different protocols would be compared.
var ErrFingerprint = errors.New("fingerprints differ")

// Fingerprint says what a number is of. Numbers compare only where it is the same.
type Fingerprint struct {
	Split   string `json:"split_hash"`
	Mask    string `json:"mask"`
	Ranking string `json:"ranking"`
	Ties    string `json:"ties"`
	Cutoffs []int  `json:"cutoffs"`
	Formula string `json:"formula"`
}

func fingerprint(h *Holdout, opts Options) Fingerprint {
	f := Fingerprint{
		Split: h.Hash(), Mask: "train", Ranking: "full", Ties: opts.Ties.String(), Cutoffs: opts.Cutoffs,
		Formula: "recall = hits/relevant; ndcg binary, idcg over min(k, relevant)",
	}
	if h.Candidates != nil {
		f.Ranking = "sampled"
	}
	return f
}

// String is the protocol's short name: the first 12 hexadecimal digits of a hash of every field. It stands beside numbers.
func (f Fingerprint) String() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []string{f.Split, f.Mask, f.Ranking, f.Ties, fmt.Sprint(f.Cutoffs), f.Formula}))
	return hex.EncodeToString(sum[:6])
}

// Match returns an error that wraps ErrFingerprint and names what differs, or nil.
func (f Fingerprint) Match(g Fingerprint) error {
	var differ []string
	for _, p := range []struct{ name, a, b string }{
		{"split", f.Split, g.Split}, {"mask", f.Mask, g.Mask}, {"ranking", f.Ranking, g.Ranking}, {"ties", f.Ties, g.Ties},
		{"cutoffs", fmt.Sprint(f.Cutoffs), fmt.Sprint(g.Cutoffs)}, {"formula", f.Formula, g.Formula},
	} {
		if p.a != p.b {
			differ = append(differ, fmt.Sprintf("%s (%s, %s)", p.name, p.a, p.b))
		}
	}
	if len(differ) == 0 {
		return nil
	}
	return fmt.Errorf("%w in %s", ErrFingerprint, strings.Join(differ, ", "))
}

// Compare is the paired bootstrap of a metric of two results, a minus b. It refuses results of different protocols.
func Compare(a, b *Result, name string, resamples int, level float64, seed uint64) (metric.Interval, error) {
	if err := a.Fingerprint.Match(b.Fingerprint); err != nil {
		return metric.Interval{}, err
	}
	x, y := a.PerUser[name], b.PerUser[name]
	if x == nil || y == nil {
		return metric.Interval{}, fmt.Errorf("no metric %s a user", name)
	}
	return metric.PairedBootstrap(x, y, resamples, level, seed)
}
