package events_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"marquee/ingest/events"
	"marquee/internal/lake"
)

// TestALakeOfTheFirstReleaseIsRead reads files that the first release wrote and that never change: they lack every column
// that came later.
func TestALakeOfTheFirstReleaseIsRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/first_release")); err != nil {
		t.Fatal(err)
	}
	l, err := lake.Open(t.Context(), "file://"+filepath.ToSlash(dir))
	if err != nil {
		t.Fatal(err)
	}
	s := openSet(t, l)
	count, err := s.Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := (events.Count{Files: 2, Bytes: 13_878, Rows: 10, Events: 9, Dead: 1}); count != want {
		t.Errorf("count %+v, want %+v", count, want)
	}
	row, rank := uint32(3), uint32(11)
	want := events.Row{
		EventID:       [16]byte{0x01, 0x9a, 0xb0, 0xc1, 0x50, 0x00, 0x7a, 0xbc, 0x8d, 0xef},
		SchemaVersion: 1, ProfileID: "ml1m:1193", TitleID: "ml1m:2", PlayableID: "ml1m:2/s1e3", PlayID: "play-1",
		Type: "play_start", OccurredAt: 1_763_900_000_123_456, ReceivedAt: 1_763_900_001_623_456, SessionID: "session-é",
		DeviceClass: "tablet", Country: "NO", Surface: "player", Autoplay: true, PositionMS: 61_000, WatchedMS: 60_000,
		DurationMS: 6_000_000, Query: "blå himmel", RequestID: "req-7", Row: &row, Rank: &rank,
		SeenTitleIDs: []string{"ml1m:2", "ml1m:3"}, ImportID: "movielens:ml1m", ClockSkew: -7, KafkaPartition: 3, KafkaOffset: 40,
	}
	for got, err := range s.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, *got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("the first event: %s", diff)
		}
		break
	}
}
