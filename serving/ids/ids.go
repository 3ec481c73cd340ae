// Package ids numbers the title ids a serving process meets, so that live state and the request path hold four bytes
// a title and index arrays instead of hashing strings.
package ids

import "sync"

// None is the number of no title.
const None = ^uint32(0)

// Table gives every string it is shown the next number, from 0 up, and never takes one back: a number means the same
// title for the life of the process, whatever release or catalogue revision is current. Safe for concurrent use.
type Table struct {
	limit int

	mu     sync.RWMutex
	byName map[string]uint32
	names  []string
}

// New makes an empty table that holds at most limit ids. The limit is what keeps a client that invents title ids from
// growing the process without end.
func New(limit int) *Table {
	return &Table{limit: min(limit, int(None)), byName: make(map[string]uint32)}
}

// Number returns the id's number, giving it one when it has none. It returns None when the table is full.
func (t *Table) Number(id string) uint32 {
	if n := t.Lookup(id); n != None {
		return n
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n, ok := t.byName[id]; ok {
		return n
	}
	if len(t.names) >= t.limit {
		return None
	}
	n := uint32(len(t.names))
	// A copy, so that the table never pins the buffer a record was decoded from.
	id = string(append([]byte(nil), id...))
	t.byName[id] = n
	t.names = append(t.names, id)
	return n
}

// Lookup returns the id's number, or None when it was never given one.
func (t *Table) Lookup(id string) uint32 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if n, ok := t.byName[id]; ok {
		return n
	}
	return None
}

// Name returns the id that has number n, or "" when none has.
func (t *Table) Name(n uint32) string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if int64(n) >= int64(len(t.names)) {
		return ""
	}
	return t.names[n]
}

// Len returns how many numbers were given out.
func (t *Table) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.names)
}
