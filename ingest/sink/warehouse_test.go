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
	var raw, inView, last uint64
	row := house.Conn().QueryRow(t.Context(), "SELECT (SELECT count() FROM events_raw), count(), toUInt64(max(kafka_offset)) FROM events")
	if err := row.Scan(&raw, &inView, &last); err != nil {
		t.Fatal(err)
	}
	if raw != 1100 || inView != 1000 || last != 999 {
		t.Errorf("%d raw rows, %d events, last offset %d; want 1100, 1000 and 999", raw, inView, last)
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
