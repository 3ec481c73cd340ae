package events

import (
	"encoding/binary"

	"marquee/internal/checksum"
)

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
	b := append(d.buffer[:0], r.EventID[:]...)
	for _, text := range [...]string{
		r.ProfileID, r.TitleID, r.PlayableID, r.PlayID, r.Type, r.SessionID, r.DeviceClass, r.Country, r.Surface, r.Query,
		r.RequestID, r.ImportID,
	} {
		b = appendText(b, text)
	}
	for _, n := range [...]int64{
		int64(r.SchemaVersion), r.OccurredAt, r.ReceivedAt, r.PositionMS, r.WatchedMS, r.DurationMS, r.ClockSkew,
		int64(r.KafkaPartition), r.KafkaOffset, optional(r.Row), optional(r.Rank), int64(len(r.SeenTitleIDs)),
	} {
		b = binary.AppendVarint(b, n)
	}
	for _, id := range r.SeenTitleIDs {
		b = appendText(b, id)
	}
	if r.Autoplay {
		b = append(b, 1)
	}
	d.buffer = b
	d.Content.Add(b)
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// optional is a number for a value that may be missing; no value is negative.
func optional(v *uint32) int64 {
	if v == nil {
		return -1
	}
	return int64(*v)
}
