// Package coderhnsw is github.com/coder/hnsw behind the interface of package ann.
//
// It is not the default, and CheckRecall keeps it from being published, because version 0.6.1, the newest that resolves, does
// not search correctly: of the ten nearest it finds about a fifth among ten thousand vectors and a ninth among a hundred
// thousand, whatever its EfSearch (`make bench-ann` has the numbers of the day). Its heap's Max is not the maximum; a search stops at the first candidate that does not improve
// on the best; links are chosen by nearness alone, M of them on layer 0 as well, and some lead one way only. After a Delete, or
// an Add of a key that is there, both Search and Add may panic and deleted keys come back.
//
// None of that reaches a caller. The graph is built once and never added to or deleted from: changes are for ann.Live,
// which any index can be the base of. It proposes candidates, which are compared with the query again by an exact index of package ann,
// so that scores, order, filters and exact searches are those of ann; where a filter leaves it fewer than asked for, the exact index
// answers. A panic of its is an error. A lock is held while it searches, for its EfSearch is a field.
package coderhnsw

import (
	"context"
	"fmt"
	"io"
	"math/rand"
	"sync"

	"github.com/coder/hnsw"

	"marquee/ann"
	"marquee/internal/vec"
)

// index is the graph and the vectors it is over.
type index struct {
	exact ann.Index
	opts  ann.Options

	mu    sync.Mutex // held while the graph is used
	graph *hnsw.Graph[uint32]

	scratch sync.Pool // of scratch
}

type scratch struct {
	query      []float32
	candidates ann.Bitmap
	proposed   []uint32
}

var _ ann.Index = (*index)(nil)

// Build makes an index as ann.Build does, which see. Of the options the graph heeds Metric, M and Seed. Two builds with one
// seed give two graphs.
func Build(ctx context.Context, vectors []float32, dim int, opts ann.Options) (ann.Index, error) {
	exact := opts
	exact.Kind = ann.Exact
	if opts.M == 0 {
		opts.M = 16
	}
	ex, err := ann.Build(ctx, vectors, dim, exact)
	if err != nil {
		return nil, err
	}
	ix := &index{exact: ex, opts: opts, graph: hnsw.NewGraph[uint32]()}
	ix.graph.M, ix.graph.Ml = opts.M, 1/float64(opts.M)
	ix.graph.Rng = rand.New(rand.NewSource(int64(opts.Seed)))
	ix.graph.Distance = distance(opts.Metric)
	for id := range ex.Len() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		v := make([]float32, dim)
		if err := ex.Vector(uint32(id), v); err != nil {
			return nil, err
		}
		if err := guarded(func() { ix.graph.Add(hnsw.MakeNode(uint32(id), v)) }); err != nil {
			return nil, fmt.Errorf("add vector %d: %w", id, err)
		}
	}
	return ix, nil
}

// distance is what the graph ranks by, the smallest first: vectors by Cosine have length 1.
func distance(m ann.Metric) hnsw.DistanceFunc {
	if m == ann.L2 {
		return func(a, b []float32) float32 {
			var sum [1]float32
			vec.NegL2Rows(sum[:], a, b)
			return -sum[0]
		}
	}
	return func(a, b []float32) float32 { return -vec.Dot(a, b) }
}

// guarded turns a panic of the graph into an error.
func guarded(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("coder/hnsw: panic: %v", p)
		}
	}()
	f()
	return nil
}

func (ix *index) Len() int                              { return ix.exact.Len() }
func (ix *index) Dim() int                              { return ix.exact.Dim() }
func (ix *index) Metric() ann.Metric                    { return ix.exact.Metric() }
func (ix *index) Vector(id uint32, dst []float32) error { return ix.exact.Vector(id, dst) }

// WriteTo writes the vectors, as an exact index: where the graph passes the gate, at some hundred vectors, comparing all is
// the faster anyway.
func (ix *index) WriteTo(w io.Writer) (int64, error) { return ix.exact.WriteTo(w) }

func (ix *index) Info() ann.Info {
	info := ix.exact.Info()
	info.Kind, info.M, info.Seed = ann.HNSW, ix.opts.M, ix.opts.Seed
	return info
}

const (
	reasonGraph = "the graph of coder/hnsw is what was asked for"
	reasonFew   = "the graph of coder/hnsw proposed fewer that are eligible than were asked for"
)

func (ix *index) Plan(k int, opts ann.SearchOptions) (ann.Plan, error) {
	if opts.Force == ann.Exact {
		return ix.exact.Plan(k, opts)
	}
	if opts.Force != ann.Auto && opts.Force != ann.HNSW {
		return ann.Plan{}, fmt.Errorf("coderhnsw: only exact and hnsw can be forced, not %v", opts.Force)
	}
	opts.Force = ann.Auto
	plan, err := ix.exact.Plan(k, opts)
	if err != nil || plan.Eligible == 0 {
		return plan, err
	}
	plan.Strategy, plan.Reason = ann.HNSW, reasonGraph
	plan.EF = min(max(opts.EF, k), ix.Len())
	if opts.EF == 0 {
		plan.EF = min(max(ann.DefaultEF, k), ix.Len())
	}
	plan.Rerank = plan.EF
	return plan, nil
}

func (ix *index) Search(query []float32, k int, opts ann.SearchOptions, dst []ann.Neighbor) ([]ann.Neighbor, ann.Plan, error) {
	plan, err := ix.Plan(k, opts)
	if err != nil || plan.Strategy != ann.HNSW || len(query) != ix.Dim() {
		return ix.searchExact(query, k, opts, dst)
	}
	s := ix.getScratch()
	defer ix.scratch.Put(s)
	if err := ix.propose(s, query, plan.EF); err != nil {
		return dst[:0], plan, err
	}
	n := 0
	for _, id := range s.proposed {
		if !s.candidates.Has(id) && (opts.Filter == nil || opts.Filter.Has(id)) {
			s.candidates.Set(id)
			n++
		}
	}
	defer func() {
		for _, id := range s.proposed {
			s.candidates.Clear(id)
		}
	}()
	if n < min(k, plan.Eligible) {
		dst, exact, err := ix.searchExact(query, k, opts, dst)
		exact.Reason = reasonFew
		return dst, exact, err
	}
	dst, exact, err := ix.exact.Search(query, k, ann.SearchOptions{Filter: s.candidates, Float32: true}, dst)
	plan.Scored = exact.Scored
	return dst, plan, err
}

func (ix *index) searchExact(query []float32, k int, opts ann.SearchOptions, dst []ann.Neighbor) ([]ann.Neighbor, ann.Plan, error) {
	if opts.Force == ann.HNSW {
		opts.Force = ann.Auto
	}
	return ix.exact.Search(query, k, opts, dst)
}

func (ix *index) getScratch() *scratch {
	if s, ok := ix.scratch.Get().(*scratch); ok {
		return s
	}
	return &scratch{query: make([]float32, ix.Dim()), candidates: ann.NewBitmap(ix.Len())}
}

// propose leaves in s the ids that the graph takes for the ef nearest.
func (ix *index) propose(s *scratch, query []float32, ef int) error {
	copy(s.query, query)
	ix.mu.Lock()
	defer ix.mu.Unlock()
	return guarded(func() {
		ix.graph.EfSearch = ef
		s.proposed = s.proposed[:0]
		for _, node := range ix.graph.Search(s.query, ef) {
			s.proposed = append(s.proposed, node.Key)
		}
	})
}

// SearchBatch answers one query after the other: the graph is searched by one goroutine at a time anyway.
func (ix *index) SearchBatch(ctx context.Context, queries []float32, k int, opts ann.SearchOptions, dst [][]ann.Neighbor) ([][]ann.Neighbor, error) {
	plan, err := ix.Plan(k, opts)
	if err != nil {
		return nil, err
	}
	dim := ix.Dim()
	if plan.Strategy != ann.HNSW || len(queries)%dim != 0 {
		if opts.Force == ann.HNSW {
			opts.Force = ann.Auto
		}
		return ix.exact.SearchBatch(ctx, queries, k, opts, dst)
	}
	for len(dst) < len(queries)/dim {
		dst = append(dst, nil)
	}
	dst = dst[:len(queries)/dim]
	for i := range dst {
		if err := ctx.Err(); err != nil {
			return dst, err
		}
		if dst[i], _, err = ix.Search(queries[i*dim:(i+1)*dim], k, opts, dst[i]); err != nil {
			return dst, fmt.Errorf("query %d: %w", i, err)
		}
	}
	return dst, nil
}
