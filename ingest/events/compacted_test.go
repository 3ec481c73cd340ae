package events_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"marquee/ingest/events"
	"marquee/internal/lake"
)

func goodCompacted() events.Compacted {
	file := events.File{FileInfo: lake.FileInfo{Key: "events/dt=2026-11-23/c0000000003-ab-000.parquet", Bytes: 10, SHA256: strings.Repeat("a", 64)}, Rows: 4}
	return events.Compacted{
		Version: events.CompactedVersion, Number: 3, Topic: "watch-events", At: noon, Live: []int64{1, 2}, Covers: []events.Span{{Partition: 2, First: 5, Last: 9}},
		Dead: 1, Files: []events.DayFile{{File: file, Types: map[string]int64{"click": 4}}}, Through: map[int32]int64{2: 9},
	}
}

func TestADamagedCompactedManifestIsRefused(t *testing.T) {
	for name, damage := range map[string]func(*events.Compacted){
		"counts beside itself":     func(c *events.Compacted) { c.Live = []int64{3} },
		"live out of order":        func(c *events.Compacted) { c.Live = []int64{2, 1} },
		"covers twice":             func(c *events.Compacted) { c.Covers = append(c.Covers, events.Span{Partition: 2, First: 9, Last: 12}) },
		"no range":                 func(c *events.Compacted) { c.Covers[0].Last = 4 },
		"more rows than offsets":   func(c *events.Compacted) { c.Dead = 2 },
		"another manifest's file":  func(c *events.Compacted) { c.Files[0].Key = "events/dt=2026-11-23/c0000000004-ab-000.parquet" },
		"types that are not all":   func(c *events.Compacted) { c.Files[0].Types["click"] = 3 },
		"a version before the one": func(c *events.Compacted) { c.Version = 0 },
	} {
		c := goodCompacted()
		damage(&c)
		content, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := events.DecodeCompacted(c.Key(), content); !errors.Is(err, lake.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := goodCompacted()
	content, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range content {
		content[i] ^= 1
		if _, err := events.DecodeCompacted(c.Key(), content); err == nil {
			t.Errorf("a flipped bit at %d is not seen", i)
		}
		content[i] ^= 1
	}
	c.Version++
	if content, err = c.Encode(); err != nil {
		t.Fatal(err)
	}
	if _, err := events.DecodeCompacted(c.Key(), content); err == nil || errors.Is(err, lake.ErrCorrupt) {
		t.Errorf("a later version is not damage: %v", err)
	}
}

// TestAReplacementThatWasOvertakenDoesNotCount replaces twice from one picture of the lake, the second time under a number that
// was taken, replaced and deleted since.
func TestAReplacementThatWasOvertakenDoesNotCount(t *testing.T) {
	l := open(t)
	write(t, l, 0, 0, event(1, 0), event(2, 0))
	old := openSet(t, l)
	replacement := func(s *events.Set) events.Replacement {
		return events.Replacement{Sources: s.Sources(), Dropped: map[string]int64{"click": 2}, At: time.UnixMicro(noon), Check: func(context.Context) error { return nil }}
	}
	next, err := old.Replace(t.Context(), replacement(old))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Replace(t.Context(), replacement(old)); !errors.Is(err, events.ErrOvertaken) {
		t.Errorf("the same number again: %v", err)
	}
	if next, err = next.Replace(t.Context(), replacement(next)); err != nil {
		t.Fatal(err)
	}
	if err := l.Delete(t.Context(), events.CompactedKey(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Replace(t.Context(), replacement(old)); !errors.Is(err, events.ErrOvertaken) {
		t.Errorf("a number that is free again: %v", err)
	}
	s := openSet(t, l)
	if len(s.Sources()) != 1 || s.Sources()[0].Number != 2 || s.NextNumber() != next.NextNumber() || !s.Covers(0, 0, 1) {
		t.Errorf("%d sources, next number %d", len(s.Sources()), s.NextNumber())
	}
	if dropped := s.Sources()[0].Dropped["click"]; dropped != 4 {
		t.Errorf("%d dropped in all", dropped)
	}
}

func FuzzDecodeCompacted(f *testing.F) {
	c := goodCompacted()
	good, err := c.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.Key(), good)
	f.Add(c.Key(), good[:len(good)/2])
	f.Add(events.CompactedKey(1), []byte(`{"version":1,"number":1,"live":[0]}`))
	f.Fuzz(func(t *testing.T, key string, content []byte) {
		c, err := events.DecodeCompacted(key, content)
		if err != nil {
			return
		}
		if c.Key() != key {
			t.Errorf("accepted under %q, belongs under %q", key, c.Key())
		}
	})
}
