package main

import (
	"context"
	"fmt"

	"marquee/eval/benchmark"
	"marquee/eval/metric/judge"
	"marquee/internal/sparse"
	"marquee/training/model/content"
	"marquee/training/twotower"
)

// fitTitleTower trains two towers on the titles that were watched and ranks the others by what the title's tower makes of their content.
func fitTitleTower(vectors *content.Model) func(context.Context, *benchmark.Benchmark, uint64) (judge.Scorer, error) {
	return func(ctx context.Context, b *benchmark.Benchmark, seed uint64) (judge.Scorer, error) {
		cfg := twotower.DefaultConfig()
		cfg.Loss, cfg.SetShare, cfg.Start, cfg.Seed = twotower.LossSoftmax, 0.5, twotower.StartNormal, seed
		cfg.Batch, cfg.Rate, cfg.Epochs, cfg.ValidationUsers = 256, 3e-3, 15, 0
		place, known, unknown := parted(b.Fit)
		data := &twotower.Data{Titles: len(known), Content: described(vectors, known)}
		users := make([]twotower.User, b.Fit.Rows)
		for u := range users {
			titles, strength := b.Fit.Row(u)
			h := twotower.History{Strength: strength}
			for _, t := range titles {
				h.Titles = append(h.Titles, place[t])
			}
			data.Histories = append(data.Histories, h)
			users[u] = twotower.User{Number: u, History: h, Context: -1}
		}
		m, err := twotower.Train(ctx, data, cfg, twotower.Options{})
		if err != nil {
			return nil, fmt.Errorf("train on %d titles: %w", len(known), err)
		}
		of, err := m.UserVectors(users)
		if err != nil {
			return nil, err
		}
		fresh, err := m.NewTitleVectors(described(vectors, unknown))
		if err != nil {
			return nil, err
		}
		d, old := cfg.Dim, m.TitleVectors()
		titles := make([]float32, b.Fit.Cols*d)
		for i, t := range known {
			copy(titles[int(t)*d:], old[i*d:(i+1)*d])
		}
		for i, t := range unknown {
			copy(titles[int(t)*d:], fresh[i*d:(i+1)*d])
		}
		return judge.Factors{Dim: d, Users: of, Titles: titles}, nil
	}
}

// parted are the titles somebody watched, with the place of each among them, and the others.
func parted(m *sparse.CSR) (place, known, unknown []uint32) {
	place = make([]uint32, m.Cols)
	watched := make([]bool, m.Cols)
	for _, t := range m.Indices {
		watched[t] = true
	}
	for t, yes := range watched {
		if yes {
			place[t] = uint32(len(known))
			known = append(known, uint32(t))
		} else {
			unknown = append(unknown, uint32(t))
		}
	}
	return place, known, unknown
}

// described is the content of some titles: a row each, a column for every term of the model.
func described(m *content.Model, titles []uint32) *sparse.CSR {
	out := &sparse.CSR{Rows: len(titles), Indptr: []int64{0}}
	for t := range m.Len() {
		for _, term := range m.Vector(uint32(t)).Terms {
			out.Cols = max(out.Cols, int(term)+1)
		}
	}
	for _, t := range titles {
		v := m.Vector(t)
		out.Indices, out.Values = append(out.Indices, v.Terms...), append(out.Values, v.Weights...)
		out.Indptr = append(out.Indptr, int64(len(out.Indices)))
	}
	return out
}
