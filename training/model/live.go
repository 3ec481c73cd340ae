package model

import "sync/atomic"

// Live is the bundle in use, replaced under load: a request acquires the one of the moment and keeps it to its end,
// whatever is swapped in meanwhile. The zero value holds none.
type Live struct{ current atomic.Pointer[Bundle] }

// Acquire returns the bundle in use with a reference that the caller must Release, or nil where there is none.
func (l *Live) Acquire() *Bundle {
	for {
		b := l.current.Load()
		if b == nil || b.Acquire() {
			return b
		}
		// b was replaced and fully released between the two lines: take its successor.
	}
}

// Swap puts b, whose reference it takes over, in the place of the bundle in use, which is released. A nil b leaves none.
func (l *Live) Swap(b *Bundle) error {
	if old := l.current.Swap(b); old != nil {
		return old.Release()
	}
	return nil
}
