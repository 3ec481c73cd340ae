package features_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"marquee/features"
	"marquee/features/snapshot"
	"marquee/features/warehouse/clustertest"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/lake"
)

// smallWorld is a log of a few hundred profiles.
func smallWorld(seed uint64) *world {
	w := newWorld(seed)
	for i := range 300 {
		w.history("profile:"+strconv.Itoa(i), 1+w.rng.IntN(25))
	}
	return w
}

// TestSameInputSameContent builds from one log that reached two warehouses in different ways: order, batches, merges, and
// every event sent again later.
func TestSameInputSameContent(t *testing.T) {
	ctx := context.Background()
	w := smallWorld(2)
	first, second := newBuilder(t, openWarehouse(t)), newBuilder(t, openWarehouse(t))
	insert(t, first.Conn, w.events, 1<<20)
	shuffled := slices.Clone(w.events)
	w.rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	insert(t, second.Conn, shuffled, 700)
	second.PartRows = 100

	a, err := first.Build(ctx, features.BuildOptions{AsOf: asOf})
	if err != nil {
		t.Fatal(err)
	}
	b, err := second.Build(ctx, features.BuildOptions{AsOf: asOf})
	if err != nil {
		t.Fatal(err)
	}
	same := func(what string, a, b *features.Snapshot) {
		t.Helper()
		if a.ID != b.ID || !reflect.DeepEqual(a.Input, b.Input) {
			t.Errorf("%s: snapshots %s and %s from inputs %+v and %+v", what, a.ID, b.ID, a.Input, b.Input)
		}
		for _, set := range features.Sets() {
			if x, y := a.Sets[set].ContentChecksum, b.Sets[set].ContentChecksum; x != y {
				t.Errorf("%s: %s has checksums %s and %s", what, set, x, y)
			}
		}
	}
	same("another order", a, b)
	if n := len(b.Sets["interactions"].Parts); n < 5 || len(a.Sets["interactions"].Parts) != 1 {
		t.Errorf("%d parts of at most 100 rows", n)
	}
	for _, p := range b.Sets["interactions"].Parts {
		if p.Rows > 100 {
			t.Errorf("part %s has %d rows", p.Key, p.Rows)
		}
	}

	n := len(w.events)
	for _, e := range slices.Clone(w.events) {
		w.retry(e.WatchEvent)
	}
	insert(t, second.Conn, w.events[n:], 5000)
	second.Lake = openLake(t)
	c, err := second.Build(ctx, features.BuildOptions{AsOf: asOf})
	if err != nil {
		t.Fatal(err)
	}
	same("every event twice", a, c)
	if err := second.Conn.Exec(ctx, "OPTIMIZE TABLE events_raw FINAL"); err != nil {
		t.Fatal(err)
	}
	second.Lake = openLake(t)
	d, err := second.Build(ctx, features.BuildOptions{AsOf: asOf})
	if err != nil {
		t.Fatal(err)
	}
	same("merged", a, d)
}

// TestAClusterBuildsTheSame builds on one server and over Distributed tables.
func TestAClusterBuildsTheSame(t *testing.T) {
	w := smallWorld(7)
	var want map[string]string
	for _, conn := range []driver.Conn{openWarehouse(t), clustertest.Open(t, t.TempDir()).Conn()} {
		insert(t, conn, w.events, 1<<20)
		s, err := newBuilder(t, conn).Build(t.Context(), features.BuildOptions{AsOf: asOf})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for set, built := range s.Sets {
			got[set] = built.ContentChecksum
		}
		if want == nil {
			want = got
		}
		if !maps.Equal(got, want) || len(got) != len(features.Sets()) {
			t.Errorf("checksums %v, want %v", got, want)
		}
	}
}

func TestBuildAgainAndGoOn(t *testing.T) {
	ctx := context.Background()
	w := smallWorld(3)
	b := newBuilder(t, openWarehouse(t))
	insert(t, b.Conn, w.events, 1<<20)
	var seen []features.Progress
	report := func(p features.Progress) {
		if p.Done {
			seen = append(seen, p)
		}
	}
	one, err := b.Build(ctx, features.BuildOptions{AsOf: asOf, Sets: []string{"sequences", "interactions", "sequences"}, Progress: report})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"interactions", "sequences"}; !slices.Equal(one.Built, want) {
		t.Errorf("built %v, want %v", one.Built, want)
	}
	all, err := b.Build(ctx, features.BuildOptions{AsOf: asOf.Add(999), Progress: report})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"profile_stats", "slates", "title_stats"}; !slices.Equal(all.Built, want) || all.ID != one.ID {
		t.Errorf("went on with %v of %s, want %v of %s", all.Built, all.ID, want, one.ID)
	}
	if len(seen) != 7 || !seen[2].Reused || seen[2].Set != "interactions" || seen[3].Reused || seen[3].Rows == 0 {
		t.Errorf("progress %+v", seen)
	}
	again, err := b.Build(ctx, features.BuildOptions{AsOf: asOf})
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Built) != 0 || !reflect.DeepEqual(again.Sets, all.Sets) {
		t.Errorf("a build of what is there built %v", again.Built)
	}

	// An event after as_of changes nothing; one before it that comes late makes another snapshot.
	n := len(w.events)
	w.append(&ingestv1.WatchEvent{
		EventId: w.id(), ProfileId: "profile:1", TitleId: "title:1", Type: ingestv1.EventType_EVENT_TYPE_CLICK,
		OccurredAt: asOf.UnixMicro() + 1, ReceivedAt: asOf.UnixMicro() + 1,
	})
	insert(t, b.Conn, w.events[n:], 10)
	if later, err := b.Build(ctx, features.BuildOptions{AsOf: asOf}); err != nil || later.ID != all.ID || len(later.Built) != 0 {
		t.Errorf("after a later event: %+v, %v", later, err)
	}
	w.append(&ingestv1.WatchEvent{
		EventId: w.id(), ProfileId: "profile:1", TitleId: "title:1", Type: ingestv1.EventType_EVENT_TYPE_CLICK,
		OccurredAt: asOf.UnixMicro(), ReceivedAt: asOf.UnixMicro() + 1e9,
	})
	insert(t, b.Conn, w.events[n+1:], 10)
	late, err := b.Build(ctx, features.BuildOptions{AsOf: asOf})
	if err != nil {
		t.Fatal(err)
	}
	if late.ID == all.ID || late.Input.Events != all.Input.Events+1 {
		t.Errorf("after a late event at as_of: snapshot %s with %d events, before %s with %d", late.ID, late.Input.Events, all.ID, all.Input.Events)
	}
	if newest, err := snapshot.Newest(ctx, b.Lake, features.Sets()...); err != nil || newest.ID != late.ID {
		t.Errorf("newest is %+v, %v", newest, err)
	}
}

// failingLake makes the writing of parts fail at will.
func TestDamageIsBuiltAnew(t *testing.T) {
	ctx := context.Background()
	w := smallWorld(4)
	b := newBuilder(t, openWarehouse(t))
	insert(t, b.Conn, w.events, 1<<20)
	good, err := b.Build(ctx, features.BuildOptions{AsOf: asOf, Sets: []string{"interactions"}})
	if err != nil {
		t.Fatal(err)
	}
	key := good.Sets["interactions"].Parts[0].Key
	damage := map[string]func() error{
		"part gone":      func() error { return b.Lake.Delete(ctx, key) },
		"part cut short": func() error { _, err := b.Lake.WriteBytes(ctx, key, []byte("PAR1")); return err },
		"manifest gone":  func() error { return b.Lake.Delete(ctx, snapshot.ManifestKey("interactions", good.ID)) },
		"manifest cut short": func() error {
			_, err := b.Lake.WriteBytes(ctx, snapshot.ManifestKey("interactions", good.ID), []byte("{"))
			return err
		},
	}
	for name, spoil := range damage {
		t.Run(name, func(t *testing.T) {
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			again, err := b.Build(ctx, features.BuildOptions{AsOf: asOf, Sets: []string{"interactions"}})
			if err != nil {
				t.Fatal(err)
			}
			if len(again.Built) != 1 || again.Sets["interactions"].ContentChecksum != good.Sets["interactions"].ContentChecksum {
				t.Errorf("built %v with checksum %s", again.Built, again.Sets["interactions"].ContentChecksum)
			}
		})
	}
}

// TestUnwritableLakeLeavesNoManifest is a disk that cannot be written: the error says so and nothing seems built.
func TestUnwritableLakeLeavesNoManifest(t *testing.T) {
	ctx := context.Background()
	w := smallWorld(5)
	b := newBuilder(t, openWarehouse(t))
	insert(t, b.Conn, w.events, 1<<20)
	dir, _ := b.Lake.Dir()
	blocked := filepath.Join(dir, "features", "sequences")
	if err := os.MkdirAll(filepath.Dir(blocked), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blocked, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Build(ctx, features.BuildOptions{AsOf: asOf}); err == nil || !strings.Contains(err.Error(), "build feature set sequences") {
		t.Fatalf("got %v, want an error about sequences", err)
	}
	infos, err := b.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(infos) != 1 || infos[0].Has("sequences") || !infos[0].Has("interactions", "profile_stats") {
		t.Errorf("listed %+v", infos)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	s, err := b.Build(ctx, features.BuildOptions{AsOf: asOf})
	if err != nil || !slices.Equal(s.Built, []string{"sequences", "slates", "title_stats"}) {
		t.Errorf("went on with %+v, %v", s, err)
	}
}

func TestMaxEventAndEventTime(t *testing.T) {
	ctx := context.Background()
	b := newBuilder(t, openWarehouse(t))
	for name, err := range map[string]error{
		"max-event":  second(b.Build(ctx, features.BuildOptions{MaxEvent: true})),
		"instant":    second(b.Build(ctx, features.BuildOptions{AsOf: asOf})),
		"event time": second(b.EventTime(ctx, asOf, 0.9)),
	} {
		if !errors.Is(err, features.ErrNoEvents) {
			t.Errorf("%s of nothing: %v", name, err)
		}
	}
	w := newWorld(6)
	var times []int64
	for i := range 1000 {
		at := epoch.Add(time.Duration(w.rng.IntN(300)) * time.Second).UnixMicro()
		times = append(times, at)
		w.append(&ingestv1.WatchEvent{
			EventId: w.id(), ProfileId: "p" + strconv.Itoa(i%7), TitleId: "t", Type: ingestv1.EventType_EVENT_TYPE_CLICK, OccurredAt: at, ReceivedAt: at,
		})
	}
	// A search is not about a title: it is the last event, but no quantile counts it.
	last := epoch.Add(time.Hour).UnixMicro()
	w.append(&ingestv1.WatchEvent{EventId: w.id(), ProfileId: "p", Type: ingestv1.EventType_EVENT_TYPE_SEARCH, OccurredAt: last, ReceivedAt: last})
	insert(t, b.Conn, w.events, 1<<20)
	s, err := b.Build(ctx, features.BuildOptions{MaxEvent: true})
	if err != nil {
		t.Fatal(err)
	}
	if s.AsOf.UnixMicro() != last || s.Input.Events != 1001 {
		t.Errorf("as of %s from %d events, want the last of 1001", s.AsOf, s.Input.Events)
	}
	slices.Sort(times)
	for _, tc := range []struct {
		q    float64
		want int64
	}{{0.9, times[899]}, {1, times[999]}, {0.0001, times[0]}, {0.5, times[499]}} {
		got, err := b.EventTime(ctx, s.AsOf, tc.q)
		if err != nil || got.UnixMicro() != tc.want {
			t.Errorf("EventTime(%v) = %v, %v, want %v", tc.q, got, err, time.UnixMicro(tc.want).UTC())
		}
	}
	for _, q := range []float64{0, -1, 1.1, math.NaN()} {
		if _, err := b.EventTime(ctx, asOf, q); err == nil {
			t.Errorf("EventTime(%v) passes", q)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestBuildRefuses(t *testing.T) {
	b := &features.Builder{}
	for want, o := range map[string]features.BuildOptions{
		"needs an as_of":                     {},
		"both as an instant and":             {AsOf: asOf, MaxEvent: true},
		"no feature set \"x\": the sets are": {AsOf: asOf, Sets: []string{"x"}},
	} {
		if _, err := b.Build(context.Background(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestShowAndPrune(t *testing.T) {
	ctx := context.Background()
	w := smallWorld(7)
	b := newBuilder(t, openWarehouse(t))
	if d, err := b.Show(ctx, "interactions"); err != nil || d.Newest != nil || !strings.Contains(d.SQL, "FROM events") {
		t.Errorf("before any build: %+v, %v", d, err)
	}
	insert(t, b.Conn, w.events, 1<<20)
	var ids []string
	// Built in this order; the second is the newest by as_of.
	for _, days := range []int{-3, 0, -2, -1} {
		s, err := b.Build(ctx, features.BuildOptions{AsOf: asOf.AddDate(0, 0, days), Sets: []string{"interactions", "sequences"}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID)
	}
	d, err := b.Show(ctx, "interactions")
	if err != nil || d.Newest == nil || d.Newest.Snapshot != ids[1] || !d.Current {
		t.Errorf("shown %+v, %v", d, err)
	}
	// What a build that never finished left a while ago goes; what is being written stays.
	old, fresh := snapshot.PartKey("sequences", ids[0][:28]+"000000000000", 0), snapshot.PartKey("sequences", ids[0][:28]+"111111111111", 0)
	for _, key := range []string{old, fresh} {
		if _, err := b.Lake.WriteFile(ctx, key, func(w io.Writer) error { _, err := w.Write([]byte("x")); return err }); err != nil {
			t.Fatal(err)
		}
	}
	dir, _ := b.Lake.Dir()
	longAgo := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, filepath.FromSlash(old)), longAgo, longAgo); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Prune(ctx, 0); err == nil {
		t.Error("keeping none passes")
	}
	// A manifest that cannot be read keeps neither its snapshot nor others from being pruned.
	if _, err := b.Lake.WriteBytes(ctx, snapshot.ManifestKey("sequences", ids[0]), []byte("{")); err != nil {
		t.Fatal(err)
	}
	removed, err := b.Prune(ctx, 1, ids[2])
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(removed, ids[:1]) {
		t.Errorf("removed %v, want %v", removed, ids[:1])
	}
	infos, err := b.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, i := range infos {
		left = append(left, i.ID)
	}
	if want := []string{ids[1], ids[3], ids[2]}; !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
	files := 0
	for o, err := range b.Lake.List(ctx, snapshot.Root) {
		if err != nil {
			t.Fatal(err)
		}
		files++
		if o.Key == old || strings.Contains(o.Key, ids[0]) {
			t.Errorf("%s is still there", o.Key)
		}
	}
	if files != 3*4+1 {
		t.Errorf("%d files, want 13", files)
	}
}

// TestCancelledBuildStops also shows that a query that broke off never becomes a set.
func TestCancelledBuildStops(t *testing.T) {
	w := smallWorld(8)
	b := newBuilder(t, openWarehouse(t))
	insert(t, b.Conn, w.events, 1<<20)
	b.PartRows = 10
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := b.Build(ctx, features.BuildOptions{AsOf: asOf, Progress: func(features.Progress) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	if infos, err := b.List(context.Background()); err != nil || len(infos) != 0 {
		t.Errorf("a cancelled build left %v, %v", infos, err)
	}
}

func BenchmarkBuildInteractions(b *testing.B) {
	ctx := context.Background()
	conn := openWarehouse(b)
	// One play a pair, as an import of ratings gives: 1 M events.
	err := conn.Exec(ctx, `INSERT INTO events_raw (event_id, schema_version, profile_id, title_id, play_id, type, occurred_at, received_at, watched_ms,
		duration_ms, kafka_partition, kafka_offset)
		SELECT generateUUIDv7(), 1, concat('bench:', toString(number % 6000)), concat('bench:', toString(intDiv(number, 6000) * 7)), toString(number), 'play_end',
			toDateTime64('2026-10-01 00:00:00', 6, 'UTC') + toIntervalSecond(number), toDateTime64('2026-11-01 00:00:00', 6, 'UTC'),
			(number % 5 + 1) * 1200000, 6000000, number % 6, intDiv(number, 6) FROM numbers(1000000)`)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l, err := lake.Open(ctx, "file://"+filepath.ToSlash(b.TempDir()))
		if err != nil {
			b.Fatal(err)
		}
		builder := newBuilder(b, conn)
		builder.Lake = l
		s, err := builder.Build(ctx, features.BuildOptions{MaxEvent: true, Sets: []string{"interactions"}})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(s.Sets["interactions"].RowCount)/(b.Elapsed().Seconds()/float64(b.N)), "rows/s")
	}
}

func TestEventIDsOrderAsBytes(t *testing.T) {
	conn := openWarehouse(t)
	var got string
	if err := conn.QueryRow(context.Background(), "SELECT hex(UUIDToNum(toUUID('01234567-89ab-7def-8123-456789abcdef')))").Scan(&got); err != nil {
		t.Fatal(err)
	}
	id := uuid.MustParse("01234567-89ab-7def-8123-456789abcdef")
	if want := strings.ToUpper(strings.ReplaceAll(id.String(), "-", "")); got != want {
		t.Errorf("UUIDToNum gives %s, want %s", got, want)
	}
}
