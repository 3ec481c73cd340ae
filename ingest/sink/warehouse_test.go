package sink

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"google.golang.org/protobuf/encoding/protowire"

	"marquee/features/warehouse"
	"marquee/ingest/events"
	"marquee/internal/native"
	"marquee/internal/testkit"
)

func TestMain(m *testing.M) {
	if warehouse.IsChild() {
		os.Exit(warehouse.ChildMain())
	}
	os.Exit(m.Run())
}

func openWarehouse(t testing.TB) *warehouse.Warehouse {
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
	return w
}

// TestABlockThatWasRememberedAndLostIsWrittenAgain: a warehouse that was killed between noting a block and putting its part into place
// has it noted and not there. Here the rows are deleted, which leaves the note as well.
func TestABlockThatWasRememberedAndLostIsWrittenAgain(t *testing.T) {
	house := openWarehouse(t)
	r, w := rangeOf(1, 0, 99), NewWarehouse(house.Conn())
	count := func(of string) (n uint64) {
		t.Helper()
		if err := house.Conn().QueryRow(t.Context(), "SELECT count() FROM "+of).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, step := range []struct {
		delete bool
		want   uint64
	}{{false, 100}, {true, 0}, {false, 100}, {false, 100}} {
		if step.delete {
			if err := house.Conn().Exec(t.Context(), "ALTER TABLE events_raw DELETE WHERE kafka_offset < 1000 SETTINGS mutations_sync = 2"); err != nil {
				t.Fatal(err)
			}
		} else if err := w.Write(t.Context(), r, batchOf(some(0, 100), 1, 0)); err != nil {
			t.Fatal(err)
		}
		if got := count("events"); got != step.want {
			t.Fatalf("%d events, want %d", got, step.want)
		}
	}
	if err := house.Conn().Exec(t.Context(), "OPTIMIZE TABLE events_raw FINAL"); err != nil {
		t.Fatal(err)
	}
	if got := count("events_raw"); got != 100 {
		t.Errorf("%d rows of 100 events are left after merging", got)
	}
}

// TestBothSinksHoldTheSame writes one range to both, column by column the same.
func TestBothSinksHoldTheSame(t *testing.T) {
	house, l := openWarehouse(t), openLake(t)
	const n = 500
	list := some(0, n)
	for i, e := range list {
		switch i % 5 {
		case 0:
			e.Row, e.Rank, e.SeenTitleIds = nil, nil, nil
		case 1:
			e.ClockSkew, e.ImportId, e.PlayableId = -7, "import", "épisode"
		case 2:
			e.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), uint64(i)))
		}
	}
	r := rangeOf(1, 50, 50+n-1)
	if err := NewWarehouse(house.Conn()).Write(t.Context(), r, batchOf(list, 1, 50)); err != nil {
		t.Fatal(err)
	}
	if _, err := NewLake(l).Write(t.Context(), r, batchOf(list, 1, 50)); err != nil {
		t.Fatal(err)
	}
	set, err := events.Open(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := house.Conn().Query(t.Context(), "SELECT "+columns+" FROM events ORDER BY kafka_offset")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for want, err := range set.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if !rows.Next() {
			t.Fatalf("the warehouse has %d rows", seen)
		}
		var got events.Row
		var id uuid.UUID
		var version uint16
		var occurred, received time.Time
		if err := rows.Scan(&id, &version, &got.ProfileID, &got.TitleID, &got.PlayableID, &got.PlayID, &got.Type, &occurred, &received,
			&got.SessionID, &got.DeviceClass, &got.Country, &got.Surface, &got.Autoplay, &got.PositionMS, &got.WatchedMS, &got.DurationMS,
			&got.Query, &got.RequestID, &got.Row, &got.Rank, &got.SeenTitleIDs, &got.ImportID, &got.ClockSkew, &got.KafkaPartition,
			&got.KafkaOffset, &got.UnknownFields); err != nil {
			t.Fatal(err)
		}
		got.EventID, got.SchemaVersion, got.OccurredAt, got.ReceivedAt = id, uint32(version), occurred.UnixMicro(), received.UnixMicro()
		if diff := cmp.Diff(*want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("row %d, lake against warehouse: %s", seen, diff)
		}
		seen++
	}
	if err := rows.Close(); err != nil || seen != n {
		t.Errorf("%d rows (%v), want %d", seen, err, n)
	}
}

func TestInsertingARangeAgainChangesNothing(t *testing.T) {
	house := openWarehouse(t)
	sink := NewWarehouse(house.Conn())
	for range 3 {
		if err := sink.Write(t.Context(), rangeOf(0, 0, 999), batchOf(some(0, 1000), 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	// The same events at other offsets: a client's retry.
	if err := sink.Write(t.Context(), rangeOf(0, 1000, 1099), batchOf(some(0, 100), 0, 1000)); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"before", "after"} {
		var inView, last uint64
		if err := house.Conn().QueryRow(t.Context(), "SELECT count(), toUInt64(max(kafka_offset)) FROM events").Scan(&inView, &last); err != nil {
			t.Fatal(err)
		}
		if inView != 1000 || last != 999 {
			t.Errorf("%s merging: %d events, last offset %d; want 1000 and 999", when, inView, last)
		}
		if err := house.Conn().Exec(t.Context(), "OPTIMIZE TABLE events_raw FINAL"); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkWarehouseWrite(b *testing.B) {
	house := openWarehouse(b)
	sink := NewWarehouse(house.Conn())
	const n = 20_000
	batch := batchOf(live(n), 0, 0)
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		if err := sink.Write(b.Context(), rangeOf(0, i*n, i*n+n-1), batch); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(i*n)/b.Elapsed().Seconds(), "events/s")
}
