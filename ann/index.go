package ann

import (
	"fmt"
	"unsafe"
)

// index is the one implementation: vectors, and for an HNSW index a graph over them.
type index struct {
	*store
	graph          *graph // nil for an exact index
	efConstruction int
	seed           uint64
	ef             int // candidates a walk keeps unless told otherwise; 0 means DefaultEF
}

func (ix *index) Len() int       { return ix.n }
func (ix *index) Dim() int       { return ix.dim }
func (ix *index) Metric() Metric { return ix.metric }

func (ix *index) Info() Info {
	info := Info{Kind: Exact, Len: ix.n, Dim: ix.dim, Metric: ix.metric, Int8: ix.int8s()}
	info.Bytes = sizeOf(ix.rows) + sizeOf(ix.codes) + sizeOf(ix.center) + sizeOf(ix.codeNorms) + sizeOf(ix.ids) + sizeOf(ix.rowOf)
	if g := ix.graph; g != nil {
		info.Kind, info.M, info.EFConstruction, info.Layers, info.Seed = HNSW, g.m, ix.efConstruction, g.layers, ix.seed
		info.EF = ix.defaultEF()
		info.Bytes += sizeOf(g.base) + sizeOf(g.upper) + sizeOf(g.upperAt) + sizeOf(g.copies)
	}
	return info
}

func (ix *index) defaultEF() int {
	if ix.ef == 0 {
		return DefaultEF
	}
	return ix.ef
}

// withEF is the index with another number of candidates for searches that give none.
func (ix *index) withEF(ef int) Index {
	other := *ix
	other.ef = ef
	return &other
}

func sizeOf[T any](s []T) int64 {
	var t T
	return int64(len(s)) * int64(unsafe.Sizeof(t))
}

// Vector copies the vector of an id to dst.
func (ix *index) Vector(id uint32, dst []float32) error {
	if int(id) >= ix.n || len(dst) != ix.dim {
		return fmt.Errorf("ann: vector %d into %d components, of an index of %d vectors of dimension %d", id, len(dst), ix.n, ix.dim)
	}
	row := id
	if ix.rowOf != nil {
		if row = ix.rowOf[id]; int(row) >= ix.n {
			return fmt.Errorf("ann: %w: row out of range", ErrCorrupt)
		}
	}
	copy(dst, ix.row(int(row)))
	return nil
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
		if err := w.walk(s, k+plan.spare, plan.EF); err != nil {
			return err
		}
		if w.takeNearest(s, k, want, plan.spare, opts.Filter) {
			return nil
		}
	}
	return ix.filtered(s, k, want, plan, opts)
}

// filtered is approximate by a walk that keeps what is eligible.
func (ix *index) filtered(s *scratch, k, want int, plan *Plan, opts SearchOptions) error {
	w := walker{ix.store, ix.graph}
	if plan.Strategy == HNSW {
		plan.Strategy, plan.Reason = FilteredHNSW, reasonWalkMissed
	}
	settled, err := w.walkFiltered(s, plan.EF, opts.Filter, ix.walkBudget(*plan, opts))
	if err != nil {
		return err
	}
	if !settled {
		plan.Strategy, plan.EF, plan.Reason = Exact, 0, reasonUnsettled
		return ix.exact(s, want, *plan, opts.Filter)
	}
	w.take(s, k, want, opts.Filter)
	return nil
}

// takeNearest is take after a walk that knew of no filter. It reports false if fewer than k of the nearest, which are all
// the walk made sure of, are eligible.
func (w walker) takeNearest(s *scratch, k, want, spare int, filter Bitmap) bool {
	if filter == nil {
		w.take(s, k, want, nil)
		return true
	}
	w.take(s, k, k+spare, filter)
	enough := len(s.found) >= k
	if enough && want > k+spare {
		w.take(s, k, want+spare, filter)
	}
	return enough
}
