package heap

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: mostPercent, 1 << 20: mostPercent, 64 << 20: 300, Headroom: 100, 8 << 30: 100, math.MaxUint64: 100} {
		if got := percent(live); got != want {
			t.Errorf("%d bytes live: %d, want %d", live, got, want)
		}
	}
}

// current is the percentage in force.
func current() int {
	p := debug.SetGCPercent(100)
	debug.SetGCPercent(p)
	return p
}

// TestKeepHeadroom: a heap that has grown gets less headroom in proportion, and one that has shrunk more again.
func TestKeepHeadroom(t *testing.T) {
	t.Setenv("GOGC", "")
	before := current()
	stop := KeepHeadroom()
	until := func(what string, is func(percent int) bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			runtime.GC()
			if is(current()) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d", what, current())
			}
		}
	}
	until("a small heap", func(p int) bool { return p == mostPercent })
	grown := make([]byte, 2*Headroom)
	until("a large heap", func(p int) bool { return p == 100 })
	runtime.KeepAlive(grown) // and no longer
	until("a small heap again", func(p int) bool { return p == mostPercent })
	stop()
	runtime.GC()
	if got := current(); got != before {
		t.Errorf("%d when it has ended, was %d", got, before)
	}
}

func TestGOGCDecides(t *testing.T) {
	t.Setenv("GOGC", "77")
	before := current()
	defer KeepHeadroom()()
	runtime.GC()
	if got := current(); got != before {
		t.Errorf("%d, was %d", got, before)
	}
}
