package nightly

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"marquee/eval/metric"
	"marquee/internal/sparse"
)

// Protocol names how Evaluate judges, so that numbers of different protocols are never compared: cut at the 90th
// percentile of event time, equal timestamps on one side; users with 5 or more train events; seen titles masked; every
// later title relevant; lists of 10; IDCG over min(10, relevant); ties counted against the model.
const Protocol = "gt-90"

// cutoff is the length of the judged lists.
const cutoff = 10

// Holdout is a data set split in time: what a model may see and what it is judged by.
type Holdout struct {
	// Train is users x titles.
	Train *sparse.CSR
	// Users are the rows of Train that are judged; Relevant are their later titles, each list ascending, none seen in
	// Train.
	Users    []uint32
	Relevant [][]uint32
}

// Validate refuses a split that would make any number meaningless.
func (h *Holdout) Validate() error {
	if h.Train == nil || len(h.Users) == 0 {
		return errors.New("the split leaves nobody to judge by: no user has both 5 titles before the cut and a new one after it")
	}
	if len(h.Users) != len(h.Relevant) {
		return fmt.Errorf("the split has %d users and %d lists of relevant titles", len(h.Users), len(h.Relevant))
	}
	for i, u := range h.Users {
		if int64(u) >= int64(h.Train.Rows) {
			return fmt.Errorf("the split judges user %d of %d", u, h.Train.Rows)
		}
		if i > 0 && h.Users[i-1] >= u {
			return fmt.Errorf("the split judges user %d after user %d, want ascending and each once", u, h.Users[i-1])
		}
		if err := h.validateRelevant(u, h.Relevant[i]); err != nil {
			return err
		}
	}
	return nil
}

func (h *Holdout) validateRelevant(user uint32, relevant []uint32) error {
	if len(relevant) == 0 {
		return fmt.Errorf("the split judges user %d by no title: such a user scores 0 under every model", user)
	}
	for i, t := range relevant {
		switch {
		case int64(t) >= int64(h.Train.Cols):
			return fmt.Errorf("the split holds title %d of %d relevant to user %d", t, h.Train.Cols, user)
		case i > 0 && relevant[i-1] >= t:
			return fmt.Errorf("the relevant titles of user %d have %d after %d, want ascending and each once", user, t, relevant[i-1])
		case h.Train.Has(int(user), t):
			return fmt.Errorf("the split leaks: user %d has title %d in train and in test", user, t)
		}
	}
	return nil
}

// Scorer scores titles for a user, a row of the train matrix. Score is called from several goroutines.
type Scorer interface {
	// Score sets all of scores, one a column of the train matrix; -Inf means never to recommend.
	Score(user uint32, scores []float32) error
}

// Result is how a model did on the judged users.
type Result struct {
	Metrics map[string]float64 `json:"metrics"`
	// NDCG holds each judged user's NDCG@10, in the order of the holdout's users, for paired comparison.
	NDCG []float64 `json:"-"`
}

// Evaluate ranks every title a judged user has not seen and measures the first 10. A split that Validate refuses, and a
// score that is NaN, are errors.
func Evaluate(ctx context.Context, h *Holdout, s Scorer) (*Result, error) {
	if err := h.Validate(); err != nil {
		return nil, err
	}
	n := len(h.Users)
	users := make([]judged, n)
	workers := min(runtime.GOMAXPROCS(0), n)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[w] = judge(ctx, h, s, users, w, workers)
		}()
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return summarize(users, coverage(h.Train.Cols, users)), nil
}

// judged are one user's metrics, and the list they are of.
type judged struct {
	ndcg, recall, hit, rr float64
	list                  [cutoff]uint32
	length                int
}

func judge(ctx context.Context, h *Holdout, s Scorer, users []judged, first, step int) error {
	scores := make([]float32, h.Train.Cols)
	var top metric.Selector
	var hits []int
	for i := first; i < len(h.Users); i += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		u := h.Users[i]
		if err := s.Score(u, scores); err != nil {
			return fmt.Errorf("score user %d: %w", u, err)
		}
		if t := slices.IndexFunc(scores, func(x float32) bool { return x != x }); t >= 0 {
			return fmt.Errorf("the model scores title %d for user %d as NaN", t, u)
		}
		seen, _ := h.Train.Row(int(u))
		for _, t := range seen {
			scores[t] = float32(math.Inf(-1))
		}
		relevant := h.Relevant[i]
		list := top.Top(scores, cutoff, relevant)
		hits = metric.Hits(hits[:0], list, relevant)
		user := &users[i]
		user.length = copy(user.list[:], list)
		user.ndcg = metric.NDCG(hits, len(relevant), cutoff)
		user.recall = metric.Recall(hits, len(relevant), cutoff)
		user.hit = metric.HitRate(hits, cutoff)
		user.rr = metric.ReciprocalRank(hits, cutoff)
	}
	return nil
}

func coverage(titles int, users []judged) float64 {
	c := metric.NewCoverage(titles)
	for i := range users {
		c.Add(users[i].list[:users[i].length])
	}
	return c.Value()
}

func summarize(users []judged, covered float64) *Result {
	r := &Result{NDCG: make([]float64, len(users))}
	var recall, hit, rr float64
	for i, u := range users {
		r.NDCG[i] = u.ndcg
		recall += u.recall
		hit += u.hit
		rr += u.rr
	}
	n := float64(len(users))
	r.Metrics = map[string]float64{
		"ndcg@10": metric.Mean(r.NDCG), "recall@10": recall / n, "hit_rate@10": hit / n, "mrr@10": rr / n, "coverage@10": covered,
	}
	return r
}
