package nightly

import (
	"fmt"

	"marquee/eval/metric"
)

const (
	bootstrapResamples = 2000
	confidence         = 0.95
)

// Comparison is the candidate held against another model on the same users.
type Comparison struct {
	Against string `json:"against"`
	// Difference is candidate minus other in NDCG@10, with its paired-bootstrap interval.
	Difference metric.Interval `json:"ndcg@10_difference"`
	Ratio      float64         `json:"ndcg@10_ratio"`
}

// Verdict is the gate's decision and its reasons.
type Verdict struct {
	Pass    bool     `json:"pass"`
	Reasons []string `json:"reasons"`
}

// compare holds the candidate's per-user NDCG against another model's.
func compare(candidate, other *Result, against string, seed uint64) (Comparison, error) {
	interval, err := metric.PairedBootstrap(candidate.NDCG, other.NDCG, bootstrapResamples, confidence, seed)
	if err != nil {
		return Comparison{}, fmt.Errorf("compare with %s: %w", against, err)
	}
	c := Comparison{Against: against, Difference: interval}
	if base := other.Metrics["ndcg@10"]; base > 0 {
		c.Ratio = candidate.Metrics["ndcg@10"] / base
	}
	return c, nil
}

// size is how much a release was trained on.
type size struct {
	Profiles     int   `json:"profiles"`
	Interactions int64 `json:"interactions"`
}

// decide is the promotion gate. A candidate is refused when it is worse than the incumbent beyond the allowed loss or
// beyond doubt, when popularity beats it beyond doubt, or when it was trained on less than half of what the incumbent
// was: data that vanished makes a poor model that no holdout of the same data can expose.
func decide(comparisons []Comparison, candidate, incumbent size, maxLoss float64) Verdict {
	v := Verdict{Pass: true}
	refuse := func(format string, args ...any) {
		v.Pass = false
		v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...))
	}
	for _, c := range comparisons {
		surelyWorse := c.Difference.High < 0
		switch {
		case c.Against == modelIncumbent && (surelyWorse || c.Ratio > 0 && c.Ratio < 1-maxLoss):
			refuse("worse than the incumbent: NDCG@10 %+.4f, 95%% interval %+.4f to %+.4f, %.1f%% of its value; allowed is %.1f%%",
				c.Difference.Mean, c.Difference.Low, c.Difference.High, 100*c.Ratio, 100*(1-maxLoss))
		case c.Against != modelIncumbent && surelyWorse:
			refuse("%s beats it: NDCG@10 %+.4f, 95%% interval %+.4f to %+.4f",
				c.Against, c.Difference.Mean, c.Difference.Low, c.Difference.High)
		}
	}
	if incumbent.Interactions > 0 && candidate.Interactions*2 < incumbent.Interactions {
		refuse("trained on %d interactions, less than half of the incumbent's %d: has data been lost?", candidate.Interactions, incumbent.Interactions)
	}
	if v.Pass {
		v.Reasons = append(v.Reasons, "no worse than the incumbent and than popularity")
	}
	return v
}
