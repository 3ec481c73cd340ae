package rebuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"marquee/features/warehouse"
	"marquee/features/warehouse/clustertest"
	"marquee/ingest/events"
	"marquee/ingest/ledger"
	"marquee/ingest/sink"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
	"marquee/internal/db"
	"marquee/internal/lake"
	"marquee/internal/logid"
	"marquee/internal/native"
	"marquee/internal/testkit"
)

func TestMain(m *testing.M) {
	if warehouse.IsChild() {
		os.Exit(warehouse.ChildMain())
	}
	os.Exit(m.Run())
}

var theLog = logid.Log{Topic: ingestv1.TopicWatchEvents, Cluster: "a", ID: "1"}

// world is a warehouse, a lake and a ledger that were filled as the consumer fills them.
type world struct {
	t     *testing.T
	dir   string
	house *warehouse.Warehouse
	lake  *lake.Lake
	db    *db.DB
	book  *ledger.Ledger
	owner map[int32]*ledger.Owner
	next  map[int32]int64
	// titles is what FillTitles does.
	titles func(ctx context.Context, table string) error
	// progress is called as the rebuild's is.
	progress func(done, total int64)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if _, err := native.LibraryPath(native.ChDB); err != nil {
		testkit.LeftOut(t, "the embedded warehouse", "make setup")
	}
	w := &world{t: t, dir: t.TempDir(), owner: map[int32]*ledger.Owner{}, next: map[int32]int64{}, progress: func(int64, int64) {}}
	w.titles = func(ctx context.Context, table string) error {
		return w.house.Conn().Exec(ctx, "INSERT INTO "+table+" (title_id, name, revision) SELECT 't' || toString(number), 'Title', 1 FROM numbers(17)")
	}
	var err error
	if w.lake, err = lake.Open(t.Context(), "file://"+w.dir+"/lake"); err != nil {
		t.Fatal(err)
	}
	if w.db, err = db.Open(t.Context(), "sqlite:"+w.dir+"/marquee.db", ""); err != nil {
		t.Fatal(err)
	}
	if w.book, err = ledger.New(t.Context(), w.db); err != nil {
		t.Fatal(err)
	}
	w.openHouse()
	t.Cleanup(func() {
		if err := errors.Join(w.house.Close(), w.db.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) openHouse() {
	w.t.Helper()
	var err error
	if w.house, err = warehouse.Open(w.t.Context(), warehouse.DefaultConfig(), w.dir, testkit.Log(w.t)); err != nil {
		w.t.Fatal(err)
	}
	if err := w.house.Migrate(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// loseHouse deletes the warehouse's folder.
func (w *world) loseHouse() {
	w.t.Helper()
	if err := w.house.Close(); err != nil {
		w.t.Fatal(err)
	}
	if err := os.RemoveAll(w.dir + "/warehouse"); err != nil {
		w.t.Fatal(err)
	}
	w.openHouse()
}

var noon = time.Date(2026, 10, 31, 12, 0, 0, 0, time.UTC).UnixMicro()

// event makes the i-th event; every thousand of them is a day.
func event(i int) *ingestv1.WatchEvent {
	at := noon + int64(i)*86_400_000
	return &ingestv1.WatchEvent{
		EventId: watchevent.FormatID(watchevent.DeriveID(at, fmt.Sprint(i))), SchemaVersion: 1, ProfileId: fmt.Sprintf("p%d", i%53),
		TitleId: fmt.Sprintf("t%d", i%17), PlayId: fmt.Sprint(i), Type: ingestv1.EventType_EVENT_TYPE_PLAY_END, OccurredAt: at,
		ReceivedAt: at + 250, WatchedMs: 1000, DurationMs: 2000, SeenTitleIds: []string{"a", "bc"}[:i%3],
	}
}

// ingest brings events into both sinks as one range.
func (w *world) ingest(partition int32, numbers ...int) ledger.Range {
	w.t.Helper()
	r, b := w.fix(partition, numbers...)
	ctx := w.t.Context()
	if err := sink.NewWarehouse(w.house.Conn()).Write(ctx, r, b); err != nil {
		w.t.Fatal(err)
	}
	files, err := sink.NewLake(w.lake).Write(ctx, r, b)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := errors.Join(w.owner[partition].InWarehouse(ctx, r, int64(b.Len()), 0), w.owner[partition].InLake(ctx, r, files)); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// fix fixes the next range of a partition.
func (w *world) fix(partition int32, numbers ...int) (ledger.Range, *sink.Batch) {
	w.t.Helper()
	if w.owner[partition] == nil {
		owner, next, _, err := w.book.Claim(w.t.Context(), theLog, partition, "test", w.next[partition])
		if err != nil {
			w.t.Fatal(err)
		}
		w.owner[partition], w.next[partition] = owner, next
	}
	b := sink.NewBatch(len(numbers))
	first := w.next[partition]
	for i, n := range numbers {
		b.Add(event(n), partition, first+int64(i))
	}
	w.next[partition] = first + int64(len(numbers))
	r, err := w.owner[partition].Fix(w.t.Context(), first, w.next[partition]-1)
	if err != nil {
		w.t.Fatal(err)
	}
	return r, b
}

func upTo(from, to int) []int {
	var out []int
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

// fill ingests 4,000 events of five days in two partitions, with copies in the same and in later ranges.
func (w *world) fill() {
	w.t.Helper()
	w.ingest(0, append(upTo(0, 1000), upTo(900, 1000)...)...)
	w.ingest(1, upTo(1000, 2500)...)
	w.ingest(0, append(upTo(2500, 3000), upTo(0, 50)...)...)
	w.ingest(0, upTo(3000, 3100)...)
	w.ingest(1, upTo(3100, 4000)...)
	if err := w.titles(w.t.Context(), "titles_raw"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) deps() Deps {
	return Deps{
		DB: w.db, Lake: w.lake, Conn: w.house.Conn(), Log: testkit.Log(w.t),
		Progress:   func(done, total int64) { w.progress(done, total) },
		FillTitles: func(ctx context.Context, table string) error { return w.titles(ctx, table) },
		Truncate:   func(ctx context.Context, table string) error { return w.house.Truncate(ctx, table) },
		OpenShadow: func(ctx context.Context, table string, token int64, known string) (Shadow, error) {
			return w.house.OpenShadow(ctx, table, token, known)
		},
	}
}

func (w *world) rebuild() *Summary {
	w.t.Helper()
	s, err := Run(w.t.Context(), w.deps())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) content() Contents {
	w.t.Helper()
	c, err := Content(w.t.Context(), w.house.Conn())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// same holds what the warehouse has against what it had, and its events against the lake's.
func (w *world) same(want Contents) {
	w.t.Helper()
	if got := w.content(); got != want {
		w.t.Errorf("the warehouse has %+v, want %+v", got, want)
	}
	set, err := events.Open(w.t.Context(), w.lake)
	if err != nil {
		w.t.Fatal(err)
	}
	if got, err := set.Checksum(w.t.Context()); err != nil || got != want.Events {
		w.t.Errorf("the lake has %+v (%v), the warehouse %+v", got, err, want.Events)
	}
	var left uint64
	query := "SELECT (SELECT count() FROM rebuild_progress) + (SELECT count() FROM system.tables WHERE position(name, 'shadow') > 0)"
	if err := w.house.Conn().QueryRow(w.t.Context(), query).Scan(&left); err != nil || left != 0 {
		w.t.Errorf("%d traces of rebuilding are left (%v)", left, err)
	}
}

func TestAWarehouseThatWasLostIsRebuilt(t *testing.T) {
	w := newWorld(t)
	w.fill()
	want := w.content()
	if want.Events.Rows != 4000 || want.Titles.Rows != 17 {
		t.Fatalf("the warehouse has %+v", want)
	}
	w.same(want)
	w.loseHouse()
	if got := w.content(); got.Events.Rows != 0 {
		t.Fatalf("a new warehouse has %+v", got)
	}
	s := w.rebuild()
	if s.Rows != 4150 || s.Files != 9 || s.FilesBefore != 0 || len(s.Open) != 0 || len(s.Gaps) != 0 || s.Content != want {
		t.Errorf("summary %+v", s)
	}
	w.same(want)
	w.owner = map[int32]*ledger.Owner{}
	w.ingest(0, upTo(4000, 4010)...)
	w.ingest(1, upTo(0, 10)...)
	if got := w.content(); got.Events.Rows != 4010 {
		t.Errorf("after more events: %+v", got)
	}
	w.same(w.content())
}

// TestABusyServiceDoesNotKeepARebuildFromEnding ingests a file whenever the rebuild has listed the lake, so that it never finds none.
func TestABusyServiceDoesNotKeepARebuildFromEnding(t *testing.T) {
	w := newWorld(t)
	w.fill()
	next, lists, known := 4000, 0, int64(0)
	var mu sync.Mutex
	w.progress = func(_, total int64) {
		mu.Lock()
		defer mu.Unlock()
		if total == known { // The lake was not listed again.
			return
		}
		known = total
		if lists++; lists > 50 {
			t.Fatal("the rebuild has listed the lake 50 times and goes on")
		}
		w.owner = map[int32]*ledger.Owner{} // The swap fences the consumer.
		w.ingest(0, upTo(next, next+10)...)
		next += 10
	}
	w.rebuild()
	w.progress = func(int64, int64) {}
	// What was ingested after the swap went into the new table, and all the rest was brought.
	if got := w.content().Events.Rows; got != int64(next) {
		t.Errorf("%d rows of %d", got, next)
	}
	w.same(w.content())
}

// TestAClustersWarehouseIsRebuilt loses events and titles of a warehouse in its cluster form, and interrupts its rebuild.
func TestAClustersWarehouseIsRebuilt(t *testing.T) {
	w := newWorld(t)
	if err := w.house.Close(); err != nil {
		t.Fatal(err)
	}
	w.house = clustertest.Open(t, t.TempDir())
	w.fill()
	want := w.content()
	if want.Events.Rows != 4000 || want.Titles.Rows != 17 {
		t.Fatalf("the warehouse has %+v", want)
	}
	for _, table := range []string{"events_raw", "titles_raw"} {
		if err := w.house.Truncate(t.Context(), table); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.content(); got.Events.Rows+got.Titles.Rows != 0 {
		t.Fatalf("what was truncated has %+v", got)
	}
	deps := w.deps()
	deps.FillTitles = func(context.Context, string) error { return errKilled }
	if _, err := Run(t.Context(), deps); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	if s := w.rebuild(); s.FilesBefore != s.Files {
		t.Errorf("the second run did not go on: %+v", s)
	}
	w.same(want)
}

func TestADamagedWarehouseIsRebuilt(t *testing.T) {
	w := newWorld(t)
	w.fill()
	want := w.content()
	for _, damage := range []string{
		"INSERT INTO events_raw (event_id, profile_id, type, device_class, occurred_at, received_at) VALUES (generateUUIDv4(), 'x', 'click', 'tv', now(), now())",
		"DELETE FROM events_raw WHERE profile_id = 'p7'",
		"INSERT INTO titles_raw (title_id, name, revision) VALUES ('t3', 'Another', 2)",
	} {
		if err := w.house.Conn().Exec(t.Context(), damage); err != nil {
			t.Fatal(err)
		}
	}
	if w.content() == want {
		t.Fatal("the damage does not show")
	}
	w.rebuild()
	w.same(want)
}

var errKilled = errors.New("killed")

func TestAnInterruptedRebuildGoesOn(t *testing.T) {
	w := newWorld(t)
	w.fill()
	want := w.content()
	w.loseHouse()
	for _, step := range []string{"in the middle of the files", "after the swap", "with the titles"} {
		ctx, kill := context.WithCancelCause(t.Context())
		deps := w.deps()
		switch step {
		case "in the middle of the files":
			calls := 0
			w.progress = func(done, _ int64) {
				if calls++; done > 0 && calls == 3 {
					kill(errKilled)
				}
			}
		default:
			deps.FillTitles = func(context.Context, string) error { return errKilled }
		}
		if _, err := Run(ctx, deps); err == nil {
			t.Fatalf("%s: not interrupted", step)
		}
		kill(nil)
		w.progress = func(int64, int64) {}
	}
	s := w.rebuild()
	if s.FilesBefore == 0 || s.RowsBefore == 0 || s.FilesBefore > s.Files {
		t.Errorf("the last run took nothing over: %+v", s)
	}
	w.same(want)
}

func TestALostWarehouseStartsOver(t *testing.T) {
	w := newWorld(t)
	w.fill()
	want := w.content()
	deps := w.deps()
	deps.FillTitles = func(context.Context, string) error { return errKilled }
	if _, err := Run(t.Context(), deps); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	w.loseHouse()
	if s := w.rebuild(); s.FilesBefore != 0 {
		t.Errorf("files of the lost warehouse counted as done: %+v", s)
	}
	w.same(want)
}

func TestARangeInFlightIsWrittenAgain(t *testing.T) {
	w := newWorld(t)
	w.fill()
	ctx := t.Context()
	r, b := w.fix(0, upTo(4000, 4100)...)
	house := sink.NewWarehouse(w.house.Conn())
	if err := errors.Join(house.Write(ctx, r, b), w.owner[0].InWarehouse(ctx, r, 100, 0)); err != nil {
		t.Fatal(err)
	}
	want := w.content()
	w.loseHouse()
	if s := w.rebuild(); !slices.Equal(s.Open, []string{r.String()}) || s.Content.Events.Rows != 4000 {
		t.Errorf("summary %+v", s)
	}
	// The owner of before is fenced; the next one is told that the warehouse does not have the range.
	if err := w.owner[0].InLake(ctx, r, nil); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("the former owner: %v", err)
	}
	owner, _, open, err := w.book.Claim(ctx, theLog, 0, "next", 0)
	if err != nil || open == nil || open.InWarehouse {
		t.Fatalf("open range %+v (%v)", open, err)
	}
	files, err := sink.NewLake(w.lake).Write(ctx, r, b)
	if err := errors.Join(err, house.Write(ctx, r, b), owner.InWarehouse(ctx, r, 100, 0), owner.InLake(ctx, r, files)); err == nil {
		t.Error("the old connection still works")
	}
	house = sink.NewWarehouse(w.house.Conn())
	if err := errors.Join(err, house.Write(ctx, r, b), owner.InWarehouse(ctx, r, 100, 0), owner.InLake(ctx, r, files)); err != nil {
		t.Fatal(err)
	}
	w.same(want)
}

func TestALakeThatLacksWhatTheLedgerKnowsIsRefused(t *testing.T) {
	w := newWorld(t)
	w.fill()
	want := w.content()
	if err := w.lake.Delete(t.Context(), events.ManifestKey(1, 0, 1499)); err != nil {
		t.Fatal(err)
	}
	_, err := Run(t.Context(), w.deps())
	if !errors.Is(err, lake.ErrCorrupt) || !strings.Contains(err.Error(), "watch-events/1/0-1499") {
		t.Errorf("rebuilt from a lake without a range: %v", err)
	}
	if got := w.content(); got != want {
		t.Errorf("the warehouse was changed: %+v, want %+v", got, want)
	}
}

func TestOneRebuildAtATime(t *testing.T) {
	w := newWorld(t)
	w.fill()
	lease, err := w.db.AcquireLease(t.Context(), events.MaintenanceLease, "somebody", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	hurried, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Run(hurried, w.deps()); !errors.Is(err, db.ErrLeaseHeld) || !strings.Contains(err.Error(), "somebody") {
		t.Errorf("beside another: %v", err)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A lease that is lost before the swap ends the rebuild.
	deps := w.deps()
	deps.FillTitles = func(ctx context.Context, _ string) error {
		_, err := w.db.NewRaw("UPDATE leases SET token = token + 1").Exec(context.WithoutCancel(ctx))
		return err
	}
	if _, err := Run(t.Context(), deps); !errors.Is(err, db.ErrLeaseLost) {
		t.Errorf("without its lease: %v", err)
	}
	if _, err := w.book.RedoWarehouse(t.Context(), ingestv1.TopicWatchEvents, "x", func(context.Context, bun.IDB) error { return errKilled }); !errors.Is(err, errKilled) {
		t.Errorf("fenced without the lease: %v", err)
	}
}
