package benchmark

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"marquee/eval/compare"
	"marquee/eval/metric"
	"marquee/eval/metric/judge"
)

// Study is several models on one split, each beside a reference.
type Study struct {
	Protocol    string            `json:"protocol"`
	SplitHash   string            `json:"split_hash"`
	Fingerprint judge.Fingerprint `json:"fingerprint"`
	CutAt       time.Time         `json:"cut_at,omitzero"`
	Users       int               `json:"users"`
	Titles      int               `json:"titles"`
	Train       int               `json:"train_interactions"`
	Metric      string            `json:"metric"`
	Results     []Studied         `json:"results"`
}

// Studied is one model of a study.
type Studied struct {
	Measured
	// Interval is of the study's metric: its mean over users by the bootstrap.
	Interval metric.Interval `json:"interval"`
	// Against are the differences from the references, in the order of the models.
	Against []Difference `json:"against,omitempty"`
}

// Difference is a model's metric minus a reference's, user by user.
type Difference struct {
	Reference string `json:"reference"`
	metric.Interval
	// P is the permutation test's, PHolm the same adjusted for all comparisons of the study, Wilcoxon the signed-rank test's.
	P        float64 `json:"p"`
	PHolm    float64 `json:"p_holm"`
	Wilcoxon float64 `json:"p_wilcoxon"`
	// Effect is Cohen's d for pairs.
	Effect float64 `json:"effect"`
}

// RunStudy measures all models under the first seed and compares each with every reference that is among them. name is the
// metric compared, such as ndcg@10.
func RunStudy(ctx context.Context, b *Benchmark, models []Model, references []string, name string, opts Options) (*Study, error) {
	if len(opts.Seeds) == 0 {
		return nil, fmt.Errorf("a study needs a seed")
	}
	s := &Study{Protocol: b.Format, Users: len(b.Holdout.Users), Titles: b.Holdout.Train.Cols, Train: b.Fit.NNZ(), Metric: name}
	for _, m := range models {
		one, err := measure(ctx, b, m, opts.Seeds[0], opts)
		if err != nil {
			return nil, err
		}
		values := one.Result.PerUser[name]
		if values == nil {
			return nil, fmt.Errorf("a study by %s, which is not taken of lists of %v", name, b.Cutoffs)
		}
		interval, err := metric.PairedBootstrap(values, make([]float64, len(values)), opts.Resamples, 0.95, opts.Seeds[0])
		if err != nil {
			return nil, err
		}
		s.Results = append(s.Results, Studied{Measured: *one, Interval: interval})
	}
	s.Fingerprint = s.Results[0].Result.Fingerprint
	s.SplitHash = s.Fingerprint.Split
	return s, s.compare(references, opts)
}

func (s *Study) compare(references []string, opts Options) error {
	var p []float64
	for i := range s.Results {
		m := &s.Results[i]
		for j := range s.Results {
			r := &s.Results[j]
			// Of two references, the later is held against the earlier; the other way round would be the same test again.
			if i == j || !slices.Contains(references, r.Model) || j > i && slices.Contains(references, m.Model) {
				continue
			}
			d, err := difference(m.Result, r.Result, s.Metric, opts)
			if err != nil {
				return fmt.Errorf("compare %s with %s: %w", m.Model, r.Model, err)
			}
			d.Reference = r.Model
			m.Against = append(m.Against, *d)
			p = append(p, d.P)
		}
	}
	adjusted := compare.Holm(p)
	for i := range s.Results {
		for j := range s.Results[i].Against {
			s.Results[i].Against[j].PHolm, adjusted = adjusted[0], adjusted[1:]
		}
	}
	return nil
}

func difference(a, b *judge.Result, name string, opts Options) (*Difference, error) {
	interval, err := judge.Compare(a, b, name, opts.Resamples, 0.95, opts.Seeds[0])
	if err != nil {
		return nil, err
	}
	d := &Difference{Interval: interval}
	x, y := a.PerUser[name], b.PerUser[name]
	if d.P, err = compare.Permutation(x, y, opts.Resamples, opts.Seeds[0]); err != nil {
		return nil, err
	}
	if _, d.Wilcoxon, err = compare.Wilcoxon(x, y); err != nil {
		return nil, err
	}
	if d.Effect, err = compare.Effect(x, y); err != nil {
		return nil, err
	}
	if math.IsInf(d.Effect, 0) { // Every user differs by the same: JSON knows no infinity.
		d.Effect = math.Copysign(math.MaxFloat64, d.Effect)
	}
	return d, nil
}
