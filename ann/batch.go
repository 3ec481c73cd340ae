package ann

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"marquee/internal/vec"
)

// batchGroup is how many queries of a batch go over the vectors together in an exact search.
const batchGroup = 64

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
	if plan.Strategy == HNSW {
		run = func(lo, hi int) error { return ix.walkGroup(queries, lo, hi, min(k, plan.Eligible), plan, opts, dst) }
	}
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

// batchWalks is how many walks of a batch take turns: enough that the rows one asked for are there when its turn comes, and
// few enough that they are still in the first-level cache.
const batchWalks = 3

// lane is one of the walks that take turns.
type lane struct {
	*scratch
	query int  // its position in the batch
	found bool // the walk is over, and what it found asked for
}

// walkGroup answers the queries from lo to hi by walks that take turns.
func (ix *index) walkGroup(queries []float32, lo, hi, k int, plan Plan, opts SearchOptions, dst [][]Neighbor) error {
	w := walker{ix.store, ix.graph}
	var lanes [batchWalks]lane
	begin := func(l *lane, query int) error {
		l.query, l.found = query, false
		if err := ix.setQuery(l.scratch, queries[query*ix.dim:(query+1)*ix.dim], plan.Rerank > 0); err != nil {
			return fmt.Errorf("query %d: %w", query, err)
		}
		w.begin(l.scratch, k+plan.spare, plan.EF)
		return nil
	}
	active := lanes[:min(batchWalks, hi-lo)]
	for i := range active {
		active[i].scratch = ix.getScratch()
		defer ix.scratch.Put(active[i].scratch)
		if err := begin(&active[i], lo); err != nil {
			return err
		}
		lo++
	}
	for i := 0; len(active) > 0; i++ {
		if i >= len(active) {
			i = 0
		}
		l := &active[i]
		if !l.found {
			done, err := w.step(l.scratch)
			if err != nil {
				return fmt.Errorf("query %d: %w", l.query, err)
			}
			if done {
				l.found = true
				if !w.takeNearest(l.scratch, k, max(k, plan.Rerank), plan.spare, opts.Filter) {
					again := plan
					if err := ix.filtered(l.scratch, k, max(k, plan.Rerank), &again, opts); err != nil {
						return fmt.Errorf("query %d: %w", l.query, err)
					}
				}
				vec.PrefetchRows(ix.rows, ix.stride, l.scratch.found)
			}
			continue
		}
		var err error
		if dst[l.query], err = ix.rank(l.scratch, k, dst[l.query][:0]); err != nil {
			return fmt.Errorf("query %d: %w", l.query, err)
		}
		if lo < hi {
			if err := begin(l, lo); err != nil {
				return err
			}
			lo++
			continue
		}
		last := len(active) - 1
		active[i] = active[last]
		active = active[:last]
	}
	return nil
}
