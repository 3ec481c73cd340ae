package sink

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"

	"marquee/ingest/events"
	"marquee/ingest/ledger"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
	"marquee/internal/lake"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMicro()

func event(i int) *ingestv1.WatchEvent {
	at := noon + int64(i)*1_000_000
	return &ingestv1.WatchEvent{
		EventId: watchevent.FormatID(watchevent.DeriveID(at, "test", fmt.Sprint(i))), SchemaVersion: 1,
		ProfileId: fmt.Sprintf("p%d", i%97), TitleId: fmt.Sprintf("t%d", i%31), PlayId: fmt.Sprintf("play%d", i),
		Type: ingestv1.EventType(i%11 + 1), OccurredAt: at, ReceivedAt: at + 250, SessionId: "s", DeviceClass: ingestv1.DeviceClass(i % 6),
		Country: "NO", Surface: "home", Autoplay: i%2 == 0, PositionMs: int64(i), WatchedMs: int64(2 * i), DurationMs: 6_000_000,
		Query: "q", RequestId: "r", Row: proto.Uint32(uint32(i % 7)), SeenTitleIds: []string{"a", "b"}[:i%3%2+1],
	}
}

func batchOf(events []*ingestv1.WatchEvent, partition int32, first int64) *Batch {
	b := NewBatch(16)
	for i, e := range events {
		b.Add(e, partition, first+int64(i))
	}
	return b
}

func openLake(t *testing.T) *lake.Lake {
	t.Helper()
	l, err := lake.Open(t.Context(), "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func some(from, n int) []*ingestv1.WatchEvent {
	var out []*ingestv1.WatchEvent
	for i := range n {
		out = append(out, event(from+i))
	}
	return out
}

func rangeOf(partition int32, first, last int64) ledger.Range {
	return ledger.Range{Topic: ingestv1.TopicWatchEvents, Partition: partition, First: first, Last: last, Epoch: 3}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	l, sink := openLake(t), (*Lake)(nil)
	sink = NewLake(l)
	const n = 3000
	want := some(0, n)
	if _, err := sink.Write(t.Context(), rangeOf(2, 100, 100+n-1), batchOf(want, 2, 100)); err != nil {
		t.Fatal(err)
	}
	set, err := events.Open(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for r, err := range set.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		e := want[i]
		id, _ := watchevent.ParseID(e.EventId)
		expect := events.Row{
			EventID: id, SchemaVersion: 1, ProfileID: e.ProfileId, TitleID: e.TitleId, PlayID: e.PlayId,
			Type: sink.names.types[int8(e.Type)], OccurredAt: e.OccurredAt, ReceivedAt: e.ReceivedAt, SessionID: "s",
			DeviceClass: sink.names.devices[int8(e.DeviceClass)], Country: "NO", Surface: "home", Autoplay: e.Autoplay,
			PositionMS: e.PositionMs, WatchedMS: e.WatchedMs, DurationMS: e.DurationMs, Query: "q", RequestID: "r", Row: e.Row,
			SeenTitleIDs: e.SeenTitleIds, KafkaPartition: 2, KafkaOffset: 100 + int64(i),
		}
		if diff := cmp.Diff(expect, *r, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("row %d: %s", i, diff)
		}
		i++
	}
	if i != n {
		t.Errorf("read %d rows, want %d", i, n)
	}
}

func TestWritingAgainChangesNothing(t *testing.T) {
	files := func(l *lake.Lake) map[string][]byte {
		out := make(map[string][]byte)
		for o, err := range l.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			content, err := l.ReadFile(t.Context(), o.Key)
			if err != nil {
				t.Fatal(err)
			}
			out[o.Key] = content
		}
		return out
	}
	a, b := openLake(t), openLake(t)
	sinkA, sinkB := NewLake(a), NewLake(b)
	r := rangeOf(0, 0, 1999)
	first, err := sinkA.Write(t.Context(), r, batchOf(some(0, 2000), 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	// Another range through the same pooled writer must leave no trace in the next.
	if _, err := sinkB.Write(t.Context(), rangeOf(1, 0, 499), batchOf(some(5000, 500), 1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := sinkB.Write(t.Context(), r, batchOf(some(0, 2000), 0, 0)); err != nil {
		t.Fatal(err)
	}
	inA, inB := files(a), files(b)
	for key, content := range inA {
		if !bytes.Equal(content, inB[key]) {
			t.Errorf("%s differs between two writers of one range", key)
		}
	}
	again, err := sinkA.Write(t.Context(), r, batchOf(some(0, 2000), 0, 0))
	if err != nil || !cmp.Equal(first, again) || !cmp.Equal(inA, files(a)) {
		t.Errorf("writing again gave %v (%v), before %v", again, err, first)
	}
	// A half-written range, without its manifest or with a damaged one, is made whole.
	for _, damage := range []func(key string) error{
		func(string) error { return a.Delete(t.Context(), events.ManifestKey(0, 0, 1999)) },
		func(key string) error { _, err := a.WriteBytes(t.Context(), key, []byte("cut")); return err },
		func(string) error {
			_, err := a.WriteBytes(t.Context(), events.ManifestKey(0, 0, 1999), []byte(`{"version":`))
			return err
		},
	} {
		if err := damage(first[0].Key); err != nil {
			t.Fatal(err)
		}
		if _, err := sinkA.Write(t.Context(), r, batchOf(some(0, 2000), 0, 0)); err != nil {
			t.Fatal(err)
		}
		if !cmp.Equal(inA, files(a)) {
			t.Error("the range was not made whole")
		}
	}
}

func TestOneFileADayOfReceipt(t *testing.T) {
	l := openLake(t)
	var list []*ingestv1.WatchEvent
	for i, day := range []int{0, 1, 0, 2, 1} {
		e := event(i)
		e.ReceivedAt = noon + int64(day)*24*3600*1_000_000
		list = append(list, e)
	}
	infos, err := NewLake(l).Write(t.Context(), rangeOf(0, 10, 14), batchOf(list, 0, 10))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, f := range infos {
		keys = append(keys, f.Key)
	}
	want := []string{"events/dt=2026-11-23/p0-10-14.parquet", "events/dt=2026-11-24/p0-10-14.parquet", "events/dt=2026-11-25/p0-10-14.parquet"}
	if !slices.Equal(keys, want) {
		t.Errorf("files %q, want %q", keys, want)
	}
}

func TestARangeOfDeadLettersHasAManifest(t *testing.T) {
	l := openLake(t)
	b := NewBatch(1)
	b.AddDead()
	b.AddDead()
	if _, err := NewLake(l).Write(t.Context(), rangeOf(0, 5, 6), b); err != nil {
		t.Fatal(err)
	}
	set, err := events.Open(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := set.Count(t.Context()); err != nil || c != (events.Count{Dead: 2}) {
		t.Errorf("count %+v (%v)", c, err)
	}
}

// TestOthersReadTheFiles holds the schema to what the layout promises, through another implementation of Parquet.
func TestOthersReadTheFiles(t *testing.T) {
	l := openLake(t)
	infos, err := NewLake(l).Write(t.Context(), rangeOf(0, 0, 9), batchOf(some(0, 10), 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	content, err := l.ReadFile(t.Context(), infos[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := file.NewParquetReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	ar, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := ar.Schema()
	if err != nil {
		t.Fatal(err)
	}
	types := make(map[string]string)
	for _, f := range schema.Fields() {
		types[f.Name] = f.Type.String()
	}
	for name, want := range map[string]string{
		"occurred_at": "timestamp[us, tz=UTC]", "received_at": "timestamp[us, tz=UTC]", "profile_id": "utf8", "type": "utf8",
		"autoplay": "bool", "watched_ms": "int64", "row": "uint32", "schema_version": "uint16", "kafka_partition": "int32",
		"seen_title_ids": "list<element: utf8>",
	} {
		if types[name] != want {
			t.Errorf("column %s is %s, want %s", name, types[name], want)
		}
	}
	table, err := ar.ReadTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer table.Release()
	if table.NumRows() != 10 || table.NumCols() != 27 {
		t.Errorf("%d rows, %d columns", table.NumRows(), table.NumCols())
	}
	if got := table.Column(7).Data().Chunk(0).(interface{ Value(int) arrow.Timestamp }).Value(3); int64(got) != event(3).OccurredAt {
		t.Errorf("occurred_at of row 3 is %d", got)
	}
}

// live makes events as clients send them, with random ids of plays, sessions and requests: what compresses badly, and what
// benchmarks are to be about.
func live(n int) []*ingestv1.WatchEvent {
	id := func(i int, what string) string {
		return watchevent.FormatID(watchevent.DeriveID(noon, what, fmt.Sprint(i)))
	}
	out := make([]*ingestv1.WatchEvent, n)
	for i := range out {
		e := event(i)
		e.Type, e.SeenTitleIds, e.Query = ingestv1.EventType_EVENT_TYPE_PROGRESS, nil, ""
		e.ProfileId, e.TitleId = fmt.Sprintf("prf_%010d", i*7_919%1_583_800_003), fmt.Sprintf("tt%07d", i*1_009%6_054_000)
		e.SessionId, e.PlayId, e.PlayableId = id(i, "session"), id(i, "play"), e.TitleId+"_s01e04"
		e.OccurredAt, e.ReceivedAt = noon+int64(i*7919%1_000_000), noon+int64(i)*20
		e.PositionMs, e.DurationMs = int64(i*7919%6_000_000), int64(1_200_000+i*104_729%6_000_000)
		e.WatchedMs, e.RequestId, e.Row = e.PositionMs, "", nil
		switch {
		case i%33 == 0:
			e.Type, e.SeenTitleIds = ingestv1.EventType_EVENT_TYPE_SLATE_SEEN, []string{"tt0001009", "tt0002018", "tt0003027", "tt0004036"}
			fallthrough
		case i%2 == 0:
			e.RequestId, e.Row, e.Rank = id(i, "request"), proto.Uint32(uint32(i%12)), proto.Uint32(uint32(i%40))
		}
		out[i] = e
	}
	return out
}

func BenchmarkLakeWrite(b *testing.B) {
	l, err := lake.Open(b.Context(), "file://"+b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	sink := NewLake(l)
	const n = 20_000
	batch := batchOf(live(n), 0, 0)
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		if _, err := sink.Write(b.Context(), rangeOf(0, i*n, i*n+n-1), batch); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(i*n)/b.Elapsed().Seconds(), "events/s")
}
