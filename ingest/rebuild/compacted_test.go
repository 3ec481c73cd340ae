package rebuild

import (
	"testing"
	"time"

	"marquee/ingest/compact"
	"marquee/ingest/events"
	"marquee/internal/testkit"
)

// TestACompactedLakeIsRebuilt compacts the lake with retention, which takes the same events out of the warehouse, loses the
// warehouse and restores it from the day files.
func TestACompactedLakeIsRebuilt(t *testing.T) {
	w := newWorld(t)
	w.fill()
	before := w.content()
	cfg := compact.DefaultConfig()
	cfg.Retention.PlayEnd = 48 * time.Hour
	s, err := compact.Run(t.Context(), cfg, compact.Deps{
		DB: w.db, Lake: w.lake, Scratch: w.dir + "/scratch", Expire: w.house.ExpireEvents, Progress: func(int64, int64) {},
		Log: testkit.Log(t), Now: func() time.Time { return time.UnixMicro(noon).Add(4 * 24 * time.Hour) },
	}, compact.Options{OpenDay: true})
	if err != nil {
		t.Fatal(err)
	}
	kept := w.content()
	if s.Dropped["play_end"] == 0 || len(s.Dropped) != 1 || kept.Events.Rows >= before.Events.Rows || kept.Titles != before.Titles {
		t.Fatalf("compacted %+v: %+v, before %+v", s, kept, before)
	}
	set, err := events.Open(t.Context(), w.lake)
	if err != nil {
		t.Fatal(err)
	}
	if sum, err := set.Checksum(t.Context()); err != nil || sum != kept.Events {
		t.Errorf("the lake has %+v (%v), the warehouse %+v", sum, err, kept.Events)
	}
	w.loseHouse()
	w.rebuild()
	w.same(kept)
}
