package ann

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

// index is the one implementation: vectors, and for an HNSW index a graph over them.
type index struct {
	*store
	graph          *graph // nil for an exact index
	efConstruction int
	seed           uint64
}

func (ix *index) Len() int       { return ix.n }
func (ix *index) Dim() int       { return ix.dim }
func (ix *index) Metric() Metric { return ix.metric }

func (ix *index) Info() Info {
	info := Info{Kind: Exact, Len: ix.n, Dim: ix.dim, Metric: ix.metric, Int8: ix.int8s()}
	info.Bytes = sizeOf(ix.rows) + sizeOf(ix.codes) + sizeOf(ix.center) + sizeOf(ix.codeNorms) + sizeOf(ix.ids) + sizeOf(ix.rowOf)
	if g := ix.graph; g != nil {
		info.Kind, info.M, info.EFConstruction, info.Layers, info.Seed = HNSW, g.m, ix.efConstruction, g.layers, ix.seed
		info.Bytes += sizeOf(g.base) + sizeOf(g.upper) + sizeOf(g.upperAt) + sizeOf(g.copies)
	}
	return info
}

func sizeOf[T any](s []T) int64 {
	var t T
	return int64(len(s)) * int64(unsafe.Sizeof(t))
}

func (ix *index) Search(query []float32, k int, opts SearchOptions, dst []Neighbor) ([]Neighbor, Plan, error) {
	plan, err := ix.Plan(k, opts)
	if err != nil {
		return dst[:0], plan, err
	}
	s := ix.getScratch()
	defer ix.scratch.Put(s)
	if err := ix.setQuery(s, query, plan.Rerank > 0); err != nil {
		return dst[:0], plan, err
	}
	if plan.Eligible == 0 {
		return dst[:0], plan, nil
	}
	k = min(k, plan.Eligible)
	want := max(k, plan.Rerank)
	if plan.Strategy == Exact {
		err = ix.exact(s, want, plan, opts.Filter)
	} else {
		err = ix.approximate(s, k, want, &plan, opts)
	}
	if err != nil {
		return dst[:0], plan, err
	}
	plan.Scored = s.scored
	dst, err = ix.rank(s, k, dst[:0])
	return dst, plan, err
}

// approximate runs the walk of a plan, and the exact search instead if the walk does not settle.
func (ix *index) approximate(s *scratch, k, want int, plan *Plan, opts SearchOptions) error {
	if cap(s.pool) < plan.EF {
		s.pool = make([]uint64, plan.EF)
	}
	var p pool
	p.reset(s.pool[:plan.EF])
	w := walker{ix.store, ix.graph}
	if plan.Strategy == HNSW {
		if err := w.walk(s, &p); err != nil {
			return err
		}
	} else {
		settled, err := w.walkFiltered(s, &p, opts.Filter, ix.walkBudget(*plan, opts))
		if err != nil {
			return err
		}
		if !settled {
			plan.Strategy, plan.EF, plan.Reason = Exact, 0, reasonUnsettled
			return ix.exact(s, want, *plan, opts.Filter)
		}
	}
	w.take(s, &p, k, want, opts.Filter)
	return nil
}

// batchGroup is how many queries of a batch go over the vectors together in an exact search.
const batchGroup = 16

func (ix *index) SearchBatch(ctx context.Context, queries []float32, k int, opts SearchOptions, dst [][]Neighbor) ([][]Neighbor, error) {
	plan, err := ix.Plan(k, opts)
	if err != nil {
		return nil, err
	}
	if len(queries)%ix.dim != 0 {
		return nil, fmt.Errorf("ann: %d components are not a whole number of queries of dimension %d", len(queries), ix.dim)
	}
	n := len(queries) / ix.dim
	for len(dst) < n {
		dst = append(dst, nil)
	}
	dst = dst[:n]
	run := func(lo, hi int) error { return ix.searchEach(queries, lo, hi, k, opts, dst) }
	_, byGather := exactCost(plan.Eligible, ix.n, plan.Rerank > 0)
	if plan.Strategy == Exact && plan.Eligible > 0 && (opts.Filter == nil || !byGather) {
		run = func(lo, hi int) error {
			return ix.scanGroup(queries, lo, hi, min(k, plan.Eligible), plan, opts.Filter, dst)
		}
	}
	return dst, parallelGroups(ctx, n, opts.Threads, run)
}

// parallelGroups calls run for consecutive groups of n things until one fails, ctx ends or all are done.
func parallelGroups(ctx context.Context, n, threads int, run func(lo, hi int) error) error {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	threads = min(threads, (n+batchGroup-1)/batchGroup)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() {
			for ctx.Err() == nil {
				hi := int(next.Add(batchGroup))
				if hi-batchGroup >= n {
					return
				}
				if err := run(hi-batchGroup, min(hi, n)); err != nil {
					stop(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (ix *index) searchEach(queries []float32, lo, hi, k int, opts SearchOptions, dst [][]Neighbor) error {
	for i := lo; i < hi; i++ {
		var err error
		if dst[i], _, err = ix.Search(queries[i*ix.dim:(i+1)*ix.dim], k, opts, dst[i]); err != nil {
			return fmt.Errorf("query %d: %w", i, err)
		}
	}
	return nil
}

// scanGroup answers the queries from lo to hi with one pass over the vectors.
func (ix *index) scanGroup(queries []float32, lo, hi, k int, plan Plan, filter Bitmap, dst [][]Neighbor) error {
	var group [batchGroup]*scratch
	for i := lo; i < hi; i++ {
		s := ix.getScratch()
		defer ix.scratch.Put(s)
		group[i-lo] = s
		if err := ix.setQuery(s, queries[i*ix.dim:(i+1)*ix.dim], plan.Rerank > 0); err != nil {
			return fmt.Errorf("query %d: %w", i, err)
		}
	}
	if err := ix.scan(group[:hi-lo], max(k, plan.Rerank), filter); err != nil {
		return err
	}
	for i := lo; i < hi; i++ {
		var err error
		if dst[i], err = ix.rank(group[i-lo], k, dst[i][:0]); err != nil {
			return fmt.Errorf("query %d: %w", i, err)
		}
	}
	return nil
}
