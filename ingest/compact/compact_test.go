package compact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"marquee/ingest/events"
	"marquee/ingest/ledger"
	"marquee/ingest/sink"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
	"marquee/internal/db"
	"marquee/internal/lake"
	"marquee/internal/logid"
	"marquee/internal/testkit"
)

var (
	theLog = logid.Log{Topic: ingestv1.TopicWatchEvents, Cluster: "a", ID: "1"}
	noon   = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
)

// world is a lake that ranges are written into, and the ledger that knows of them.
type world struct {
	t      *testing.T
	dir    string
	lake   *lake.Lake
	db     *db.DB
	ledger *ledger.Ledger
	owner  map[int32]*ledger.Owner
	next   map[int32]int64
	cfg    Config
	now    time.Time
	// expired is what the warehouse was told to delete.
	expired []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), owner: map[int32]*ledger.Owner{}, next: map[int32]int64{}, cfg: DefaultConfig(), now: noon.Add(10 * day)}
	w.open("file://" + w.dir + "/lake")
	return w
}

func (w *world) open(url string) {
	w.t.Helper()
	var err error
	if w.lake, err = lake.Open(w.t.Context(), url); err != nil {
		w.t.Fatal(err)
	}
	if w.db, err = db.Open(w.t.Context(), "sqlite:"+w.t.TempDir()+"/marquee.db", ""); err != nil {
		w.t.Fatal(err)
	}
	database := w.db
	w.t.Cleanup(func() {
		if err := database.Close(); err != nil {
			w.t.Error(err)
		}
	})
	if w.ledger, err = ledger.New(w.t.Context(), w.db); err != nil {
		w.t.Fatal(err)
	}
}

// event is the i-th event; a thousand of them are a day.
func event(i int) *ingestv1.WatchEvent {
	at := noon.UnixMicro() + int64(i)*86_400_000
	return &ingestv1.WatchEvent{
		EventId: watchevent.FormatID(watchevent.DeriveID(at, fmt.Sprint(i))), SchemaVersion: 1, ProfileId: fmt.Sprintf("p%d", i%53),
		TitleId: fmt.Sprintf("t%d", i%17), PlayId: fmt.Sprint(i), Type: ingestv1.EventType(i%11 + 1), OccurredAt: at, Query: "q",
		ReceivedAt: at + 250, WatchedMs: 1000, DurationMs: 2000, SeenTitleIds: []string{"a", "bc"}[:i%3%2+1],
	}
}

// fix fixes the next range of a partition.
func (w *world) fix(partition int32, numbers []int) (ledger.Range, *sink.Batch) {
	w.t.Helper()
	if w.owner[partition] == nil {
		owner, next, _, err := w.ledger.Claim(w.t.Context(), theLog, partition, "test", w.next[partition])
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
	w.next[partition] = first + int64(max(len(numbers), 1))
	if len(numbers) == 0 {
		b.AddDead()
	}
	r, err := w.owner[partition].Fix(w.t.Context(), first, w.next[partition]-1)
	if err != nil {
		w.t.Fatal(err)
	}
	return r, b
}

func (w *world) ingest(partition int32, numbers ...int) {
	w.t.Helper()
	r, b := w.fix(partition, numbers)
	files, err := sink.NewLake(w.lake).Write(w.t.Context(), r, b)
	if err := errors.Join(err, w.owner[partition].InWarehouse(w.t.Context(), r, int64(b.Len()), b.Dead()), w.owner[partition].InLake(w.t.Context(), r, files)); err != nil {
		w.t.Fatal(err)
	}
}

// fill writes five days in many small ranges of two partitions, with copies, dead letters and ranges over midnight.
func (w *world) fill() { w.fillUpTo(4000) }

func (w *world) fillUpTo(n int) {
	w.t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < n; i += 100 {
		var numbers []int
		for n := i; n < i+100; n++ {
			numbers = append(numbers, n)
		}
		if i%700 == 0 {
			numbers = append(numbers, i, i, max(i-r.IntN(300), 0))
		}
		w.ingest(int32(i/100%2), numbers...)
		if i%1300 == 0 {
			w.ingest(0)
		}
	}
}

func (w *world) deps() Deps {
	return Deps{
		DB: w.db, Lake: w.lake, Scratch: w.dir + "/scratch", Progress: func(int64, int64) {}, Log: testkit.Log(w.t),
		Now: func() time.Time { return w.now },
		Expire: func(_ context.Context, kind string, before time.Time) error {
			w.expired = append(w.expired, kind+" "+before.Format(time.DateTime))
			return nil
		},
	}
}

func (w *world) compact(o Options) *Summary {
	w.t.Helper()
	s, err := Run(w.t.Context(), w.cfg, w.deps(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) set() *events.Set {
	w.t.Helper()
	s, err := events.Open(w.t.Context(), w.lake)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// state is what readers see: the content, the number of rows and dead letters, and how far each partition goes.
type state struct {
	sum        events.Checksum
	rows, dead int64
	through    string
}

func stateOf(t *testing.T, s *events.Set) state {
	t.Helper()
	sum, err := s.Checksum(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if gaps := s.Gaps(); len(gaps) > 0 {
		t.Errorf("gaps %v", gaps)
	}
	return state{sum, c.Rows, c.Dead, fmt.Sprint(s.Through())}
}

func (w *world) state() state { return stateOf(w.t, w.set()) }

// files counts the data files that are there, named or not.
func (w *world) files() (n int) {
	for _, err := range w.lake.List(w.t.Context(), events.Prefix+"dt=") {
		if err != nil {
			w.t.Fatal(err)
		}
		n++
	}
	return n
}

// age makes the lake's files as old as the events.
func (w *world) age() {
	w.t.Helper()
	err := filepath.WalkDir(w.dir+"/lake", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, noon, noon)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestSmallFilesBecomeDayFiles(t *testing.T) {
	w := newWorld(t)
	w.fill()
	want, before := w.state(), w.files()
	old := w.set()
	s := w.compact(Options{})
	if len(s.Days) != 5 || s.FilesBefore != before || s.Rows != want.rows || len(s.Dropped) != 0 || s.FilesAfter > 9 {
		t.Errorf("summary %+v of %d files with %+v", s, before, want)
	}
	if got := w.state(); got != want {
		t.Errorf("after compaction %+v, before %+v", got, want)
	}
	for _, f := range w.set().Files() {
		profile, at := "", int64(0)
		for r, err := range w.set().RawOf(t.Context(), f) {
			if err != nil {
				t.Fatal(err)
			}
			if r.ProfileID < profile || r.ProfileID == profile && r.OccurredAt < at {
				t.Fatalf("%s is not sorted", f.Key)
			}
			profile, at = r.ProfileID, r.OccurredAt
		}
	}
	// Who listed the lake before goes on reading what it listed.
	if got := stateOf(t, old); got != want {
		t.Errorf("a reader of before sees %+v, want %+v", got, want)
	}
	if again := w.compact(Options{}); again.FilesBefore != 0 || again.Deleted != 0 {
		t.Errorf("compacting again did something: %+v", again)
	}
	w.now = w.now.Add(w.cfg.Grace + time.Minute)
	w.compact(Options{})
	if n := w.files(); n != s.FilesAfter {
		t.Errorf("after the grace there are %d files, want %d", n, s.FilesAfter)
	}
	if got := w.state(); got != want {
		t.Errorf("after the grace %+v, before %+v", got, want)
	}
}

func TestWhatArrivesLaterIsCompactedLater(t *testing.T) {
	w := newWorld(t)
	w.fill()
	w.now = noon.Add(2*day + time.Hour) // the third day is not over
	if s := w.compact(Options{}); !slices.Equal(s.Days, []string{"2026-10-01", "2026-10-02"}) {
		t.Errorf("days %v", s.Days)
	}
	if s := w.compact(Options{OpenDay: true}); !slices.Contains(s.Days, "2026-10-03") {
		t.Errorf("with the open day %v", s.Days)
	}
	// A range in flight: it may be written again, so it stays as it is, and everything behind it.
	r, b := w.fix(0, []int{2100, 2101})
	if _, err := sink.NewLake(w.lake).Write(t.Context(), r, b); err != nil {
		t.Fatal(err)
	}
	want := w.state()
	w.now = noon.Add(10 * day)
	w.compact(Options{})
	set := w.set()
	if len(set.Manifests()) != 1 || set.Manifests()[0].First != r.First {
		t.Errorf("%d ranges are left, want the one in flight", len(set.Manifests()))
	}
	if got := w.state(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	files, err := sink.NewLake(w.lake).Write(t.Context(), r, b)
	if err := errors.Join(err, w.owner[0].InWarehouse(t.Context(), r, 2, 0), w.owner[0].InLake(t.Context(), r, files)); err != nil {
		t.Fatal(err)
	}
	w.compact(Options{})
	if n := len(w.set().Manifests()); n != 0 {
		t.Errorf("%d ranges are left", n)
	}
	// Long after, a consumer that slept writes it once more.
	w.now = w.now.Add(2 * w.cfg.Grace)
	w.compact(Options{})
	if _, err := sink.NewLake(w.lake).Write(t.Context(), r, b); err != nil {
		t.Fatal(err)
	}
	if got := w.state(); got != want {
		t.Errorf("after a late repeat %+v, want %+v", got, want)
	}
	w.now = w.now.Add(2 * w.cfg.Grace)
	w.compact(Options{})
	if got, replaced := w.state(), w.set().Replaced(); got != want || len(replaced) != 0 {
		t.Errorf("swept: %+v with replaced manifests %q", got, replaced)
	}
}

var errFault = errors.New("fault")

// TestAnyStepMayBeTheLast ends compaction before each change it makes and holds the lake against what it was.
func TestAnyStepMayBeTheLast(t *testing.T) {
	w := newWorld(t)
	w.cfg.Retention.Progress = 40 * day // nothing yet
	w.fillUpTo(800)
	want := w.state()
	faults := make(map[string]int)
	for round := range 3 {
		number := w.set().NextNumber()
		for n := 1; ; n++ {
			r := newRun(w.cfg, w.deps(), Options{})
			steps, at := 0, ""
			r.step = func(what string) error {
				if steps++; steps == n {
					at = what
					return fmt.Errorf("%w before %s", errFault, what)
				}
				return nil
			}
			_, err := r.do(t.Context())
			if got := w.state(); got != want {
				t.Fatalf("round %d, %v: %+v, want %+v", round, err, got, want)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, errFault) {
				t.Fatal(err)
			}
			faults[at]++
			// Once something lasting was done, the next run meets the fault at its first step again.
			if next := w.set().NextNumber(); next != number || r.summary.Deleted > 0 {
				number, n = next, 0
			}
		}
		w.now = w.now.Add(w.cfg.Grace + time.Hour)
		w.ingest(0, 100*round, 799+round)
		want = w.state()
	}
	if faults["file"] < 5 || faults["manifest"] < 3 || faults["delete"] < 20 {
		t.Errorf("only these faults: %v", faults)
	}
}

func TestOfTwoCompactionsOneWins(t *testing.T) {
	w := newWorld(t)
	w.fill()
	want := w.state()
	slow := newRun(w.cfg, w.deps(), Options{})
	overtaken := false
	slow.step = func(what string) error {
		if what == "manifest" && !overtaken {
			overtaken = true
			// Its lease ran out while it was paused, and another took it.
			if _, err := w.db.NewRaw("UPDATE leases SET token = token + 1, expires_at = 0").Exec(t.Context()); err != nil {
				return err
			}
			w.compact(Options{})
		}
		return nil
	}
	if _, err := slow.do(t.Context()); !errors.Is(err, lake.ErrExists) && !errors.Is(err, db.ErrLeaseLost) {
		t.Errorf("the one that was overtaken: %v", err)
	}
	if got := w.state(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	w.now = w.now.Add(w.cfg.Grace + time.Hour)
	w.age()
	w.compact(Options{})
	if named, n := len(w.set().Files()), w.files(); n != named {
		t.Errorf("%d files are there, %d count", n, named)
	}
}

func TestRetentionGoesByTypeAndDay(t *testing.T) {
	w := newWorld(t)
	w.fill()
	w.cfg.Retention = Retention{Progress: 8 * day, Search: 30 * day}
	w.now = noon.Add(11 * day) // progress of the first three days is too old
	byType := func() map[string]int64 {
		out := make(map[string]int64)
		for r, err := range w.set().Raw(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			out[fmt.Sprintf("%s %s", r.Type, time.UnixMicro(r.ReceivedAt).UTC().Format(time.DateOnly))]++
		}
		return out
	}
	want := byType()
	for key := range want {
		if strings.HasPrefix(key, "progress ") && key < "progress 2026-10-04" {
			delete(want, key)
		}
	}
	s := w.compact(Options{})
	if got := byType(); !maps.Equal(got, want) || s.Dropped["progress"] == 0 || len(s.Dropped) != 1 {
		t.Errorf("kept %v, want %v (%v dropped)", got, want, s.Dropped)
	}
	if want := []string{"progress 2026-10-04 00:00:00", "search 2026-09-12 00:00:00"}; !slices.Equal(w.expired, want) {
		t.Errorf("the warehouse was told %q, want %q", w.expired, want)
	}
	w.now = w.now.Add(day)
	for key := range want {
		if strings.HasPrefix(key, "progress ") && key < "progress 2026-10-05" {
			delete(want, key)
		}
	}
	// The last manifest has a few events of the day before.
	if s = w.compact(Options{}); !slices.Equal(s.Days, []string{"2026-10-04", "2026-10-05"}) {
		t.Errorf("a day later: days %v", s.Days)
	}
	if got := byType(); !maps.Equal(got, want) {
		t.Errorf("a day later: kept %v, want %v", got, want)
	}
	if gaps := w.set().Gaps(); len(gaps) > 0 {
		t.Errorf("gaps %v", gaps)
	}
}

func TestRowsAreLeftOutForGood(t *testing.T) {
	w := newWorld(t)
	w.fill()
	w.compact(Options{})
	s := w.compact(Options{OpenDay: true, Erase: func(profileID string) bool { return profileID == "p7" }})
	var dropped int64
	for _, n := range s.Dropped {
		dropped += n
	}
	for r, err := range w.set().Raw(t.Context()) {
		if err != nil || r.ProfileID == "p7" {
			t.Fatalf("still there: %+v (%v)", r, err)
		}
	}
	if dropped == 0 || w.state().rows != s.Rows {
		t.Errorf("summary %+v", s)
	}
	if named, n := len(w.set().Files()), w.files(); n != named {
		t.Errorf("%d files are there, %d count: what was replaced has the rows yet", n, named)
	}
	if again := w.compact(Options{OpenDay: true, Erase: func(profileID string) bool { return profileID == "p7" }}); len(again.Days) != 0 {
		t.Errorf("erasing again rewrote %v", again.Days)
	}
}

func TestLargeDaysAreSortedThroughFiles(t *testing.T) {
	s, err := newSorter(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s.limit = 20
	r := rand.New(rand.NewPCG(3, 4))
	var want, got events.Digest
	for i := range 1050 {
		row := events.Row{ProfileID: fmt.Sprint(r.IntN(40)), OccurredAt: r.Int64N(9), KafkaOffset: int64(i), Type: "click", DeviceClass: "tv"}
		if i%2 == 0 {
			n := uint32(i)
			row.Row, row.SeenTitleIDs, row.UnknownFields = &n, []string{fmt.Sprint(i)}, []byte{byte(i)}
		}
		want.Add(&row)
		if err := s.add(t.Context(), &row); err != nil {
			t.Fatal(err)
		}
	}
	// 52 runs went to disk; twice fanIn of them became one.
	if len(s.runs) != 2+52%fanIn {
		t.Errorf("%d runs", len(s.runs))
	}
	var last events.Row
	for row, err := range s.sorted(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if last.Type != "" && order(&last, row) >= 0 {
			t.Fatalf("%+v comes after %+v", row, last)
		}
		last = *row
		got.Add(row)
	}
	if got.Content != want.Content {
		t.Errorf("%d of %d rows came out, or others", got.Content.Count(), want.Content.Count())
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

func TestDaysAreCutIntoFiles(t *testing.T) {
	w := newWorld(t)
	w.open("mem://")
	w.cfg.FileBytes = 1 // every row group of its own
	for i := range 3 {
		var numbers []int
		for n := range 50_000 {
			numbers = append(numbers, (i*50_000+n)%450)
		}
		w.ingest(0, numbers...)
	}
	want := w.state()
	if s := w.compact(Options{}); s.FilesAfter != 2 || s.Rows != 150_000 {
		t.Errorf("summary %+v", s)
	}
	if got := w.state(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{Interval: time.Second, FileBytes: 5, Retention: Retention{Search: time.Hour}}
	err := bad.Validate()
	for _, field := range []string{"compaction.interval", "compaction.file_bytes", "compaction.grace", "compaction.retention.search"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}
