package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"marquee/ann"
	"marquee/ann/coderhnsw"
)

// What every engine is given.
const (
	k              = 10
	m              = 16
	efConstruction = 200
)

// engine is one of those compared. Times are CPU times of the engine's process.
type engine interface {
	name() string
	build(ctx context.Context, s *set, threads int) (time.Duration, error)
	// search returns k ids a query.
	search(ctx context.Context, ef int) ([]uint32, error)
	// time answers all queries in one call.
	time(ctx context.Context, ef int) (time.Duration, error)
}

// marquee is package ann. The int8 engine searches the index that the float32 one built: it has codes beside the
// vectors.
type marquee struct {
	index   *ann.Index
	queries *[]float32
	float32 bool
	dst     [][]ann.Neighbor
}

func (e *marquee) name() string {
	if e.float32 {
		return "marquee float32"
	}
	return "marquee int8"
}

func (e *marquee) build(ctx context.Context, s *set, threads int) (time.Duration, error) {
	if !e.float32 {
		return 0, nil
	}
	start := cpuTime()
	ix, err := ann.Build(ctx, s.vectors, s.dim, ann.Options{
		Metric: s.metric, Kind: ann.HNSW, Int8: true, M: m, EFConstruction: efConstruction, Seed: 1, Threads: threads,
	})
	if err != nil {
		return 0, fmt.Errorf("build: %w", err)
	}
	*e.index, *e.queries = ix, s.queries
	return cpuTime() - start, nil
}

func (e *marquee) run(ctx context.Context, ef int) (err error) {
	opts := ann.SearchOptions{EF: ef, Float32: e.float32, Force: ann.HNSW, Threads: 1}
	e.dst, err = (*e.index).SearchBatch(ctx, *e.queries, k, opts, e.dst)
	return err
}

func (e *marquee) search(ctx context.Context, ef int) ([]uint32, error) {
	if err := e.run(ctx, ef); err != nil {
		return nil, err
	}
	ids := make([]uint32, 0, k*len(e.dst))
	for i, found := range e.dst {
		if len(found) != k {
			return nil, fmt.Errorf("query %d: %d neighbours, not %d", i, len(found), k)
		}
		for _, nb := range found {
			ids = append(ids, nb.ID)
		}
	}
	return ids, nil
}

func (e *marquee) time(ctx context.Context, ef int) (time.Duration, error) {
	start := cpuTime()
	err := e.run(ctx, ef)
	return cpuTime() - start, err
}

// maxCoder is the largest set coder/hnsw is given: it takes minutes there, and finds fewer the more there are.
const maxCoder = 100_000

// coder is coder/hnsw behind the interface of package ann.
type coder struct{ marquee }

func (e *coder) name() string { return "coder/hnsw" }

func (e *coder) build(ctx context.Context, s *set, _ int) (time.Duration, error) {
	start := cpuTime()
	ix, err := coderhnsw.Build(ctx, s.vectors, s.dim, ann.Options{Metric: s.metric, M: m, Seed: 1})
	if err != nil {
		return 0, fmt.Errorf("build: %w", err)
	}
	e.index, e.queries = &ix, &s.queries
	return cpuTime() - start, nil
}

// cpuTime is what this process has used so far, user and system, all threads.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // there is no way to call it wrongly
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
