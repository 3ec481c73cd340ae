package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"marquee/ingest/events"
	"marquee/ingest/ledger"
	"marquee/ingest/sink"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
	"marquee/internal/lake"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMicro()

// event makes the i-th event, received late seconds after it happened.
func event(i, late int) *ingestv1.WatchEvent {
	at := noon + int64(i)*1_000_000
	return &ingestv1.WatchEvent{
		EventId: watchevent.FormatID(watchevent.DeriveID(at, fmt.Sprint(i))), SchemaVersion: 1, ProfileId: "p", TitleId: fmt.Sprint(i),
		Type: ingestv1.EventType_EVENT_TYPE_CLICK, OccurredAt: at, ReceivedAt: at + int64(late)*1_000_000,
	}
}

func write(t *testing.T, l *lake.Lake, partition int32, first int64, list ...*ingestv1.WatchEvent) {
	t.Helper()
	b := sink.NewBatch(len(list))
	for i, e := range list {
		b.Add(e, partition, first+int64(i))
	}
	r := ledger.Range{Topic: ingestv1.TopicWatchEvents, Partition: partition, First: first, Last: first + int64(len(list)) - 1, Epoch: 1}
	if _, err := sink.NewLake(l).Write(t.Context(), r, b); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T) *lake.Lake {
	t.Helper()
	l, err := lake.Open(t.Context(), "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func openSet(t *testing.T, l *lake.Lake) *events.Set {
	t.Helper()
	s, err := events.Open(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCopiesAreReadOnce(t *testing.T) {
	l := open(t)
	const day = 24 * 3600
	write(t, l, 0, 0, event(1, 10), event(2, 0), event(2, 0), event(3, 0))
	write(t, l, 0, 4, event(4, 0), event(1, 20))
	// Copies in another partition, one of them received earlier and one a day later.
	write(t, l, 1, 0, event(1, 5), event(3, day))
	s := openSet(t, l)
	count, err := s.Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if count.Rows != 8 || count.Events != 4 || count.Files != 4 {
		t.Errorf("count %+v, want 8 rows of 4 events in 4 files", count)
	}
	var got []string
	for r, err := range s.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s@%d/%d", r.TitleID, r.KafkaPartition, r.KafkaOffset))
	}
	slices.Sort(got)
	if want := []string{"1@0/0", "2@0/1", "3@1/1", "4@0/4"}; !slices.Equal(got, want) {
		t.Errorf("events %q, want the first copies in the log: %q", got, want)
	}
}

func TestAnEmptyLakeHasNoEvents(t *testing.T) {
	if c, err := openSet(t, open(t)).Count(t.Context()); err != nil || c != (events.Count{}) {
		t.Errorf("count %+v (%v)", c, err)
	}
}

func TestAFileWithoutManifestDoesNotExist(t *testing.T) {
	l := open(t)
	write(t, l, 0, 0, event(1, 0))
	write(t, l, 0, 1, event(2, 0))
	if err := l.Delete(t.Context(), events.ManifestKey(0, 1, 1)); err != nil {
		t.Fatal(err)
	}
	if c, err := openSet(t, l).Count(t.Context()); err != nil || c.Rows != 1 {
		t.Errorf("count %+v (%v)", c, err)
	}
}

func TestDamageIsFound(t *testing.T) {
	day := events.Day(noon)
	key := events.FileKey(day, 0, 0, 1)
	for name, damage := range map[string]func(*testing.T, *lake.Lake){
		"flipped bit": func(t *testing.T, l *lake.Lake) {
			content, err := l.ReadFile(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			content[len(content)/2] ^= 1
			if _, err := l.WriteBytes(t.Context(), key, content); err != nil {
				t.Fatal(err)
			}
		},
		"cut": func(t *testing.T, l *lake.Lake) {
			if _, err := l.WriteBytes(t.Context(), key, []byte("PAR1")); err != nil {
				t.Fatal(err)
			}
		},
		"gone": func(t *testing.T, l *lake.Lake) {
			if err := l.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t)
			write(t, l, 0, 0, event(1, 0), event(2, 0))
			damage(t, l)
			s := openSet(t, l)
			for what, err := range map[string]error{"Verify": s.Verify(t.Context()), "Count": countErr(t, s), "Events": readErr(t, s)} {
				if !errors.Is(err, lake.ErrCorrupt) && !lake.IsNotExist(err) {
					t.Errorf("%s: %v, want the damage named", what, err)
				}
			}
		})
	}
}

func countErr(t *testing.T, s *events.Set) error {
	_, err := s.Count(t.Context())
	return err
}

func readErr(t *testing.T, s *events.Set) error {
	for _, err := range s.Events(t.Context()) {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestOverlapsAndGaps(t *testing.T) {
	l := open(t)
	write(t, l, 0, 0, event(1, 0), event(2, 0))
	write(t, l, 0, 5, event(3, 0))
	write(t, l, 1, 9, event(4, 0))
	if gaps := openSet(t, l).Gaps(); !slices.Equal(gaps, []events.Gap{{Partition: 0, First: 2, Last: 4}}) {
		t.Errorf("gaps %v", gaps)
	}
	write(t, l, 0, 1, event(5, 0), event(6, 0))
	if _, err := events.Open(t.Context(), l); !errors.Is(err, lake.ErrCorrupt) || !strings.Contains(err.Error(), "overlap") {
		t.Errorf("overlapping manifests: %v", err)
	}
}

func TestReadingStopsWithItsReader(t *testing.T) {
	l := open(t)
	write(t, l, 0, 0, event(1, 0), event(2, 0))
	read := 0
	for _, err := range openSet(t, l).Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		read++
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range openSet(t, l).Raw(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
		read++
	}
	if read != 2 {
		t.Errorf("%d steps, want one row and one error", read)
	}
}

func FuzzDecodeManifest(f *testing.F) {
	m := events.Manifest{Version: 1, Topic: "watch-events", Partition: 2, First: 5, Last: 9, Epoch: 3, Dead: 1, Files: []events.File{
		{FileInfo: lake.FileInfo{Key: events.FileKey(20780, 2, 5, 9), Bytes: 10, SHA256: strings.Repeat("a", 64)}, Rows: 4},
	}}
	good, err := m.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Key(), good)
	f.Add(m.Key(), good[:len(good)/2])
	f.Add("events/manifests/p0-0-0.json", []byte(`{"version":1,"last":-1}`))
	f.Add("events/manifests/p0-0-9.json", []byte(`{"version":1,"last":9,"files":[{"key":"../../etc/passwd"}]}`))
	f.Fuzz(func(t *testing.T, key string, content []byte) {
		m, err := events.DecodeManifest(key, content)
		if err != nil {
			return
		}
		if m.Key() != key {
			t.Errorf("accepted under %q, belongs under %q", key, m.Key())
		}
		if n := m.Rows(); n < 0 || n > m.Last-m.First+1 {
			t.Errorf("%d rows in offsets %d to %d", n, m.First, m.Last)
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := events.DecodeManifest(key, again); err != nil {
			t.Errorf("written again it is refused: %v", err)
		}
	})
}

func TestCountingInSeveralPasses(t *testing.T) {
	l := open(t)
	var list []*ingestv1.WatchEvent
	for i := range 500 {
		list = append(list, event(i%400, 0))
	}
	write(t, l, 0, 0, list...)
	for _, limit := range []int64{1, 7, 100, 499, 500, 1000} {
		s := openSet(t, l)
		s.LimitIDs(limit)
		if c, err := s.Count(t.Context()); err != nil || c.Rows != 500 || c.Events != 400 {
			t.Errorf("with %d ids at a time: %+v (%v)", limit, c, err)
		}
	}
}
