package mapping

import (
	"encoding/hex"
	"unsafe"

	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

// arenaChunk is how much memory for texts is taken at a time.
const arenaChunk = 128 << 10

// Batch holds events and the memory of their texts, so that making an event allocates next to nothing. Reset gives all of
// it to the next events: nothing of the ones before may be in use then.
type Batch struct {
	Events []*ingestv1.WatchEvent
	// Skipped counts rows the mapping's filter left out.
	Skipped int64
	// ReceivedAt is what events are stamped with, in microseconds since the Unix epoch.
	ReceivedAt int64

	made   []*ingestv1.WatchEvent
	chunks [][]byte
	// at is the chunk that is being filled.
	at int
}

// Reset empties the batch.
func (b *Batch) Reset(receivedAt int64) {
	b.Events, b.Skipped, b.ReceivedAt, b.at = b.Events[:0], 0, receivedAt, 0
	for i := range b.chunks {
		b.chunks[i] = b.chunks[i][:0]
	}
}

// next appends an empty event.
func (b *Batch) next() *ingestv1.WatchEvent {
	n := len(b.Events)
	if n == len(b.made) {
		// Many at a time: one allocation for all.
		more := make([]ingestv1.WatchEvent, 256)
		for i := range more {
			b.made = append(b.made, &more[i])
		}
	}
	e := b.made[n]
	seen := e.SeenTitleIds[:0]
	e.Reset()
	e.SeenTitleIds = seen
	b.Events = append(b.Events, e)
	return e
}

// cut drops the events from n on.
func (b *Batch) cut(n int) { b.Events = b.Events[:n] }

// room returns a place for n bytes.
func (b *Batch) room(n int) []byte {
	for ; b.at < len(b.chunks); b.at++ {
		chunk := b.chunks[b.at]
		if from := len(chunk); from+n <= cap(chunk) {
			b.chunks[b.at] = chunk[:from+n]
			return b.chunks[b.at][from : from+n]
		}
	}
	b.chunks = append(b.chunks, make([]byte, n, max(n, arenaChunk)))
	return b.chunks[b.at]
}

// keep copies a text into the batch.
func (b *Batch) keep(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	place := b.room(len(text))
	copy(place, text)
	return unsafe.String(&place[0], len(place))
}

// keepID writes an id out into the batch.
func (b *Batch) keepID(id watchevent.ID) string {
	place := b.room(36)
	hex.Encode(place[0:8], id[0:4])
	hex.Encode(place[9:13], id[4:6])
	hex.Encode(place[14:18], id[6:8])
	hex.Encode(place[19:23], id[8:10])
	hex.Encode(place[24:36], id[10:16])
	place[8], place[13], place[18], place[23] = '-', '-', '-', '-'
	return unsafe.String(&place[0], len(place))
}
