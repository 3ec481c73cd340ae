package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

//go:embed peer.py
var peerScript string

// agreement is how far the sides' means may be apart. Scores are float32 sums in two orders, so that of some pairs of titles that all but tie
// the one or the other comes first.
const agreement = 1e-5

// report is what a run of the command found: medians over its rounds.
type report struct {
	Users   int    `json:"users"`
	Titles  int    `json:"titles"`
	Dim     int    `json:"dim"`
	K       int    `json:"k"`
	Rounds  int    `json:"rounds"`
	Threads int    `json:"threads"`
	Ours    result `json:"marquee"`
	Theirs  result `json:"numpy_ranx"`
	// Ratio is their time by ours, all in all; RankRatio counts of theirs only the ranking, without which there is nothing to measure.
	Ratio     float64 `json:"ratio"`
	RankRatio float64 `json:"rank_ratio"`
}

func compare(ctx context.Context, o options) (*report, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	var ours, theirs []result
	for range o.rounds {
		us, err := call(ctx, self, "-side", o.handover, "-data", o.data, "-dim", strconv.Itoa(o.dim), "-k", strconv.Itoa(o.k), "-threads", strconv.Itoa(o.cpu))
		if err != nil {
			return nil, fmt.Errorf("marquee's side: %w", err)
		}
		them, err := call(ctx, o.python, "-c", peerScript, o.handover, strconv.Itoa(o.dim), strconv.Itoa(o.k), strconv.Itoa(o.cpu), metricNames(o.k))
		if err != nil {
			return nil, fmt.Errorf("numpy's and ranx's side: %w", err)
		}
		if err := agree(us, them, o.k); err != nil {
			return nil, err
		}
		ours, theirs = append(ours, *us), append(theirs, *them)
	}
	r := &report{Dim: o.dim, K: o.k, Rounds: o.rounds, Threads: o.cpu, Ours: median(ours), Theirs: median(theirs)}
	r.Ratio, r.RankRatio = r.Theirs.Seconds/r.Ours.Seconds, r.Theirs.Rank/r.Ours.Seconds
	return r, nil
}

// metricNames are ranx's names of what it is asked for.
func metricNames(k int) string {
	var names []string
	for _, theirs := range shared(k) {
		names = append(names, theirs)
	}
	slices.Sort(names)
	return strings.Join(append(names, "map@"+strconv.Itoa(k)), ",")
}

func call(ctx context.Context, program string, args ...string) (*result, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1")
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	r := &result{}
	if err := json.Unmarshal(out, r); err != nil {
		return nil, fmt.Errorf("understand %q: %w", out, err)
	}
	return r, nil
}

func agree(us, them *result, k int) error {
	for ours, theirs := range shared(k) {
		a, okA := us.Metrics[ours]
		b, okB := them.Metrics[theirs]
		if !okA || !okB || !(math.Abs(a-b) <= agreement) {
			return fmt.Errorf("the sides disagree: %s is %.7f here and %.7f in ranx", ours, a, b)
		}
	}
	return nil
}

// median takes the median of every time and the highest peak.
func median(of []result) result {
	m := of[0]
	m.Seconds = middle(of, func(r result) float64 { return r.Seconds })
	m.Rank = middle(of, func(r result) float64 { return r.Rank })
	m.Convert = middle(of, func(r result) float64 { return r.Convert })
	m.Metric = middle(of, func(r result) float64 { return r.Metric })
	for _, r := range of {
		m.PeakBytes = max(m.PeakBytes, r.PeakBytes)
	}
	return m
}

func middle(of []result, value func(result) float64) float64 {
	values := make([]float64, len(of))
	for i, r := range of {
		values[i] = value(r)
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

func (r *report) print(w io.Writer) {
	mb := func(b int64) int64 { return b / 1e6 }
	ndcg := "ndcg@" + strconv.Itoa(r.K)
	_, _ = fmt.Fprintf(w, "%d users x %d titles, d=%d, first %d, %d threads, median of %d rounds; both have %s %.5f\n", r.Users, r.Titles, r.Dim, r.K, r.Threads, r.Rounds, ndcg, r.Ours.Metrics[ndcg])
	_, _ = fmt.Fprintf(w, "marquee       %6.2f s, peak %5d MB resident\n", r.Ours.Seconds, mb(r.Ours.PeakBytes))
	_, _ = fmt.Fprintf(w, "numpy + ranx  %6.2f s, peak %5d MB resident: %.2f s ranking, %.2f s making ranx's runs, %.2f s metrics\n", r.Theirs.Seconds, mb(r.Theirs.PeakBytes), r.Theirs.Rank, r.Theirs.Convert, r.Theirs.Metric)
	_, _ = fmt.Fprintf(w, "ratio         %6.2f; against numpy's ranking alone %.2f\n", r.Ratio, r.RankRatio)
}
