package online

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	ingestv1 "marquee/ingest/v1"
)

// Event is what of a watch event features are made of.
type Event struct {
	ID   [16]byte
	Type ingestv1.EventType
	// At is the effective time: when it occurred, or when it was received if the client's clock is implausible.
	At         int64
	ReceivedAt int64
	TitleID    string
	PlayID     string
	WatchedMS  int64
	DurationMS int64
	Autoplay   bool
	Device     ingestv1.DeviceClass
	Country    string
}

// FromWatchEvent takes a watch event over. It fails when event_id is no UUID.
func FromWatchEvent(e *ingestv1.WatchEvent) (Event, error) {
	out := Event{
		Type:       e.GetType(),
		At:         e.GetOccurredAt(),
		ReceivedAt: e.GetReceivedAt(),
		TitleID:    e.GetTitleId(),
		PlayID:     e.GetPlayId(),
		WatchedMS:  e.GetWatchedMs(),
		DurationMS: e.GetDurationMs(),
		Autoplay:   e.GetAutoplay(),
		Device:     e.GetDeviceClass(),
		Country:    e.GetCountry(),
	}
	if e.GetClockSkew() != 0 {
		out.At = e.GetReceivedAt()
	}
	digits := strings.ReplaceAll(e.GetEventId(), "-", "")
	if len(e.GetEventId()) != 36 || len(digits) != 32 {
		return Event{}, fmt.Errorf("event_id %q is not a UUID", e.GetEventId())
	}
	if _, err := hex.Decode(out.ID[:], []byte(digits)); err != nil {
		return Event{}, fmt.Errorf("event_id %q is not a UUID: %w", e.GetEventId(), err)
	}
	return out, nil
}

// IsPlay reports whether the event belongs to a play.
func (e *Event) IsPlay() bool {
	return e.Type == ingestv1.EventType_EVENT_TYPE_PLAY_START || e.Type == ingestv1.EventType_EVENT_TYPE_PROGRESS ||
		e.Type == ingestv1.EventType_EVENT_TYPE_PLAY_END
}

// AboutTitle reports whether the event is about one title, and so part of an interaction.
func (e *Event) AboutTitle() bool {
	return e.TitleID != "" && e.Type != ingestv1.EventType_EVENT_TYPE_SEARCH && e.Type != ingestv1.EventType_EVENT_TYPE_SLATE_SEEN
}

// mark is an event's place in the one order of events and its type. The zero mark is before all others.
type mark struct {
	at  int64
	id  [16]byte
	typ ingestv1.EventType
}

func (e *Event) mark() mark { return mark{e.At, e.ID, e.Type} }

func (m mark) compare(o mark) int {
	return cmp.Or(cmp.Compare(m.at, o.at), bytes.Compare(m.id[:], o.id[:]), cmp.Compare(m.typ, o.typ))
}

func latest(a, b mark) mark {
	if a.compare(b) >= 0 {
		return a
	}
	return b
}

// Dedup keeps of events with one id the one received first, as the warehouse does, and returns them in order of time.
// It works in the given slice.
func Dedup(events []Event) []Event {
	slices.SortFunc(events, func(a, b Event) int {
		return cmp.Or(bytes.Compare(a.ID[:], b.ID[:]), cmp.Compare(a.ReceivedAt, b.ReceivedAt))
	})
	events = slices.CompactFunc(events, func(a, b Event) bool { return a.ID == b.ID })
	slices.SortFunc(events, func(a, b Event) int { return a.mark().compare(b.mark()) })
	return events
}
