package benchmark

import (
	"context"
	"fmt"
	"math"
	"time"

	"marquee/eval/metric"
	"marquee/eval/metric/judge"
)

// Model is something to measure.
type Model struct {
	Name string
	// Seeded says that Fit depends on the seed; one that does not is measured once.
	Seeded bool
	// Fit makes a scorer of what b lets a model see: b.Fit, b.Holdout.Train and b.Sequences, never the held-out titles.
	Fit func(ctx context.Context, b *Benchmark, seed uint64) (judge.Scorer, error)
}

// Measured is one model's result under one seed.
type Measured struct {
	Model    string             `json:"model"`
	Seed     uint64             `json:"seed"`
	Metrics  map[string]float64 `json:"metrics"`
	Slices   []judge.Sliced     `json:"slices,omitempty"`
	Findings []judge.Finding    `json:"findings,omitempty"`
	// FitSeconds and JudgeSeconds are wall-clock times.
	FitSeconds   float64 `json:"fit_seconds"`
	JudgeSeconds float64 `json:"judge_seconds"`

	Result *judge.Result `json:"-"`
}

// Report is what was measured on one split.
type Report struct {
	Protocol    string            `json:"protocol"`
	SplitHash   string            `json:"split_hash"`
	Fingerprint judge.Fingerprint `json:"fingerprint"`
	Users       int               `json:"users"`
	Titles      int               `json:"titles"`
	Train       int               `json:"train_interactions"`
	Notes       []string          `json:"notes,omitempty"`
	// Hyperparameters are those of the model, where they were searched for this report.
	Hyperparameters map[string]float64 `json:"hyperparameters,omitempty"`
	Results         []Measured         `json:"results"`
	Mean            map[string]float64 `json:"mean"`
	Std             map[string]float64 `json:"std"` // over seeds, n-1 in the denominator; 0 for one
	Baselines       []Measured         `json:"baselines,omitempty"`
	Comparisons     []Comparison       `json:"comparisons,omitempty"`
}

// Comparison is the model under its first seed beside a baseline, user by user.
type Comparison struct {
	Model   string `json:"model"`
	Against string `json:"against"`
	Metric  string `json:"metric"`
	metric.Interval
}

// Options say how to measure.
type Options struct {
	Seeds []uint64
	Ties  metric.Ties
	// Attributes, where not nil, are the titles': diversity and miscalibration are taken by them.
	Attributes *judge.Attributes
	// Slices are groups to take the metrics within.
	Slices []judge.Slice
	// Baselines are measured beside the model.
	Baselines []Model
	// Resamples is the number of the bootstrap's resamples.
	Resamples int
	// Progress, where set, is told what is being done.
	Progress func(what string)
}

// Run fits and measures the model under every seed, and the baselines beside it.
func Run(ctx context.Context, b *Benchmark, m Model, opts Options) (*Report, error) {
	seeds := opts.Seeds
	if len(seeds) == 0 {
		return nil, fmt.Errorf("measure %s: no seed given", m.Name)
	}
	if !m.Seeded {
		seeds = seeds[:1]
	}
	r := &Report{Protocol: b.Format, Users: len(b.Holdout.Users), Titles: b.Holdout.Train.Cols, Train: b.Fit.NNZ(), Notes: b.Notes}
	for _, seed := range seeds {
		one, err := measure(ctx, b, m, seed, opts)
		if err != nil {
			return nil, err
		}
		r.Results = append(r.Results, *one)
	}
	first := r.Results[0].Result
	r.Fingerprint, r.SplitHash = first.Fingerprint, first.Fingerprint.Split
	r.Mean, r.Std = overSeeds(r.Results)
	for _, base := range opts.Baselines {
		if base.Name == m.Name {
			continue
		}
		one, err := measure(ctx, b, base, seeds[0], opts)
		if err != nil {
			return nil, err
		}
		r.Baselines = append(r.Baselines, *one)
		name := fmt.Sprintf("ndcg@%d", b.Cutoffs[len(b.Cutoffs)/2])
		interval, err := judge.Compare(first, one.Result, name, opts.Resamples, 0.95, seeds[0])
		if err != nil {
			return nil, fmt.Errorf("compare %s with %s: %w", m.Name, base.Name, err)
		}
		r.Comparisons = append(r.Comparisons, Comparison{Model: m.Name, Against: base.Name, Metric: name, Interval: interval})
	}
	return r, nil
}

func measure(ctx context.Context, b *Benchmark, m Model, seed uint64, opts Options) (*Measured, error) {
	if opts.Progress != nil {
		opts.Progress(fmt.Sprintf("%s, seed %d", m.Name, seed))
	}
	start := time.Now()
	scorer, err := m.Fit(ctx, b, seed)
	if err != nil {
		return nil, fmt.Errorf("fit %s: %w", m.Name, err)
	}
	fitted := time.Now()
	result, err := judge.Judge(ctx, b.Holdout, scorer, judge.Options{Cutoffs: b.Cutoffs, Ties: opts.Ties, Attributes: opts.Attributes, AUC: true})
	if err != nil {
		return nil, fmt.Errorf("judge %s: %w", m.Name, err)
	}
	out := &Measured{
		Model: m.Name, Seed: seed, Metrics: result.Means, Findings: result.Findings, Result: result,
		FitSeconds: fitted.Sub(start).Seconds(), JudgeSeconds: time.Since(fitted).Seconds(),
	}
	for _, s := range opts.Slices {
		groups, err := result.Slice(b.Holdout, s)
		if err != nil {
			return nil, fmt.Errorf("judge %s: %w", m.Name, err)
		}
		out.Slices = append(out.Slices, groups...)
	}
	return out, nil
}

func overSeeds(results []Measured) (mean, std map[string]float64) {
	mean, std = map[string]float64{}, map[string]float64{}
	n := float64(len(results))
	for name := range results[0].Metrics {
		var sum, squares float64
		for _, r := range results {
			sum += r.Metrics[name]
		}
		mean[name] = sum / n
		for _, r := range results {
			d := r.Metrics[name] - mean[name]
			squares += d * d
		}
		if n > 1 {
			std[name] = math.Sqrt(squares / (n - 1))
		} else {
			std[name] = 0
		}
	}
	return mean, std
}
