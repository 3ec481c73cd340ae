package slot

import (
	"sync"
	"sync/atomic"
	"testing"
)

type resource struct{ closed atomic.Bool }

func held() *Held[*resource] {
	r := &resource{}
	return New(r, func() {
		if r.closed.Swap(true) {
			panic("freed twice")
		}
	})
}

func TestValueIsFreedAfterItsLastHolder(t *testing.T) {
	var s Slot[*resource]
	if s.Acquire() != nil {
		t.Fatal("an empty slot gave something")
	}
	s.Swap(held())
	a := s.Acquire()
	b := a.Hold()
	s.Swap(held())
	a.Release()
	if b.Value.closed.Load() {
		t.Fatal("freed while held")
	}
	b.Release()
	if !b.Value.closed.Load() {
		t.Fatal("not freed after the last holder")
	}
	last := s.Acquire()
	s.Swap(nil)
	last.Release()
	if s.Acquire() != nil || !last.Value.closed.Load() {
		t.Fatal("the slot was not emptied")
	}
}

func TestSwapsUnderReaders(t *testing.T) {
	var s Slot[*resource]
	s.Swap(held())
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				h := s.Acquire()
				if h.Value.closed.Load() {
					t.Error("a reader got a freed value")
				}
				h.Release()
			}
		})
	}
	for range 5000 {
		s.Swap(held())
	}
	stop.Store(true)
	wg.Wait()
}
