package warehouse

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"marquee/internal/testkit"
)

func openBench(b *testing.B) *Warehouse {
	b.Helper()
	needEngine(b)
	w, err := Open(b.Context(), DefaultConfig(), b.TempDir(), testkit.Log(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := w.Close(); err != nil {
			b.Error(err)
		}
	})
	if err := w.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	return w
}

// reportMemory reports the child's resident memory.
func reportMemory(b *testing.B, w *Warehouse) {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.child.process().cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kb float64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(kb/1024, "child-MB")
}

func BenchmarkRoundTrip(b *testing.B) {
	w := openBench(b)
	for b.Loop() {
		var n uint8
		if err := w.Conn().QueryRow(b.Context(), "SELECT 1").Scan(&n); err != nil {
			b.Fatal(err)
		}
	}
}

const blockRows = 50_000

// insertBlock inserts a block of events column by column.
func insertBlock(b *testing.B, w *Warehouse, c *eventColumns) {
	b.Helper()
	batch, err := w.Conn().PrepareBatch(b.Context(), "INSERT INTO events_raw (event_id, schema_version, profile_id, title_id, playable_id, play_id, type, occurred_at, received_at, session_id, device_class, country, surface, autoplay, position_ms, watched_ms, duration_ms, import_id, kafka_partition, kafka_offset)")
	if err != nil {
		b.Fatal(err)
	}
	for i, column := range []any{c.id, c.version, c.profile, c.title, c.title, c.play, c.kind, c.at, c.at, c.play, c.device, c.country, c.surface,
		c.autoplay, c.watched, c.watched, c.duration, c.imported, c.partition, c.offset} {
		err = errors.Join(err, batch.Column(i).Append(column))
	}
	if err := errors.Join(err, batch.Send()); err != nil {
		b.Fatal(err)
	}
}

type eventColumns struct {
	id                                                             []uuid.UUID
	version                                                        []uint16
	profile, title, play, kind, device, country, surface, imported []string
	at                                                             []time.Time
	autoplay                                                       []bool
	watched, duration, offset                                      []int64
	partition                                                      []int32
}

// eventBlock makes a block of a year's events: 6040 profiles, 3706 titles, plays of many heartbeats.
func eventBlock(number int) *eventColumns {
	c := &eventColumns{}
	kinds, devices, countries := []string{"play_start", "progress", "progress", "play_end"}, []string{"tv", "phone", "tablet"}, []string{"DE", "FR", "US", "JP"}
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range blockRows {
		n := number*blockRows + i
		h := uint64(n) * 0x9E3779B97F4A7C15
		profile := int(h>>40) % 6040
		var id uuid.UUID
		for k := range 8 {
			id[k], id[8+k] = byte(n>>(8*k)), byte(h>>(8*k))
		}
		c.id, c.version = append(c.id, id), append(c.version, 1)
		c.profile = append(c.profile, fmt.Sprint("ml1m:", profile))
		c.title = append(c.title, fmt.Sprint("ml1m:", int(h>>20)%3706))
		c.play = append(c.play, fmt.Sprint("play-", profile, "-", n/1000))
		c.kind, c.device, c.country = append(c.kind, kinds[n%4]), append(c.device, devices[n%3]), append(c.country, countries[profile%4])
		c.surface, c.imported = append(c.surface, "home"), append(c.imported, "")
		c.at = append(c.at, began.Add(time.Duration(n)*14*time.Second))
		c.autoplay = append(c.autoplay, n%10 == 0)
		c.watched, c.duration = append(c.watched, int64(h>>30)%6_000_000), append(c.duration, 6_000_000)
		c.offset, c.partition = append(c.offset, int64(n)), append(c.partition, int32(profile%12))
	}
	return c
}

func BenchmarkInsertEvents(b *testing.B) {
	w := openBench(b)
	blocks := make([]*eventColumns, 20)
	for i := range blocks {
		blocks[i] = eventBlock(i)
	}
	n := 0
	for b.Loop() {
		insertBlock(b, w, blocks[n%len(blocks)])
		n++
	}
	b.ReportMetric(float64(n)*blockRows/b.Elapsed().Seconds(), "rows/s")
	reportMemory(b, w)
}

// BenchmarkEventsView asks the deduplicating view over two million events, one in a hundred repeated.
func BenchmarkEventsView(b *testing.B) {
	w := openBench(b)
	for n := range 40 {
		insertBlock(b, w, eventBlock(n))
	}
	if err := w.Conn().Exec(b.Context(), "INSERT INTO events_raw SELECT * REPLACE (kafka_offset + 100000000 AS kafka_offset, received_at + INTERVAL 40 DAY AS received_at) FROM events_raw WHERE kafka_offset % 100 = 0"); err != nil {
		b.Fatal(err)
	}
	for name, sql := range map[string]string{
		"count":          "SELECT count() FROM events",
		"by-title":       "SELECT count() FROM (SELECT title_id, count() AS n, max(watched_ms) FROM events GROUP BY title_id)",
		"by-play":        "SELECT count() FROM (SELECT profile_id, title_id, play_id, max(watched_ms) FROM events WHERE type IN ('progress', 'play_end') GROUP BY profile_id, title_id, play_id)",
		"one-profile":    "SELECT count() FROM events WHERE profile_id = 'ml1m:17'",
		"window":         "SELECT count() FROM events WHERE received_at >= '2026-06-01' AND received_at < '2026-06-08'",
		"raw-count":      "SELECT count() FROM events_raw",
		"duplicate-free": "SELECT uniqExact(event_id) FROM events_raw",
	} {
		b.Run(name, func(b *testing.B) {
			var n uint64
			for b.Loop() {
				if err := w.Conn().QueryRow(b.Context(), sql).Scan(&n); err != nil {
					b.Fatal(err)
				}
			}
			if strings.HasSuffix(name, "count") || name == "duplicate-free" {
				b.ReportMetric(float64(n), "events")
			}
			reportMemory(b, w)
		})
	}
}
