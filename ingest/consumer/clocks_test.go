package consumer_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	"marquee/ingest/events"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

// told is an event as a client sends it, and what readers are to make of it.
type told struct {
	name string
	// ago is by how much its occurred_at lies before now.
	ago    time.Duration
	skewed bool
}

// TestLateRepeatedDisorderedAndSkewedEvents sends a play's heartbeats with every kind of time, the newest first and everything
// three times, and reads them back from both sinks.
func TestLateRepeatedDisorderedAndSkewedEvents(t *testing.T) {
	kinds := []told{
		{name: "a moment ahead", ago: -time.Minute},
		{name: "now"},
		{name: "late by an hour", ago: time.Hour},
		{name: "watched offline, late by weeks", ago: 34 * 24 * time.Hour},
		{name: "a clock an hour ahead", ago: -time.Hour, skewed: true},
		{name: "a clock of years ago", ago: 3 * 365 * 24 * time.Hour, skewed: true},
	}
	e := openEngines(t, "embedded:")
	m := e.consumer()
	began := time.Now()
	var list []*ingestv1.WatchEvent
	byID := make(map[string]told)
	for i, k := range kinds {
		at := began.Add(-k.ago).UnixMicro()
		event := &ingestv1.WatchEvent{
			EventId: watchevent.FormatID(watchevent.DeriveID(at, k.name)), SchemaVersion: 1, ProfileId: "p", TitleId: "t", PlayId: "play",
			Type: ingestv1.EventType_EVENT_TYPE_PROGRESS, OccurredAt: at, WatchedMs: int64(1000 * (len(kinds) - i)), DurationMs: 6_000_000,
			// What only the server may say.
			ReceivedAt: 1, ClockSkew: 5, ImportId: "forged",
		}
		list = append(list, event)
		byID[event.EventId] = k
	}
	for range 3 {
		if _, err := e.service.RecordEvents(t.Context(), connect.NewRequest(&ingestv1.RecordEventsRequest{Events: list})); err != nil {
			t.Fatal(err)
		}
	}
	e.caughtUp(m)
	check(t, m.Stop(context.WithoutCancel(t.Context())))
	ended := time.Now()

	set := must(events.Open(t.Context(), e.lake))(t)
	if n := must(set.Count(t.Context()))(t); n.Rows != int64(3*len(kinds)) || n.Events != int64(len(kinds)) {
		t.Errorf("the lake keeps %d rows of %d events, want every repeat of %d", n.Rows, n.Events, len(kinds))
	}
	seen := 0
	for row, err := range set.Events(t.Context()) {
		check(t, err)
		k, ok := byID[watchevent.FormatID(row.EventID)]
		if !ok {
			t.Errorf("the lake has an event nobody sent: %+v", row)
			continue
		}
		seen++
		k.check(t, "lake", stored{row.OccurredAt, row.ReceivedAt, row.EffectiveAt(), row.ClockSkew, row.ImportID}, began, ended)
	}
	if seen != len(kinds) {
		t.Errorf("the lake's reader gives %d events, want %d", seen, len(kinds))
	}
	rows, err := e.house.Conn().Query(t.Context(), "SELECT event_id, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Micro(received_at), "+
		"toUnixTimestamp64Micro(effective_at), clock_skew, import_id FROM events ORDER BY occurred_at")
	check(t, err)
	defer rows.Close()
	seen = 0
	for rows.Next() {
		var id uuid.UUID
		var s stored
		check(t, rows.Scan(&id, &s.occurred, &s.received, &s.effective, &s.skew, &s.importID))
		byID[watchevent.FormatID(id)].check(t, "warehouse", s, began, ended)
		seen++
	}
	check(t, rows.Err())
	if seen != len(kinds) {
		t.Errorf("the warehouse's reader gives %d events, want %d", seen, len(kinds))
	}
	// Cumulative heartbeats: however they arrive, the play's is the largest.
	var watched int64
	check(t, e.house.Conn().QueryRow(t.Context(), "SELECT max(watched_ms) FROM events WHERE play_id = 'play'").Scan(&watched))
	if watched != int64(1000*len(kinds)) {
		t.Errorf("%d ms watched, want %d", watched, 1000*len(kinds))
	}
}

// stored is what a reader says of an event's times, in microseconds.
type stored struct {
	occurred, received, effective, skew int64
	importID                            string
}

func (k told) check(t *testing.T, where string, s stored, began, ended time.Time) {
	t.Helper()
	said := fmt.Sprintf("%s, %s: %+v", where, k.name, s)
	if want := began.Add(-k.ago).UnixMicro(); s.occurred != want {
		t.Errorf("%s: occurred_at is the client's, %d", said, want)
	}
	if s.received < began.UnixMicro() || s.received > ended.UnixMicro() {
		t.Errorf("%s: received_at is the server's", said)
	}
	if s.importID != "" {
		t.Errorf("%s: a client called itself an import", said)
	}
	switch {
	case k.skewed && (s.skew != s.received-s.occurred || s.effective != s.received):
		t.Errorf("%s: a clock that cannot be right is flagged, and received_at holds", said)
	case !k.skewed && (s.skew != 0 || s.effective != s.occurred):
		t.Errorf("%s: late is not skewed, and occurred_at holds", said)
	}
}
