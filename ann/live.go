package ann

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
)

// Live is a set of vectors that changes while it is searched: an Index, called the base, of what there was at the last
// compaction; a delta, scanned by every search, of what was added or updated since; and tombstones for what is in the base
// and no longer true. One Search goes over all of it and returns the same as an index built of what there is now would.
//
// Ids are the caller's, and best kept dense: an id below the largest one that is not in use takes the memory of a vector in
// the base. Any number of goroutines may search and change at once. A change is seen by every search that begins after
// it, a batch of changes as one. Nothing waits for a compaction but another one.
type Live struct {
	opts  Options
	dim   int
	build Builder

	state atomic.Pointer[liveState]

	change  sync.Mutex        // held by whoever replaces the state
	where   map[uint32]uint32 // the row in the delta of each id that is there
	compact sync.Mutex        // held by a compaction

	scratch sync.Pool // of liveScratch
}

// Builder makes the base of a Live; Build is one.
type Builder func(ctx context.Context, vectors []float32, dim int, opts Options) (Index, error)

// liveState is what a search goes over. It never changes. Its slices may share memory with those of later states, which
// only ever write beyond what is in use here.
type liveState struct {
	base     Index
	inBase   Bitmap // ids to be found in the base
	whole    bool   // that is all of the base
	baseLive int    // how many

	delta     *store // rows in the order they were added
	ids       []uint32
	inDelta   Bitmap // rows that have not been updated or deleted since; room for more than there are rows
	deltaLive int
}

// Change is an update of one vector, or its deletion.
type Change struct {
	ID uint32
	// Vector is what the id shall have from now on; nil deletes it.
	Vector []float32
}

// LiveInfo describes what a Live holds.
type LiveInfo struct {
	Base Info
	// Len is the number of ids in use.
	Len int
	// Delta is how many vectors every search scans, Tombstones how many in the base are out of date.
	Delta, Tombstones int
}

// NewLive makes a Live of vectors whose ids are their positions, as in Build. build makes its base now and at every
// compaction; nil means Build.
func NewLive(ctx context.Context, vectors []float32, dim int, opts Options, build Builder) (*Live, error) {
	if build == nil {
		build = Build
	}
	base, err := build(ctx, vectors, dim, opts)
	if err != nil {
		return nil, err
	}
	return newLive(base, nil, opts, build), nil
}

// newLive begins with a base of which the ids in inBase are in use, all if it is nil.
func newLive(base Index, inBase Bitmap, opts Options, build Builder) *Live {
	l := &Live{opts: opts, dim: base.Dim(), build: build, where: map[uint32]uint32{}}
	if inBase == nil {
		inBase = NewBitmap(base.Len())
		inBase.Fill(base.Len())
	}
	l.state.Store(baseState(base, inBase))
	return l
}

func baseState(base Index, inBase Bitmap) *liveState {
	st := &liveState{base: base, inBase: inBase, baseLive: inBase.Count()}
	st.whole = st.baseLive == base.Len()
	st.delta = emptyDelta(base.Dim(), base.Metric())
	return st
}

// Dim is the number of components of a vector.
func (l *Live) Dim() int { return l.dim }

// Len is the number of ids in use.
func (l *Live) Len() int {
	st := l.state.Load()
	return st.baseLive + st.deltaLive
}

// Info describes what there is now.
func (l *Live) Info() LiveInfo {
	st := l.state.Load()
	return LiveInfo{Base: st.base.Info(), Len: st.baseLive + st.deltaLive, Delta: st.delta.n, Tombstones: st.base.Len() - st.baseLive}
}

// Apply makes all the changes, in their order, or none: searches see them all at once. Deleting an id not in use is no error. What
// is wrong with a vector is an error, as in Build.
func (l *Live) Apply(changes ...Change) error {
	for i, c := range changes {
		if c.ID >= MaxLen {
			return fmt.Errorf("ann: change %d: id %d, must be below %d", i, c.ID, MaxLen)
		}
		if c.Vector == nil {
			continue
		}
		if len(c.Vector) != l.dim {
			return fmt.Errorf("ann: change %d: %d components for an index of dimension %d", i, len(c.Vector), l.dim)
		}
		if err := checkVector(c.Vector); err != nil {
			return fmt.Errorf("ann: change %d: %w", i, err)
		}
	}
	l.change.Lock()
	defer l.change.Unlock()
	st := *l.state.Load()
	st.inBase, st.inDelta = slices.Clone(st.inBase), slices.Clone(st.inDelta)
	st.delta = st.delta.shallow()
	for _, c := range changes {
		l.forget(&st, c.ID)
		if c.Vector != nil {
			l.where[c.ID] = uint32(st.delta.n)
			st.append(c.ID, c.Vector)
		}
	}
	st.whole = st.baseLive == st.base.Len()
	l.state.Store(&st)
	return nil
}

// forget takes an id out of base and delta.
func (l *Live) forget(st *liveState, id uint32) {
	if st.inBase.Has(id) {
		st.inBase.Clear(id)
		st.baseLive--
	}
	if row, ok := l.where[id]; ok {
		st.inDelta.Clear(row)
		st.deltaLive--
		delete(l.where, id)
	}
}

// Compact makes a new base of all there is and empties the delta. Searches and changes go on meanwhile; what changes
// before it is done stays in the delta.
func (l *Live) Compact(ctx context.Context) error {
	l.compact.Lock()
	defer l.compact.Unlock()
	old := l.state.Load()
	vectors, alive, err := old.gather(l.dim)
	if err != nil {
		return fmt.Errorf("ann: compact: %w", err)
	}
	opts := l.opts
	if opts.EF == 0 {
		opts.EF = old.base.Info().EF // what it was calibrated to
	}
	base, err := l.build(ctx, vectors, l.dim, opts)
	if err != nil {
		return fmt.Errorf("ann: compact: %w", err)
	}
	l.change.Lock()
	defer l.change.Unlock()
	now := l.state.Load()
	for i := range alive {
		for id := uint32(i * 64); id < uint32(min(i*64+64, base.Len())); id++ {
			if row, ok := l.where[id]; alive.Has(id) && !now.inBase.Has(id) && (!ok || int(row) >= old.delta.n) {
				alive.Clear(id) // deleted or updated since
			}
		}
	}
	next := baseState(base, alive)
	where := map[uint32]uint32{}
	for row := old.delta.n; row < now.delta.n; row++ {
		if now.inDelta.Has(uint32(row)) {
			where[now.ids[row]] = uint32(next.delta.n)
			next.append(now.ids[row], now.delta.row(row))
		}
	}
	l.where = where
	l.state.Store(next)
	if f, ok := old.base.(io.Closer); ok {
		return f.Close() // searches that come too late for it begin again
	}
	return nil
}

// append adds a row to the delta of a state nobody else has.
func (st *liveState) append(id uint32, vector []float32) {
	if st.delta.n == 64*len(st.inDelta) {
		st.inDelta = append(st.inDelta, 0)
	}
	st.inDelta.Set(uint32(st.delta.n))
	st.ids = append(st.ids, id)
	st.delta.add(vector)
	st.deltaLive++
}

// gather returns a table of all vectors by id, and which ids of it are in use.
func (st *liveState) gather(dim int) (vectors []float32, alive Bitmap, err error) {
	n := 0
	for id := range st.base.Len() {
		if st.inBase.Has(uint32(id)) {
			n = id + 1
		}
	}
	for row, id := range st.ids {
		if st.inDelta.Has(uint32(row)) {
			n = max(n, int(id)+1)
		}
	}
	vectors, alive = make([]float32, n*dim), NewBitmap(n)
	for id := range min(n, st.base.Len()) {
		if st.inBase.Has(uint32(id)) {
			if err := st.base.Vector(uint32(id), vectors[id*dim:(id+1)*dim]); err != nil {
				return nil, nil, err
			}
			alive.Set(uint32(id))
		}
	}
	for row, id := range st.ids {
		if st.inDelta.Has(uint32(row)) {
			copy(vectors[int(id)*dim:], st.delta.row(row))
			alive.Set(id)
		}
	}
	return vectors, alive, nil
}

// ErrNoVector is returned for an id not in use.
var ErrNoVector = errors.New("no such vector")

// Vector copies the vector of an id to dst, which has Dim components; by Cosine, scaled to length 1.
func (l *Live) Vector(id uint32, dst []float32) error {
	if len(dst) != l.dim {
		return fmt.Errorf("ann: vector into %d components, of an index of dimension %d", len(dst), l.dim)
	}
	st := l.state.Load()
	for st.inBase.Has(id) {
		err := st.base.Vector(id, dst)
		now := l.state.Load()
		if !errors.Is(err, ErrClosed) || now == st {
			return err
		}
		st = now // a compaction closed the file of the base before
	}
	for row := len(st.ids) - 1; row >= 0; row-- {
		if st.ids[row] == id && st.inDelta.Has(uint32(row)) {
			copy(dst, st.delta.row(row))
			return nil
		}
	}
	return fmt.Errorf("ann: id %d: %w", id, ErrNoVector)
}
