// Package sink writes a range of watch events to the two places they go: the warehouse, as one columnar insert, and the
// lake, as Parquet files under a manifest. Writing a range again, by whoever, leaves both as one write did: the insert
// carries the range's token, and the files are a function of the range alone.
package sink

import (
	"github.com/google/uuid"

	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

// maxSmall is above every valid row and rank.
const maxSmall = 10_000

// Batch holds the events of one range by column. Its strings alias the events they came from: keep those until the
// batch is written or reset. A Batch is for one goroutine at a time.
type Batch struct {
	eventID       []uuid.UUID
	schemaVersion []uint16
	profileID     []string
	titleID       []string
	playableID    []string
	playID        []string
	eventType     []int8
	occurredAt    []int64
	receivedAt    []int64
	sessionID     []string
	deviceClass   []int8
	country       []string
	surface       []string
	autoplay      []bool
	positionMS    []int64
	watchedMS     []int64
	durationMS    []int64
	query         []string
	requestID     []string
	row           []*uint32
	rank          []*uint32
	seen          [][]string
	importID      []string
	clockSkew     []int64
	partition     []int32
	offset        []int64
	unknown       []string

	// small holds every value a row or rank can have, so that a nullable one is a pointer into it and not an allocation.
	small []uint32
	// dead counts the records of the range that became dead letters.
	dead int64
}

// NewBatch makes a batch with room for n events before it grows.
func NewBatch(n int) *Batch {
	b := &Batch{small: make([]uint32, maxSmall)}
	for i := range b.small {
		b.small[i] = uint32(i)
	}
	b.grow(n)
	return b
}

func (b *Batch) grow(n int) {
	b.eventID, b.schemaVersion = make([]uuid.UUID, 0, n), make([]uint16, 0, n)
	for _, s := range b.texts() {
		*s = make([]string, 0, n)
	}
	for _, s := range b.longs() {
		*s = make([]int64, 0, n)
	}
	b.eventType, b.deviceClass = make([]int8, 0, n), make([]int8, 0, n)
	b.autoplay, b.partition = make([]bool, 0, n), make([]int32, 0, n)
	b.row, b.rank, b.seen = make([]*uint32, 0, n), make([]*uint32, 0, n), make([][]string, 0, n)
}

func (b *Batch) texts() []*[]string {
	return []*[]string{&b.profileID, &b.titleID, &b.playableID, &b.playID, &b.sessionID, &b.country, &b.surface, &b.query, &b.requestID, &b.importID, &b.unknown}
}

func (b *Batch) longs() []*[]int64 {
	return []*[]int64{&b.occurredAt, &b.receivedAt, &b.positionMS, &b.watchedMS, &b.durationMS, &b.clockSkew, &b.offset}
}

// Len is the number of events.
func (b *Batch) Len() int { return len(b.eventID) }

// Dead is the number of dead letters counted by AddDead.
func (b *Batch) Dead() int64 { return b.dead }

// AddDead counts a record of the range that is no event.
func (b *Batch) AddDead() { b.dead++ }

// SetDead is what AddDead has counted, or is to have counted.
func (b *Batch) SetDead(n int64) { b.dead = n }

// Remove removes the events of the profiles that the function names.
func (b *Batch) Remove(profile func(id string) bool) {
	keep := make([]int, 0, b.Len())
	for i, id := range b.profileID {
		if !profile(id) {
			keep = append(keep, i)
		}
	}
	if len(keep) == b.Len() {
		return
	}
	b.eventID, b.schemaVersion = take(b.eventID, keep), take(b.schemaVersion, keep)
	b.eventType, b.deviceClass = take(b.eventType, keep), take(b.deviceClass, keep)
	for _, s := range b.texts() {
		*s = take(*s, keep)
	}
	for _, s := range b.longs() {
		*s = take(*s, keep)
	}
	b.autoplay, b.partition = take(b.autoplay, keep), take(b.partition, keep)
	b.row, b.rank, b.seen = take(b.row, keep), take(b.rank, keep), take(b.seen, keep)
}

// take moves the kept elements to the front and lets go of the others.
func take[T any](values []T, keep []int) []T {
	for to, from := range keep {
		values[to] = values[from]
	}
	clear(values[len(keep):])
	return values[:len(keep)]
}

// Add appends a valid event found at a place in the log. It keeps the event's strings but not the event.
func (b *Batch) Add(e *ingestv1.WatchEvent, partition int32, offset int64) {
	id, _ := watchevent.ParseID(e.EventId) // valid, so it parses
	b.eventID = append(b.eventID, id)
	b.schemaVersion = append(b.schemaVersion, uint16(e.SchemaVersion))
	b.profileID = append(b.profileID, e.ProfileId)
	b.titleID = append(b.titleID, e.TitleId)
	b.playableID = append(b.playableID, e.PlayableId)
	b.playID = append(b.playID, e.PlayId)
	b.eventType = append(b.eventType, int8(e.Type))
	b.occurredAt = append(b.occurredAt, e.OccurredAt)
	b.receivedAt = append(b.receivedAt, e.ReceivedAt)
	b.sessionID = append(b.sessionID, e.SessionId)
	b.deviceClass = append(b.deviceClass, int8(e.DeviceClass))
	b.country = append(b.country, e.Country)
	b.surface = append(b.surface, e.Surface)
	b.autoplay = append(b.autoplay, e.Autoplay)
	b.positionMS = append(b.positionMS, e.PositionMs)
	b.watchedMS = append(b.watchedMS, e.WatchedMs)
	b.durationMS = append(b.durationMS, e.DurationMs)
	b.query = append(b.query, e.Query)
	b.requestID = append(b.requestID, e.RequestId)
	b.row = append(b.row, b.nullable(e.Row))
	b.rank = append(b.rank, b.nullable(e.Rank))
	b.seen = append(b.seen, append([]string(nil), e.SeenTitleIds...))
	b.importID = append(b.importID, e.ImportId)
	b.clockSkew = append(b.clockSkew, e.ClockSkew)
	b.partition = append(b.partition, partition)
	b.offset = append(b.offset, offset)
	b.unknown = append(b.unknown, string(e.ProtoReflect().GetUnknown()))
}

func (b *Batch) nullable(v *uint32) *uint32 {
	if v == nil {
		return nil
	}
	return &b.small[*v]
}

// Reset empties the batch and lets go of the events' memory.
func (b *Batch) Reset() {
	for _, s := range b.texts() {
		clear(*s)
		*s = (*s)[:0]
	}
	for _, s := range b.longs() {
		*s = (*s)[:0]
	}
	clear(b.seen)
	b.eventID, b.schemaVersion, b.eventType, b.deviceClass = b.eventID[:0], b.schemaVersion[:0], b.eventType[:0], b.deviceClass[:0]
	b.autoplay, b.partition, b.row, b.rank, b.seen = b.autoplay[:0], b.partition[:0], b.row[:0], b.rank[:0], b.seen[:0]
	b.dead = 0
}

// EventIDs returns the events' ids in order. They are the batch's own.
func (b *Batch) EventIDs() []uuid.UUID { return b.eventID }
