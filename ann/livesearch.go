package ann

import (
	"context"
	"errors"
	"fmt"
)

// liveScratch is what one search of a Live needs beside what its base does.
type liveScratch struct {
	*scratch
	filter     Bitmap
	base, more []Neighbor
}

func (l *Live) getScratch(st *liveState) *liveScratch {
	if s, ok := l.scratch.Get().(*liveScratch); ok {
		return s
	}
	return &liveScratch{scratch: st.delta.newScratch()}
}

// Search is Index.Search over what there is now. The filter may be of any length: an id it has no room for is not in it.
// Where EF or Force is given, they are for the base.
func (l *Live) Search(query []float32, k int, opts SearchOptions, dst []Neighbor) ([]Neighbor, Plan, error) {
	for {
		st := l.state.Load()
		found, plan, err := l.searchState(st, query, k, opts, dst)
		if errors.Is(err, ErrClosed) && l.state.Load() != st {
			continue // a compaction closed the file of the base before
		}
		return found, plan, err
	}
}

func (l *Live) searchState(st *liveState, query []float32, k int, opts SearchOptions, dst []Neighbor) ([]Neighbor, Plan, error) {
	s := l.getScratch(st)
	defer l.scratch.Put(s)
	var plan Plan
	var err error
	if s.base, plan, err = st.base.Search(query, k, st.baseOptions(s, opts), s.base); err != nil {
		return dst[:0], plan, err
	}
	plan.Delta = st.delta.n
	plan.Scored += st.delta.n
	dst, err = st.merge(s, query, k, opts, s.base, dst[:0])
	return dst, plan, err
}

// SearchBatch is Index.SearchBatch over what there is when it begins.
func (l *Live) SearchBatch(ctx context.Context, queries []float32, k int, opts SearchOptions, dst [][]Neighbor) ([][]Neighbor, error) {
	for {
		st := l.state.Load()
		found, err := l.searchBatch(ctx, st, queries, k, opts, dst)
		if errors.Is(err, ErrClosed) && l.state.Load() != st {
			continue
		}
		return found, err
	}
}

func (l *Live) searchBatch(ctx context.Context, st *liveState, queries []float32, k int, opts SearchOptions, dst [][]Neighbor) ([][]Neighbor, error) {
	own := &liveScratch{} // the filter stays in use until the last search is over
	dst, err := st.base.SearchBatch(ctx, queries, k, st.baseOptions(own, opts), dst)
	if err != nil || st.delta.n == 0 {
		return dst, err
	}
	return dst, parallelGroups(ctx, len(dst), opts.Threads, func(lo, hi int) error {
		s := l.getScratch(st)
		defer l.scratch.Put(s)
		for i := lo; i < hi; i++ {
			s.base = append(s.base[:0], dst[i]...)
			var err error
			if dst[i], err = st.merge(s, queries[i*l.dim:(i+1)*l.dim], k, opts, s.base, dst[i][:0]); err != nil {
				return fmt.Errorf("query %d: %w", i, err)
			}
		}
		return nil
	})
}

// Plan says how Search would go about the base.
func (l *Live) Plan(k int, opts SearchOptions) (Plan, error) {
	st := l.state.Load()
	plan, err := st.base.Plan(k, st.baseOptions(&liveScratch{}, opts))
	plan.Delta = st.delta.n
	return plan, err
}

// baseOptions is opts for the base: with its tombstones taken out of the filter.
func (st *liveState) baseOptions(s *liveScratch, opts SearchOptions) SearchOptions {
	switch {
	case opts.Filter != nil:
		s.filter = append(s.filter[:0], st.inBase...)
		n := min(len(opts.Filter), len(s.filter))
		s.filter[:n].And(opts.Filter[:n])
		clear(s.filter[n:])
		if s.filter == nil {
			s.filter = Bitmap{} // an empty base
		}
		opts.Filter = s.filter
	case !st.whole:
		opts.Filter, opts.eligible = st.inBase, st.baseLive
	}
	return opts
}

// merge appends to dst the k nearest of what the base found and the delta holds.
func (st *liveState) merge(s *liveScratch, query []float32, k int, opts SearchOptions, base, dst []Neighbor) ([]Neighbor, error) {
	if st.delta.n == 0 {
		return append(dst, base...), nil
	}
	var err error
	if s.more, err = st.scanLive(s.scratch, query, k, opts, base, s.more[:0]); err != nil {
		return dst, err
	}
	more := s.more
	for len(dst) < k && len(base)+len(more) > 0 {
		if len(more) == 0 || len(base) > 0 && nearer(base[0], more[0]) {
			dst, base = append(dst, base[0]), base[1:]
		} else {
			dst, more = append(dst, more[0]), more[1:]
		}
	}
	return dst, nil
}

func nearer(a, b Neighbor) bool { return a.Score > b.Score || a.Score == b.Score && a.ID < b.ID }
