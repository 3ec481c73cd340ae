// Package slot swaps what requests read while they read it: a new value takes the place of the old at once, and the old
// is freed when the last request that holds it is done.
package slot

import "sync/atomic"

// Slot holds the current value, or none. The zero Slot is empty. Safe for concurrent use.
type Slot[T any] struct {
	current atomic.Pointer[Held[T]]
}

// Held is a value that somebody holds. Whoever got it calls Release once, and does not touch Value afterwards.
type Held[T any] struct {
	Value T
	refs  atomic.Int64
	free  func()
}

// New makes a held value outside any slot. free is called when the last holder releases it; it may be nil.
func New[T any](value T, free func()) *Held[T] {
	h := &Held[T]{Value: value, free: free}
	h.refs.Store(1)
	return h
}

// Hold adds a holder. The caller must hold the value already.
func (h *Held[T]) Hold() *Held[T] {
	h.refs.Add(1)
	return h
}

// Release gives the value up.
func (h *Held[T]) Release() {
	if h.refs.Add(-1) == 0 && h.free != nil {
		h.free()
	}
}

// tryHold adds a holder unless the last one is gone already.
func (h *Held[T]) tryHold() bool {
	for {
		n := h.refs.Load()
		if n == 0 {
			return false
		}
		if h.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Acquire returns the current value, to be released, or nil when the slot is empty.
func (s *Slot[T]) Acquire() *Held[T] {
	for {
		h := s.current.Load()
		if h == nil || h.tryHold() {
			return h
		}
		// It was swapped out and freed between the two lines above: the slot has another by now.
	}
}

// Swap puts a value in the slot, which takes over the caller's hold on it, and gives up the slot's hold on the one
// before. Nil empties the slot.
func (s *Slot[T]) Swap(h *Held[T]) {
	if old := s.current.Swap(h); old != nil {
		old.Release()
	}
}
