package nightly

import (
	"context"

	"marquee/eval/metric/judge"
)

// Protocol names how Evaluate judges, so that numbers of different protocols are never compared: cut at the 90th
// percentile of event time, equal timestamps on one side; users with 5 or more train events; seen titles masked; every
// later title relevant; lists of 10; IDCG over min(10, relevant); ties counted against the model.
const Protocol = "gt-90"

// Result is how a model did on the judged users.
type Result struct {
	Metrics map[string]float64 `json:"metrics"`
	// NDCG holds each judged user's NDCG@10, in the order of the holdout's users, for paired comparison.
	NDCG []float64 `json:"-"`
}

// Evaluate ranks every title a judged user has not seen and measures the first 10. A split that leaks or judges nobody, and
// a score that is NaN, are errors.
func Evaluate(ctx context.Context, h *judge.Holdout, s judge.Scorer) (*Result, error) {
	judged, err := judge.Judge(ctx, h, s, judge.Options{Cutoffs: []int{10}})
	if err != nil {
		return nil, err
	}
	r := &Result{Metrics: map[string]float64{}, NDCG: judged.PerUser["ndcg@10"]}
	for _, name := range []string{"ndcg@10", "recall@10", "hit_rate@10", "mrr@10", "coverage@10"} {
		r.Metrics[name] = judged.Means[name]
	}
	return r, nil
}
