package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// maxEF is where an engine that has not reached a recall is given up.
const maxEF = 1024

// result is what one engine did on one set.
type result struct {
	set, engine string
	build       time.Duration // 0: shares the index of the engine before
	at64        float64       // recall@10 at ef 64
	points      []point       // one for each recall asked for
}

// point is the smallest ef that reaches a recall.
type point struct {
	ef     int // 0: not reached
	recall float64
	best   float64         // the recall at maxEF, where not reached
	rounds []time.Duration // CPU time a query
}

func (p point) qps() float64 { return float64(time.Second) / float64(median(p.rounds)) }

// ratio is how many times as many queries a second p answers as base: the median over the rounds.
func (p point) ratio(base point) float64 {
	r := make([]float64, min(len(p.rounds), len(base.rounds)))
	for i := range r {
		r[i] = float64(base.rounds[i]) / float64(p.rounds[i])
	}
	return median(r)
}

func median[T time.Duration | float64](v []T) T {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// measure compares the engines on one set.
func measure(ctx context.Context, s *set, truth []uint32, engines []engine, targets []float64, threads, rounds int, progress func(string, ...any)) ([]result, error) {
	out := make([]result, len(engines))
	for i, e := range engines {
		r := result{set: s.name, engine: e.name(), points: make([]point, len(targets))}
		var err error
		if r.build, err = e.build(ctx, s, threads); err != nil {
			return nil, fmt.Errorf("%s on %s: %w", e.name(), s.name, err)
		}
		f := finder{engine: e, truth: truth, seen: map[int]float64{}}
		if r.at64, err = f.recall(ctx, 64); err != nil {
			return nil, fmt.Errorf("%s on %s: %w", e.name(), s.name, err)
		}
		for j, target := range targets {
			if r.points[j], err = f.smallest(ctx, target); err != nil {
				return nil, fmt.Errorf("%s on %s: %w", e.name(), s.name, err)
			}
		}
		progress("%s: %s built in %.1f CPU s, recall@10 %.4f at ef 64", s.name, r.engine, r.build.Seconds(), r.at64)
		out[i] = r
	}
	runtime.GC()
	for j := range targets {
		if err := race(ctx, engines, out, j, len(truth)/k, rounds); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// race times all engines at their ef for target j, in turn.
func race(ctx context.Context, engines []engine, out []result, j, queries, rounds int) error {
	for round := range rounds + 1 {
		for i, e := range engines {
			p := &out[i].points[j]
			if p.ef == 0 {
				continue
			}
			took, err := e.time(ctx, p.ef)
			if err != nil {
				return fmt.Errorf("%s: %w", e.name(), err)
			}
			if round > 0 { // the first one warms up
				p.rounds = append(p.rounds, took/time.Duration(queries))
			}
		}
	}
	return nil
}

// finder looks for the smallest ef of an engine.
type finder struct {
	engine
	truth []uint32
	seen  map[int]float64
}

// recall is the share of the true neighbours found at an ef.
func (f *finder) recall(ctx context.Context, ef int) (float64, error) {
	if r, ok := f.seen[ef]; ok {
		return r, nil
	}
	ids, err := f.search(ctx, ef)
	if err != nil {
		return 0, err
	}
	if len(ids) != len(f.truth) {
		return 0, fmt.Errorf("%d ids for %d true neighbours", len(ids), len(f.truth))
	}
	hits := 0
	for i := 0; i < len(ids); i += k {
		for _, id := range ids[i : i+k] {
			if slices.Contains(f.truth[i:i+k], id) {
				hits++
			}
		}
	}
	f.seen[ef] = float64(hits) / float64(len(ids))
	return f.seen[ef], nil
}

// smallest bisects for the smallest ef with a recall of target.
func (f *finder) smallest(ctx context.Context, target float64) (point, error) {
	lo, hi := k-1, 16 // lo falls short
	for {
		r, err := f.recall(ctx, hi)
		if err != nil {
			return point{}, err
		}
		if r >= target {
			break
		}
		if hi >= maxEF {
			return point{best: r}, nil
		}
		lo, hi = hi, hi*2
	}
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		r, err := f.recall(ctx, mid)
		if err != nil {
			return point{}, err
		}
		if r >= target {
			hi = mid
		} else {
			lo = mid
		}
	}
	return point{ef: hi, recall: f.seen[hi]}, nil
}
