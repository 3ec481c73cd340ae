package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"marquee/eval/benchmark"
	"marquee/eval/metric"
	"marquee/eval/metric/judge"
	"marquee/internal/sparse"
	"marquee/training/als"
	"marquee/training/foldin"
	"marquee/training/knn"
)

type evalCommands struct {
	Tune      evalTuneCommand      `cmd:"" help:"Search hyper-parameters on a validation cut from a published split's train side."`
	Offline   evalOfflineCommand   `cmd:"" help:"Measure models on this deployment's own history, beside popularity and item-kNN."`
	Benchmark evalBenchmarkCommand `cmd:"" help:"Measure a model on a published split."`
}

type evalBenchmarkCommand struct {
	Format      string   `required:"" enum:"lightgcn,ncf,sasrec" help:"Layout of the split: lightgcn, ncf or sasrec."`
	Data        string   `required:"" type:"existingdir" help:"Folder of the split." placeholder:"DIR"`
	Model       string   `required:"" help:"random, popular, knn or als." placeholder:"NAME"`
	Preset      string   `default:"default" help:"Hyper-parameters: default, or one of the model's presets." placeholder:"NAME"`
	Seeds       int      `default:"1" help:"Measure under so many seeds, from 1." placeholder:"N"`
	Ties        string   `default:"worst" enum:"worst,expected,best" help:"Where relevant titles stand among equal scores: worst, expected or best."`
	NoBaselines bool     `help:"Leave out popularity and item-kNN, which are measured beside every model."`
	Slice       []string `help:"Take the metrics within groups as well: history (users by titles known of them) or popularity (titles)." placeholder:"NAME"`
	Table       string   `default:"text" enum:"text,markdown,latex" help:"Table format: text, markdown or latex."`
	PerUser     string   `help:"Write the results user by user to this Parquet file." placeholder:"FILE"`
	JSON        string   `help:"Write the result as JSON to this file; - for standard output." placeholder:"OUT"`
}

// Run fits the model to the split's train side and measures it.
func (b evalBenchmarkCommand) Run(c *console) error {
	if b.Seeds < 1 {
		return fmt.Errorf("--seeds must be 1 or more, is %d", b.Seeds)
	}
	model, err := benchmarkModel(b.Model, b.Preset)
	if err != nil {
		return err
	}
	data, err := benchmark.Load(b.Format, b.Data)
	if err != nil {
		return err
	}
	opts := benchmark.Options{
		Ties:      map[string]metric.Ties{"worst": metric.Worst, "expected": metric.Expected, "best": metric.Best}[b.Ties],
		Resamples: 2000,
		Progress:  func(what string) { fmt.Fprintln(c.stderr, "measuring", what) },
	}
	if opts.Slices, err = holdoutSlices(b.Slice, data.Holdout); err != nil {
		return err
	}
	for seed := range b.Seeds {
		opts.Seeds = append(opts.Seeds, uint64(seed+1))
	}
	if !b.NoBaselines {
		for _, name := range []string{"popular", "knn"} {
			base, err := benchmarkModel(name, "default")
			if err != nil {
				return err
			}
			opts.Baselines = append(opts.Baselines, base)
		}
	}
	report, err := benchmark.Run(c.ctx, data, model, opts)
	if err != nil {
		return err
	}
	if b.PerUser != "" {
		if err := writePerUser(b.PerUser, slices.Concat(report.Results, report.Baselines), nil); err != nil {
			return err
		}
	}
	if b.JSON == "-" {
		return printJSON(c.stdout, report)
	}
	if b.JSON != "" {
		if err := writeJSON(b.JSON, report); err != nil {
			return err
		}
	}
	measured, k := slices.Concat(report.Results, report.Baselines), data.Cutoffs[len(data.Cutoffs)/2]
	return printTables(c, b.Table, benchmarkTable(report, data.Cutoffs), listTable(measured, k), groupTable(measured, middle(k)))
}

// benchmarkModel is the model of that name with a preset's hyper-parameters.
func benchmarkModel(name, preset string) (benchmark.Model, error) {
	m := benchmark.Model{Name: name}
	fits := map[string]fitter{}
	switch name {
	case "random":
		m.Seeded, fits["default"] = true, fitRandom
	case "popular":
		fits["default"] = fitPopular
	case "knn":
		fits["default"] = fitNeighbours(knn.DefaultConfig())
		for p, cfg := range knn.Presets() {
			fits[p] = fitNeighbours(cfg)
		}
	case "als":
		m.Seeded, fits["default"] = true, fitALS(als.DefaultConfig())
		for p, cfg := range als.Presets() {
			fits[p] = fitALS(cfg)
		}
	default:
		return m, fmt.Errorf("there is no model %q; there are random, popular, knn and als", name)
	}
	if m.Fit = fits[preset]; m.Fit == nil {
		return m, fmt.Errorf("there is no preset %q of %s; there are %s", preset, name, strings.Join(slices.Sorted(maps.Keys(fits)), ", "))
	}
	return m, nil
}

// fitter fits a model to what a benchmark lets it see.
type fitter = func(ctx context.Context, b *benchmark.Benchmark, seed uint64) (judge.Scorer, error)

func fitRandom(_ context.Context, _ *benchmark.Benchmark, seed uint64) (judge.Scorer, error) {
	return judge.Func(func(user uint32, scores []float32) error {
		rng := rand.New(rand.NewPCG(seed, uint64(user)))
		for i := range scores {
			scores[i] = rng.Float32()
		}
		return nil
	}), nil
}

func fitPopular(_ context.Context, b *benchmark.Benchmark, _ uint64) (judge.Scorer, error) {
	count := make([]float32, b.Fit.Cols)
	for _, t := range b.Fit.Indices {
		count[t]++
	}
	return judge.Constant(count), nil
}

func fitNeighbours(cfg knn.Config) fitter {
	return func(ctx context.Context, b *benchmark.Benchmark, _ uint64) (judge.Scorer, error) {
		m, err := knn.TrainItems(ctx, b.Fit, cfg)
		if err != nil {
			return nil, err
		}
		return judge.Func(func(user uint32, scores []float32) error {
			cols, vals := b.Holdout.Train.Row(int(user))
			return m.Score(cols, vals, scores)
		}), nil
	}
}

func fitALS(cfg als.Config) fitter {
	return func(ctx context.Context, b *benchmark.Benchmark, seed uint64) (judge.Scorer, error) {
		cfg := cfg
		cfg.Seed, cfg.TrackLoss = seed, false
		m, err := als.Train(ctx, b.Fit, cfg, als.Options{})
		if err != nil {
			return nil, err
		}
		users := m.Users
		if b.Holdout.Train != b.Fit {
			if users, err = foldAll(m, b.Holdout.Train); err != nil {
				return nil, err
			}
		}
		return judge.Factors{Dim: m.Dim, Users: users, Titles: m.Items}, nil
	}
}

// foldAll folds every row of histories in: what is known of a user when judged may be more than what trained.
func foldAll(m *als.Model, histories *sparse.CSR) ([]float32, error) {
	solver, err := foldin.NewSolver(foldin.Factors{Data: m.Items, Rows: histories.Cols, Dim: m.Dim, Stride: m.Dim}, m.Gram, m.Params)
	if err != nil {
		return nil, err
	}
	users, scratch := make([]float32, histories.Rows*m.Dim), solver.NewScratch()
	for u := range histories.Rows {
		cols, vals := histories.Row(u)
		if err := solver.Solve(users[u*m.Dim:(u+1)*m.Dim], cols, vals, scratch); err != nil {
			return nil, fmt.Errorf("fold user %d in: %w", u, err)
		}
	}
	return users, nil
}
