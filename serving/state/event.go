package state

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	ingestv1 "marquee/ingest/v1"
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

// Decode reads a record's value by its content-type header; empty means protobuf. The error says what is wrong with it.
func Decode(contentType string, value []byte) (Event, error) {
	var w ingestv1.WatchEvent
	switch contentType {
	case "", ingestv1.ContentTypeProto:
		if err := proto.Unmarshal(value, &w); err != nil {
			return Event{}, fmt.Errorf("read a watch event as protobuf: %w", err)
		}
	case ingestv1.ContentTypeJSON:
		// A newer producer's fields are no reason to lose the event.
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(value, &w); err != nil {
			return Event{}, fmt.Errorf("read a watch event as JSON: %w", err)
		}
	default:
		return Event{}, fmt.Errorf("content-type is %q, must be %s or %s", contentType, ingestv1.ContentTypeProto, ingestv1.ContentTypeJSON)
	}
	return fromWatchEvent(&w)
}

func fromWatchEvent(w *ingestv1.WatchEvent) (Event, error) {
	e := Event{
		ProfileID: w.GetProfileId(), TitleID: w.GetTitleId(), PlayableID: w.GetPlayableId(), PlayID: w.GetPlayId(),
		Type: w.GetType(), At: w.GetOccurredAt(), Autoplay: w.GetAutoplay(),
		PositionMS: w.GetPositionMs(), WatchedMS: w.GetWatchedMs(), DurationMS: w.GetDurationMs(),
	}
	if w.GetClockSkew() != 0 {
		e.At = w.GetReceivedAt()
	}
	if id, err := uuid.Parse(w.GetEventId()); err == nil {
		e.Order = [2]uint64{binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])}
	}
	return e, e.validate()
}

// maxMS is the most a position or a length may be: a week, as the contract says.
const maxMS = 604_800_000

func (e *Event) validate() error {
	var errs []error
	if n := len(e.ProfileID); n < 1 || n > 64 {
		errs = append(errs, fmt.Errorf("profile_id must have 1 to 64 bytes, has %d", n))
	}
	if n := len(e.TitleID); n > 64 || n == 0 && e.Type != ingestv1.EventType_EVENT_TYPE_SEARCH && e.Type != ingestv1.EventType_EVENT_TYPE_SLATE_SEEN {
		errs = append(errs, fmt.Errorf("title_id must have 1 to 64 bytes, has %d", n))
	}
	if n := len(e.PlayableID); n > 64 {
		errs = append(errs, fmt.Errorf("playable_id must have at most 64 bytes, has %d", n))
	}
	if e.isPlay() && e.PlayID == "" {
		errs = append(errs, errors.New("play_id is required for a play"))
	}
	if _, ok := ingestv1.EventType_name[int32(e.Type)]; !ok || e.Type == 0 {
		errs = append(errs, fmt.Errorf("type %d is not known", e.Type))
	}
	if e.At <= 0 || e.At >= 4_102_444_800_000_000 {
		errs = append(errs, fmt.Errorf("occurred_at must be between 1970 and 2100 in microseconds, is %d", e.At))
	}
	for _, f := range []struct {
		name string
		ms   int64
	}{{"position_ms", e.PositionMS}, {"watched_ms", e.WatchedMS}, {"duration_ms", e.DurationMS}} {
		if f.ms < 0 || f.ms > maxMS {
			errs = append(errs, fmt.Errorf("%s must be between 0 and %d, is %d", f.name, maxMS, f.ms))
		}
	}
	return errors.Join(errs...)
}
