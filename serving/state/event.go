package state

import (
	"encoding/binary"

	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

// Event is what the state takes from a watch event, or from what a HistoryLoader added up of several.
type Event struct {
	ProfileID  string
	TitleID    string
	PlayableID string // empty: the same as TitleID
	PlayID     string // set for play_start, progress and play_end
	Type       ingestv1.EventType
	// At is when it happened, microseconds since the Unix epoch: the client's clock, or the server's where the
	// client's is implausible.
	At int64
	// Order tells apart events of the same instant: the event_id's 16 bytes, as two big-endian halves.
	Order      [2]uint64
	Autoplay   bool
	PositionMS int64
	WatchedMS  int64 // cumulative within PlayID
	DurationMS int64 // 0 when unknown
}

func (e *Event) isPlay() bool {
	switch e.Type {
	case ingestv1.EventType_EVENT_TYPE_PLAY_START, ingestv1.EventType_EVENT_TYPE_PROGRESS, ingestv1.EventType_EVENT_TYPE_PLAY_END:
		return true
	}
	return false
}

func (e *Event) concernsTitle() bool {
	switch e.Type {
	case ingestv1.EventType_EVENT_TYPE_UNSPECIFIED, ingestv1.EventType_EVENT_TYPE_SEARCH, ingestv1.EventType_EVENT_TYPE_SLATE_SEEN:
		return false
	}
	return e.TitleID != ""
}

// reader reads the log's records as the ingest consumer does, so that what is live and what the warehouse will hold are
// the same events, at the same times. It is for one goroutine, and what it returns is valid until the next call.
type reader struct {
	decoder watchevent.Decoder
}

// read reads one record. The error says why it is no event.
func (r *reader) read(record watchevent.Record) (Event, error) {
	w, refusal := r.decoder.Read(record)
	if refusal != nil {
		return Event{}, refusal
	}
	e := Event{
		ProfileID: w.ProfileId, TitleID: w.TitleId, PlayableID: w.PlayableId, PlayID: w.PlayId, Type: w.Type,
		At: w.OccurredAt, Autoplay: w.Autoplay, PositionMS: w.PositionMs, WatchedMS: w.WatchedMs, DurationMS: w.DurationMs,
	}
	if w.ClockSkew != 0 {
		e.At = w.ReceivedAt
	}
	if id, ok := watchevent.ParseID(w.EventId); ok {
		e.Order = [2]uint64{binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])}
	}
	return e, nil
}
