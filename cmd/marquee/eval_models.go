package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"marquee/eval/benchmark"
	"marquee/eval/metric/judge"
	"marquee/internal/sparse"
	"marquee/training/als"
	"marquee/training/ease"
	"marquee/training/foldin"
	"marquee/training/knn"
	"marquee/training/sasrec"
	"marquee/training/twotower"
)

// modelLimits are what a model may use besides processors.
type modelLimits struct {
	memory      int64  // bytes that a dense matrix may take
	checkpoints string // folder for those of long trainings; none where empty
	epochs      int    // instead of the hyper-parameters' own, of als, twotower and sasrec; 0 leaves them
}

// of is how many epochs a model is to train that would train so many.
func (l modelLimits) of(epochs int) int {
	if l.epochs > 0 {
		return l.epochs
	}
	return epochs
}

// benchmarkModel is the model of that name with a preset's hyper-parameters.
func benchmarkModel(name, preset string, limits modelLimits) (benchmark.Model, error) {
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
	case "userknn":
		fits["default"] = fitUsers(knn.DefaultUserConfig())
		for p, cfg := range knn.UserPresets() {
			fits[p] = fitUsers(cfg)
		}
	case "ease":
		for p, l2 := range ease.Presets() {
			fits[p] = fitEASE(ease.Config{L2: l2, MemoryLimit: limits.memory})
		}
	case "als":
		m.Seeded = true
		presets := als.Presets()
		presets["default"] = als.Preset{Config: als.DefaultConfig()}
		for p, chosen := range presets {
			chosen.Epochs = limits.of(chosen.Epochs)
			fits[p] = fitALS(chosen)
		}
	case "twotower":
		m.Seeded = true
		presets := twotower.Presets()
		presets["default"] = twotower.DefaultConfig()
		for p, cfg := range presets {
			cfg.Epochs = limits.of(cfg.Epochs)
			fits[p] = fitTwoTower(cfg, limits.checkpoints)
		}
	case "sasrec":
		m.Seeded = true
		presets := sasrec.Presets()
		presets["default"] = sasrec.DefaultConfig()
		for p, cfg := range presets {
			cfg.Epochs = limits.of(cfg.Epochs)
			fits[p] = fitSASRec(cfg, limits.checkpoints)
		}
	default:
		return m, fmt.Errorf("there is no model %q; there are random, popular, knn, userknn, ease, als, twotower and sasrec", name)
	}
	if m.Fit = fits[preset]; m.Fit == nil {
		names := slices.Collect(maps.Keys(fits))
		if slices.Contains(searchedModels(), name) {
			names = append(names, "auto")
		}
		slices.Sort(names)
		return m, fmt.Errorf("there is no preset %q of %s; there are %s", preset, name, strings.Join(names, ", "))
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

func fitUsers(cfg knn.Config) fitter {
	return func(_ context.Context, b *benchmark.Benchmark, _ uint64) (judge.Scorer, error) {
		m, err := knn.TrainUsers(b.Fit, cfg)
		if err != nil {
			return nil, err
		}
		return judge.Func(func(user uint32, scores []float32) error {
			cols, vals := b.Holdout.Train.Row(int(user))
			return m.Score(int(user), cols, vals, scores)
		}), nil
	}
}

func fitEASE(cfg ease.Config) fitter {
	return func(ctx context.Context, b *benchmark.Benchmark, _ uint64) (judge.Scorer, error) {
		m, err := ease.Train(ctx, b.Fit, cfg, ease.Options{})
		if err != nil {
			return nil, err
		}
		return judge.Func(func(user uint32, scores []float32) error {
			cols, vals := b.Holdout.Train.Row(int(user))
			return m.Score(cols, vals, scores)
		}), nil
	}
}

func fitALS(p als.Preset) fitter {
	return func(ctx context.Context, b *benchmark.Benchmark, seed uint64) (judge.Scorer, error) {
		cfg := p.Config
		cfg.Seed, cfg.TrackLoss = seed, false
		fit, err := recent(p.Recency, b, b.Fit)
		if err != nil {
			return nil, err
		}
		m, err := als.Train(ctx, fit, cfg, als.Options{})
		if err != nil {
			return nil, err
		}
		users := m.Users
		if b.Holdout.Train != b.Fit {
			known, err := recent(p.Recency, b, b.Holdout.Train)
			if err != nil {
				return nil, err
			}
			if users, err = foldAll(m, known); err != nil {
				return nil, err
			}
		}
		return judge.Factors{Dim: m.Dim, Users: users, Titles: m.Items}, nil
	}
}

// recent weighs histories by recency where the split has an order; where it has none, every title counts alike.
func recent(r als.Recency, b *benchmark.Benchmark, m *sparse.CSR) (*sparse.CSR, error) {
	if b.Sequences == nil {
		return m, nil
	}
	return r.Weigh(m, b.Sequences)
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
