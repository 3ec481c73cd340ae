package features_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"marquee/features"
	"marquee/features/online"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/lake"
	"marquee/internal/testkit"
)

// epoch is where the random histories begin, asOf where the tests look at them.
var (
	epoch = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	asOf  = epoch.Add(45 * 24 * time.Hour)
)

const partitions = 3

// logged is a watch event with its place in the log.
type logged struct {
	*ingestv1.WatchEvent
	partition int32
	offset    int64
}

// world is a random log. Its offsets count up within a partition; a profile's events are all in one.
type world struct {
	rng    *rand.Rand
	next   [partitions]int64
	events []logged
}

func newWorld(seed uint64) *world { return &world{rng: rand.New(rand.NewPCG(seed, 99))} }

// pick returns one of the values.
func pick[T any](rng *rand.Rand, values ...T) T { return values[rng.IntN(len(values))] }

// append puts an event at the end of its partition.
func (w *world) append(e *ingestv1.WatchEvent) {
	var p int32
	for _, c := range []byte(e.GetProfileId()) {
		p = (p*31 + int32(c)) % partitions
	}
	w.events = append(w.events, logged{e, p, w.next[p]})
	w.next[p]++
}

// history appends a random history of n events. It dwells on what is hard: equal times, edges of the definitions,
// implausible clocks, play ids that recur under other titles, events before and after asOf.
func (w *world) history(profile string, n int) {
	rng := w.rng
	shelf, titles := rng.IntN(200), 1+rng.IntN(6)
	at := epoch.Add(time.Duration(rng.IntN(40*24)) * time.Hour)
	gaps := []time.Duration{0, 0, time.Second, time.Minute, 29 * time.Minute, online.SessionGap, online.SessionGap + time.Microsecond, time.Hour, 50 * time.Hour}
	if n > 1000 {
		at, gaps = epoch, gaps[:4] // all before asOf
	}
	for range n {
		at = at.Add(pick(rng, gaps...))
		e := &ingestv1.WatchEvent{
			EventId: w.id(), SchemaVersion: 1, ProfileId: profile, Type: ingestv1.EventType(1 + rng.IntN(11)),
			OccurredAt: at.UnixMicro(), ReceivedAt: at.Add(time.Duration(rng.IntN(5000)) * time.Millisecond).UnixMicro(),
			DeviceClass: ingestv1.DeviceClass(rng.IntN(6)), Country: pick(rng, "", "DE", "US", "FR"), Autoplay: rng.IntN(5) == 0,
			WatchedMs:  pick(rng, 0, 22_500, 59_999, 60_000, 299_999, 300_000, rng.Int64N(7_000_000)),
			DurationMs: pick(rng, 0, 45_001, 119_999, 120_000, 1_199_999, 1_200_000, 3_599_999, 3_600_000, 6_000_000, rng.Int64N(8_000_000)),
			TitleId:    "title:" + strconv.Itoa(shelf+rng.IntN(titles)),
		}
		switch e.GetType() {
		case ingestv1.EventType_EVENT_TYPE_SEARCH:
			e.TitleId, e.Query = "", "x"
		case ingestv1.EventType_EVENT_TYPE_SLATE_SEEN:
			e.TitleId, e.SeenTitleIds = "", []string{e.TitleId, "title:0", e.TitleId}
		default:
			e.PlayId = "play-" + strconv.Itoa(rng.IntN(4+n/4))
		}
		if rng.IntN(3) > 0 {
			e.RequestId, e.Surface = "request-"+strconv.Itoa(rng.IntN(1+n/4)), pick(rng, "home", "detail")
			if rng.IntN(2) == 0 {
				e.Row, e.Rank = new(uint32(rng.IntN(3))), new(uint32(rng.IntN(5)))
			}
		}
		if rng.IntN(20) == 0 {
			e.ReceivedAt = e.GetOccurredAt() + time.Hour.Microseconds()*int64(rng.IntN(200)-100)
			e.ClockSkew = e.GetReceivedAt() - e.GetOccurredAt()
		}
		w.append(e)
		if rng.IntN(12) == 0 {
			w.retry(e)
		}
	}
}

// retry appends the event again, received later, perhaps in another month.
func (w *world) retry(e *ingestv1.WatchEvent) {
	again := &ingestv1.WatchEvent{
		EventId: e.GetEventId(), SchemaVersion: 1, ProfileId: e.GetProfileId(), Type: e.GetType(), OccurredAt: e.GetOccurredAt(),
		ReceivedAt:  e.GetReceivedAt() + pick(w.rng, time.Second, 40*24*time.Hour).Microseconds(),
		DeviceClass: e.GetDeviceClass(), Country: e.GetCountry(), Autoplay: e.GetAutoplay(), WatchedMs: e.GetWatchedMs(),
		DurationMs: e.GetDurationMs(), TitleId: e.GetTitleId(), PlayId: e.GetPlayId(), Query: e.GetQuery(), SeenTitleIds: e.GetSeenTitleIds(),
		Surface: e.GetSurface(), RequestId: e.GetRequestId(), Row: e.Row, Rank: e.Rank,
	}
	if e.GetClockSkew() != 0 {
		again.ClockSkew = again.GetReceivedAt() - again.GetOccurredAt()
	}
	w.append(again)
}

func (w *world) id() string {
	var u uuid.UUID
	for i := range u {
		u[i] = byte(w.rng.Uint32())
	}
	u[6], u[8] = u[6]&0x0f|0x70, u[8]&0x3f|0x80
	return u.String()
}

// online returns the events up to at as features/online takes them, deduplicated, by profile.
func (w *world) online(t testing.TB, at time.Time) map[string][]online.Event {
	t.Helper()
	all := map[string][]online.Event{}
	for _, l := range w.events {
		e, err := online.FromWatchEvent(l.WatchEvent)
		if err != nil {
			t.Fatal(err)
		}
		all[l.GetProfileId()] = append(all[l.GetProfileId()], e)
	}
	for profile, events := range all {
		events = online.Dedup(events)
		events = slices.DeleteFunc(events, func(e online.Event) bool { return e.At > at.UnixMicro() })
		all[profile] = events
		if len(events) == 0 {
			delete(all, profile)
		}
	}
	return all
}

const insertEvents = `INSERT INTO events_raw (event_id, schema_version, profile_id, title_id, play_id, type, occurred_at, received_at,
	device_class, country, autoplay, watched_ms, duration_ms, query, seen_title_ids, surface, request_id, row, rank, clock_skew, kafka_partition,
	kafka_offset)`

// insert puts events into the warehouse in the order given, in batches of batch.
func insert(t testing.TB, conn driver.Conn, events []logged, batch int) {
	t.Helper()
	for chunk := range slices.Chunk(events, batch) {
		b, err := conn.PrepareBatch(context.Background(), insertEvents)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range chunk {
			seen := e.GetSeenTitleIds()
			if seen == nil {
				seen = []string{}
			}
			err := b.Append(e.GetEventId(), uint16(e.GetSchemaVersion()), e.GetProfileId(), e.GetTitleId(), e.GetPlayId(),
				name(e.GetType(), "EVENT_TYPE_"), time.UnixMicro(e.GetOccurredAt()).UTC(), time.UnixMicro(e.GetReceivedAt()).UTC(),
				name(e.GetDeviceClass(), "DEVICE_CLASS_"), e.GetCountry(), e.GetAutoplay(), e.GetWatchedMs(), e.GetDurationMs(),
				e.GetQuery(), seen, e.GetSurface(), e.GetRequestId(), e.Row, e.Rank, e.GetClockSkew(), e.partition, e.offset)
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Send(); err != nil {
			t.Fatal(err)
		}
	}
}

// name is an enum value as the warehouse writes it.
func name(v fmt.Stringer, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(v.String(), prefix))
}

func openLake(t testing.TB) *lake.Lake {
	t.Helper()
	l, err := lake.Open(context.Background(), "file://"+filepath.ToSlash(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func newBuilder(t testing.TB, conn driver.Conn) *features.Builder {
	t.Helper()
	return &features.Builder{Conn: conn, Lake: openLake(t), Log: testkit.Log(t)}
}
