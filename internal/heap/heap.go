// Package heap lets a service with a small heap collect garbage seldom. Go collects when the heap has doubled, which is every few hundred
// milliseconds where little lives and much is allocated; while it marks, a processor in four is gone and answers are late.
package heap

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// Headroom is how many bytes a heap may grow between collections, where doubling would be less.
const Headroom = 192 << 20

// mostPercent bounds the growth of a heap that has hardly anything.
const mostPercent = 800

// KeepHeadroom sees to it, from now on and after every collection, that the heap may grow by at least Headroom bytes until the next, and
// by what lives where that is more. What was allocated before and is dead goes back to the system first: starting takes more than
// running. Who sets GOGC decides himself: then nothing is done. The function returned ends it.
func KeepHeadroom() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	debug.FreeOSMemory()
	k := &keeper{before: debug.SetGCPercent(percent(live()))}
	k.watch()
	return k.stop
}

// keeper sets the percentage until it is stopped.
type keeper struct {
	mu      sync.Mutex
	before  int
	stopped bool
}

// watch has a collection announce itself, by the cleanup of an object that nobody holds. Of less than 16 bytes, it could share its
// memory with one that is held.
func (k *keeper) watch() {
	runtime.AddCleanup(new([4]uint64), (*keeper).collected, k)
}

func (k *keeper) collected() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.stopped {
		debug.SetGCPercent(percent(live()))
		k.watch()
	}
}

func (k *keeper) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	debug.SetGCPercent(k.before)
}

// percent is what GOGC must be for a live heap of so many bytes.
func percent(live uint64) int {
	if live == 0 {
		return mostPercent
	}
	return int(min(max(Headroom*100/live, 100), mostPercent))
}

// live is how many bytes the last collection left.
func live() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
