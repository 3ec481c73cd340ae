package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"marquee/features/warehouse"
	"marquee/features/warehouse/clustertest"
	"marquee/internal/native"
	"marquee/internal/testkit"
)

// TestMain lets this binary be the embedded warehouse's child.
func TestMain(m *testing.M) {
	if warehouse.IsChild() {
		os.Exit(warehouse.ChildMain())
	}
	os.Exit(m.Run())
}

func openWarehouse(t *testing.T) driver.Conn {
	t.Helper()
	if _, err := native.LibraryPath(native.ChDB); err != nil {
		testkit.LeftOut(t, "the embedded warehouse", "make setup")
	}
	w, err := warehouse.Open(t.Context(), warehouse.DefaultConfig(), t.TempDir(), testkit.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w.Conn()
}

// placed is an event at its place in the log.
type placed struct {
	Event
	partition int32
	offset    int64
	skew      int64
}

func insert(t *testing.T, conn driver.Conn, events []placed) {
	t.Helper()
	batch, err := conn.PrepareBatch(t.Context(), `INSERT INTO events_raw (event_id, schema_version, profile_id, title_id, playable_id, play_id,
		type, occurred_at, received_at, autoplay, position_ms, watched_ms, duration_ms, clock_skew, kafka_partition, kafka_offset)`)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		var id uuid.UUID
		binary.BigEndian.PutUint64(id[:8], e.Order[0])
		binary.BigEndian.PutUint64(id[8:], e.Order[1])
		occurred := e.At
		if e.skew != 0 {
			occurred -= e.skew
		}
		err := batch.Append(id, uint16(1), e.ProfileID, e.TitleID, e.PlayableID, e.PlayID, int8(e.Type), time.UnixMicro(occurred), time.UnixMicro(e.At),
			e.Autoplay, e.PositionMS, e.WatchedMS, e.DurationMS, e.skew, e.partition, e.offset)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
}

// TestLoadedHistoryIsTheFollowedHistory puts random events in the warehouse, some of them twice, and wants the state that
// is loaded to be the state that following the log would have made.
func TestLoadedHistoryIsTheFollowedHistory(t *testing.T) {
	t.Run("server", func(t *testing.T) { loadedIsFollowed(t, openWarehouse(t)) })
	t.Run("cluster", func(t *testing.T) { loadedIsFollowed(t, clustertest.Open(t, t.TempDir()).Conn()) })
}

func loadedIsFollowed(t *testing.T, conn driver.Conn) {
	t.Helper()
	rng := rand.New(rand.NewPCG(9, 10))
	var events []placed
	next := map[int32]int64{}
	for i := range 3000 {
		e := placed{Event: randomEvent(rng, i), partition: int32(rng.IntN(3))}
		e.ProfileID = fmt.Sprint("p", rng.IntN(40))
		e.PlayableID = fmt.Sprint(e.TitleID, "-e", rng.IntN(3))
		e.PositionMS = e.WatchedMS / 2
		if rng.IntN(10) == 0 {
			e.skew = 3_600_000_000
		}
		if len(events) > 0 && rng.IntN(20) == 0 {
			e = events[rng.IntN(len(events))] // sent again
		}
		e.offset = next[e.partition]
		next[e.partition]++
		events = append(events, e)
	}
	insert(t, conn, events)

	followed, names := newStore(t, DefaultConfig())
	for _, e := range events {
		followed.Apply(e.Event)
	}
	loaded, table := newStore(t, DefaultConfig())
	for n := range names.Len() {
		table.Number(names.Name(uint32(n))) // the same numbers
	}
	ends, err := NewWarehouse(conn).Load(t.Context(), 100, loaded.Apply)
	if err != nil {
		t.Fatal(err)
	}
	for p, end := range next {
		// The last event of a partition may be a repeat, which the view leaves out: then it is read from the log again.
		if ends[p] > end || ends[p] < end-10 {
			t.Errorf("partition %d is loaded to %d, the log ends at %d", p, ends[p], end)
		}
	}
	for i := range 40 {
		profile := fmt.Sprint("p", i)
		var a, b History
		followed.Read(profile, &a)
		loaded.Read(profile, &b)
		if diff := cmp.Diff(byTitle(a), byTitle(b)); diff != "" {
			t.Fatalf("profile %s, followed and loaded:\n%s", profile, diff)
		}
	}
	if diff := cmp.Diff(trendOf(followed, names), trendOf(loaded, table)); diff != "" {
		t.Errorf("trending, followed and loaded:\n%s", diff)
	}
}

func byTitle(h History) map[uint32]Entry {
	out := make(map[uint32]Entry)
	for _, e := range h.Entries {
		out[e.Title] = e
	}
	return out
}

func TestLoadKeepsTheLatest(t *testing.T) {
	conn := openWarehouse(t)
	var events []placed
	for i := range 50 {
		e := watch("p", fmt.Sprint("t", i), fmt.Sprint(i), start+int64(i), film)
		e.Order = [2]uint64{1, uint64(i)}
		events = append(events, placed{Event: e, offset: int64(i)})
	}
	insert(t, conn, events)
	var got []string
	ends, err := NewWarehouse(conn).Load(t.Context(), 2, func(e Event) { got = append(got, e.TitleID) })
	if err != nil || ends[0] != 50 {
		t.Fatalf("ends %v, %v", ends, err)
	}
	want := []string{"t42", "t43", "t44", "t45", "t46", "t47", "t48", "t49"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("loaded, oldest first:\n%s", diff)
	}
}

func TestLoadOfAnEmptyWarehouse(t *testing.T) {
	ends, err := NewWarehouse(openWarehouse(t)).Load(t.Context(), 10, func(Event) { t.Error("an event out of nowhere") })
	if err != nil || len(ends) != 0 {
		t.Errorf("ends %v, %v", ends, err)
	}
}

func TestLoadStopsWithItsContext(t *testing.T) {
	conn := openWarehouse(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewWarehouse(conn).Load(ctx, 10, func(Event) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestEndsArray(t *testing.T) {
	for want, ends := range map[string]map[int32]int64{"[]": nil, "[0,0,7]": {2: 7}, "[1,2]": {0: 1, 1: 2}} {
		if got := endsArray(ends); got != want {
			t.Errorf("endsArray(%v) = %s, want %s", ends, got, want)
		}
	}
}
