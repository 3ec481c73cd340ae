package events

import "marquee/internal/checksum"

// Digest sums up events: their ids, and all that is in them. It is the same for the same events from whichever store and in
// whatever order.
type Digest struct {
	IDs     checksum.Sum
	Content checksum.Sum

	buffer []byte
}

// Add adds an event, every column of it.
func (d *Digest) Add(r *Row) {
	d.IDs.Add(r.EventID[:])
	d.buffer = r.appendCanonical(d.buffer[:0])
	d.Content.Add(d.buffer)
}
