package ann

import (
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
	w := walker{ix.store, ix.graph}
	if plan.Strategy == HNSW {
		if err := w.walk(s, k, plan.EF); err != nil {
			return err
		}
	} else {
		settled, err := w.walkFiltered(s, plan.EF, opts.Filter, ix.walkBudget(*plan, opts))
		if err != nil {
			return err
		}
		if !settled {
			plan.Strategy, plan.EF, plan.Reason = Exact, 0, reasonUnsettled
			return ix.exact(s, want, *plan, opts.Filter)
		}
	}
	w.take(s, k, want, opts.Filter)
	return nil
}
