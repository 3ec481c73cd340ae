package nightly

import (
	"fmt"

	"marquee/eval/metric"
)

const (
	bootstrapResamples = 2000
	confidence         = 0.95
	bootstrapSeed      = 1
)

// Comparison is the candidate held against another model on the same users.
type Comparison struct {
	Against string `json:"against"`
	// Difference is candidate minus other in NDCG@10, with its paired-bootstrap interval.
	Difference metric.Interval `json:"ndcg@10_difference"`
	// Ratio is candidate over other in NDCG@10; 0 when the other's is 0.
	Ratio float64 `json:"ndcg@10_ratio"`
	// Note says what the numbers do not.
	Note string `json:"note,omitempty"`
}

// Verdict is the gate's decision and its reasons.
type Verdict struct {
	Pass    bool     `json:"pass"`
	Reasons []string `json:"reasons"`
}

// compare holds the candidate's per-user NDCG against another model's.
func compare(candidate, other *Result, against string) (Comparison, error) {
	interval, err := metric.PairedBootstrap(candidate.NDCG, other.NDCG, bootstrapResamples, confidence, bootstrapSeed)
	if err != nil {
		return Comparison{}, fmt.Errorf("compare with %s: %w", against, err)
	}
	c := Comparison{Against: against, Difference: interval}
	if base := other.Metrics["ndcg@10"]; base > 0 {
		c.Ratio = candidate.Metrics["ndcg@10"] / base
	}
	return c, nil
}

// decide is the promotion gate. A candidate is refused when it is worse than the incumbent beyond the allowed loss or
// beyond doubt, when popularity beats it beyond doubt, or when it was trained on less than half of what the incumbent
// was: data that vanished makes a poor model that no holdout of the same data can expose.
func decide(comparisons []Comparison, candidate size, incumbent *incumbentRelease, maxLoss float64) Verdict {
	var reasons []string
	refuse := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	for _, c := range comparisons {
		d := c.Difference
		surelyWorse := d.High < 0
		switch {
		case c.Against == modelIncumbent && (surelyWorse || d.Mean < 0 && c.Ratio < 1-maxLoss):
			refuse("worse than the incumbent: NDCG@10 %+.4f, %g%% interval %+.4f to %+.4f, %.1f%% of its value; at least %.1f%% is wanted, and no certain loss",
				d.Mean, 100*d.Level, d.Low, d.High, 100*c.Ratio, 100*(1-maxLoss))
		case c.Against != modelIncumbent && surelyWorse:
			refuse("%s beats it: NDCG@10 %+.4f, %g%% interval %+.4f to %+.4f", c.Against, d.Mean, 100*d.Level, d.Low, d.High)
		}
	}
	if before := incumbent.Size.Interactions; candidate.Interactions < before-candidate.Interactions {
		refuse("trained on %d interactions, less than half of the incumbent's %d: has data been lost?", candidate.Interactions, before)
	}
	if len(reasons) > 0 {
		return Verdict{Reasons: reasons}
	}
	return Verdict{Pass: true, Reasons: []string{approval(comparisons, incumbent)}}
}

// approval says what a release that passed was held against.
func approval(comparisons []Comparison, incumbent *incumbentRelease) string {
	if incumbent.ID == "" {
		return "popularity does not beat it, and there is no release before it"
	}
	if incumbent.Recipe == nil {
		return "popularity does not beat it; the release in use could not be compared: " + incumbent.Why
	}
	for _, c := range comparisons {
		if c.Against == modelIncumbent && c.Note != "" {
			return "popularity does not beat it; " + c.Note
		}
	}
	return "no worse than the incumbent and than popularity"
}
