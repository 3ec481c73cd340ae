package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"marquee/eval/benchmark"
	"marquee/eval/metric/judge"
	"marquee/training/nn"
	"marquee/training/sasrec"
	"marquee/training/twotower"
)

// errNoOrder is a split that a model of sequences cannot be fitted to.
var errNoOrder = errors.New("sasrec reads histories in order of time, which this split does not give; use format sasrec or ncf")

func fitSASRec(cfg sasrec.Config, checkpoints string) fitter {
	return func(ctx context.Context, b *benchmark.Benchmark, seed uint64) (judge.Scorer, error) {
		if b.Sequences == nil {
			return nil, errNoOrder
		}
		cfg := cfg
		cfg.Seed = seed
		m, err := sasrec.Train(ctx, fitted(b), b.Fit.Cols, cfg, sasrec.Options{Progress: epochLog("sasrec", seed), Checkpoint: checkpointFile(checkpoints, "sasrec", seed)})
		if err != nil {
			return nil, err
		}
		users, err := m.Vectors(b.Sequences)
		if err != nil {
			return nil, err
		}
		return judge.Factors{Dim: cfg.Dim, Users: users, Titles: m.Embeddings()}, nil
	}
}

// fitted are the sequences that models are fitted to: of what is known when judged, the part that b.Fit has.
func fitted(b *benchmark.Benchmark) [][]uint32 {
	out := make([][]uint32, len(b.Sequences))
	for u, s := range b.Sequences {
		for _, t := range s {
			if b.Fit.Has(u, t) {
				out[u] = append(out[u], t)
			}
		}
	}
	return out
}

func fitTwoTower(cfg twotower.Config, checkpoints string) fitter {
	return func(ctx context.Context, b *benchmark.Benchmark, seed uint64) (judge.Scorer, error) {
		cfg := cfg
		cfg.Seed, cfg.Ordered = seed, cfg.Ordered && b.Sequences != nil
		data := &twotower.Data{Titles: b.Fit.Cols, Histories: make([]twotower.History, b.Fit.Rows)}
		users := make([]twotower.User, b.Fit.Rows)
		sequences := b.Sequences
		if b.Sequences != nil {
			sequences = fitted(b)
		}
		for u := range users {
			cols, _ := b.Fit.Row(u)
			known, _ := b.Holdout.Train.Row(u)
			if sequences != nil {
				cols, known = sequences[u], b.Sequences[u]
			}
			data.Histories[u].Titles = cols
			users[u] = twotower.User{Number: u, History: twotower.History{Titles: known}, Context: -1}
		}
		m, err := twotower.Train(ctx, data, cfg, twotower.Options{Progress: epochLog("twotower", seed), Checkpoint: checkpointFile(checkpoints, "twotower", seed)})
		if err != nil {
			return nil, err
		}
		vectors, err := m.UserVectors(users)
		if err != nil {
			return nil, err
		}
		return judge.Factors{Dim: cfg.Dim, Users: vectors, Titles: m.TitleVectors()}, nil
	}
}

// checkpointFile is where a seed's training keeps its checkpoint; nowhere without a folder.
func checkpointFile(dir, model string, seed uint64) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, fmt.Sprintf("%s-%d.checkpoint", model, seed))
}

// epochLog logs whole epochs.
func epochLog(model string, seed uint64) func(nn.Progress) {
	return func(p nn.Progress) {
		if !p.Done {
			return
		}
		slog.Info("epoch", "model", model, "seed", seed, "epoch", p.Epoch, "of", p.Epochs, "loss", p.Loss, "score", p.Score,
			"elapsed", p.Elapsed.Round(time.Second), "left", p.Left.Round(time.Second))
	}
}
