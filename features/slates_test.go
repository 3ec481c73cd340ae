package features_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"marquee/features"
	"marquee/features/snapshot"
	ingestv1 "marquee/ingest/v1"
)

// TestSlates tells what was shown of an answer and what came of it from all else that goes on meanwhile.
func TestSlates(t *testing.T) {
	w := newWorld(5)
	second := 0
	send := func(e *ingestv1.WatchEvent) {
		second++
		e.EventId, e.SchemaVersion, e.ProfileId = w.id(), 1, "profile:1"
		e.OccurredAt = asOf.Add(-time.Hour + time.Duration(second)*time.Second).UnixMicro()
		e.ReceivedAt = e.OccurredAt
		w.append(e)
	}
	at := func(e *ingestv1.WatchEvent, request string, row, rank uint32) *ingestv1.WatchEvent {
		e.RequestId, e.Row, e.Rank, e.Surface = request, &row, &rank, "home"
		return e
	}
	seen := func(titles ...string) *ingestv1.WatchEvent {
		return &ingestv1.WatchEvent{Type: ingestv1.EventType_EVENT_TYPE_SLATE_SEEN, SeenTitleIds: titles, DeviceClass: ingestv1.DeviceClass_DEVICE_CLASS_TV}
	}
	on := func(kind ingestv1.EventType, title, play string, watched int64) *ingestv1.WatchEvent {
		return &ingestv1.WatchEvent{Type: kind, TitleId: title, PlayId: play, WatchedMs: watched, DurationMs: 2_000_000}
	}
	const click, start, end = ingestv1.EventType_EVENT_TYPE_CLICK, ingestv1.EventType_EVENT_TYPE_PLAY_START, ingestv1.EventType_EVENT_TYPE_PLAY_END

	send(at(seen("a", "b", "c"), "r1", 0, 0))
	send(at(seen("c", "d"), "r1", 0, 2)) // scrolled on: c is still to be seen
	send(at(seen("a", "x"), "r1", 1, 0)) // another row of the same answer
	send(&ingestv1.WatchEvent{Type: ingestv1.EventType_EVENT_TYPE_SLATE_SEEN, SeenTitleIds: []string{"a", "b"}})
	send(at(on(click, "b", "", 0), "r1", 0, 1))
	send(at(on(start, "d", "p1", 0), "r1", 0, 3))
	send(at(on(end, "d", "p1", 1_000_000), "r1", 0, 3))
	send(at(on(end, "d", "p2", 500_000), "r1", 0, 3))
	send(on(end, "a", "p3", 2_000_000)) // found another way
	send(at(on(click, "x", "", 0), "r1", 1, 1))
	send(at(on(start, "x", "p4", 0), "r1", 1, 1)) // begun, and left at once
	send(at(on(click, "z", "", 0), "r1", 0, 7))   // never reported as seen
	send(&ingestv1.WatchEvent{Type: ingestv1.EventType_EVENT_TYPE_SLATE_SEEN, SeenTitleIds: []string{"e"}, RequestId: "r0"})
	for n := range 250 {
		w.append(&ingestv1.WatchEvent{
			EventId: w.id(), SchemaVersion: 1, ProfileId: "profile:2", Type: ingestv1.EventType_EVENT_TYPE_SLATE_SEEN, SeenTitleIds: []string{"a"},
			RequestId: fmt.Sprint(n), OccurredAt: asOf.Add(time.Duration(n-1000) * time.Second).UnixMicro(), ReceivedAt: asOf.UnixMicro(),
		})
	}
	b := newBuilder(t, openWarehouse(t))
	insert(t, b.Conn, w.events, 100)
	snap, err := b.Build(t.Context(), features.BuildOptions{AsOf: asOf, Sets: []string{"slates"}})
	if err != nil {
		t.Fatal(err)
	}
	set, err := snapshot.Open(t.Context(), b.Lake, "slates", snap.ID)
	if err != nil {
		t.Fatal(err)
	}
	c, err := set.ReadPart(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	latest := 0
	for i := range c.Rows {
		row := ""
		for _, name := range []string{"profile_id", "request_id", "row", "surface", "device_class", "title_ids", "ranks", "clicked", "strengths"} {
			v, err := c.Value(name, i)
			if err != nil {
				t.Fatal(err)
			}
			row += fmt.Sprint(v, " ")
		}
		if strings.HasPrefix(row, "profile:2") {
			latest++
			continue
		}
		got = append(got, strings.TrimSpace(row))
	}
	want := []string{
		"profile:1 r1 0 home tv [a b c d] [0 1 2 3] [0 1 0 1] [-1 -1 -1 5000]",
		"profile:1 r1 1 home tv [a x] [0 1] [0 1] [-1 0]",
		"profile:1 r0 0  unspecified [e] [0] [0] [-1]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("slates\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if latest != 200 {
		t.Errorf("%d slates of one profile are kept, want 200", latest)
	}
}
