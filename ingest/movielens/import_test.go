package movielens_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	catalogv1 "marquee/catalog/v1"
	"marquee/features/warehouse"
	"marquee/ingest"
	"marquee/ingest/consumer"
	"marquee/ingest/events"
	"marquee/ingest/movielens"
	ingestv1 "marquee/ingest/v1"
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

// titles keeps what the catalogue would.
type titles struct {
	mu     sync.Mutex
	by     map[string]*catalogv1.Title
	refuse string
}

func (c *titles) PutTitles(_ context.Context, req *connect.Request[catalogv1.PutTitlesRequest]) (*connect.Response[catalogv1.PutTitlesResponse], error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(req.Msg.Titles); n < 1 || n > 500 {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%d titles", n))
	}
	resp := &catalogv1.PutTitlesResponse{}
	for i, t := range req.Msg.Titles {
		r := &catalogv1.TitleResult{Index: uint32(i), TitleId: t.TitleId, Accepted: t.TitleId != c.refuse}
		if r.Accepted {
			r.Changed = !proto.Equal(c.by[t.TitleId], t)
			c.by[t.TitleId] = t
		}
		resp.Results = append(resp.Results, r)
	}
	return connect.NewResponse(resp), nil
}

// world is what an import stands on.
type world struct {
	t       *testing.T
	cluster *kfake.Cluster
	db      *db.DB
	lake    *lake.Lake
	titles  *titles
	options movielens.Options
}

func newWorld(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{t: t, titles: &titles{by: make(map[string]*catalogv1.Title)}}
	var err error
	if w.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, ingestv1.TopicWatchEvents), kfake.SeedTopics(1, ingestv1.TopicDeadLetters)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.cluster.Close)
	if w.db, err = db.Open(t.Context(), "sqlite:"+t.TempDir()+"/marquee.db", ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
	})
	if w.lake, err = lake.Open(t.Context(), "file://"+t.TempDir()); err != nil {
		t.Fatal(err)
	}
	publisher, err := ingest.NewPublisher(ingest.DefaultConfig(), w.newClient, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(publisher.Close)
	w.options = movielens.Options{Dir: dir, Titles: w.titles, Publisher: publisher, DB: w.db, Lake: w.lake, BatchEvents: 2500, Log: testkit.Log(t)}
	return w
}

func (w *world) newClient(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(w.cluster.ListenAddrs()...))...)
}

func (w *world) run() movielens.Summary {
	w.t.Helper()
	s, err := movielens.Import(w.t.Context(), w.options)
	if err != nil {
		w.t.Fatal(err)
	}
	if got := s.EventsPublished + s.EventsAlreadyImported + s.RejectedRatings; got != s.RowsRead {
		w.t.Errorf("%d rows read, but %d accounted for: %+v", s.RowsRead, got, s)
	}
	return s
}

// onBroker returns the events on the broker, in log order.
func (w *world) onBroker() []*ingestv1.WatchEvent {
	w.t.Helper()
	client, err := w.newClient(kgo.ConsumeTopics(ingestv1.TopicWatchEvents))
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	var total int64
	ends, err := kadm.NewClient(client).ListEndOffsets(w.t.Context(), ingestv1.TopicWatchEvents)
	if err != nil {
		w.t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	var all []*ingestv1.WatchEvent
	for int64(len(all)) < total {
		fetches := client.PollFetches(w.t.Context())
		if err := fetches.Err(); err != nil {
			w.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			e := new(ingestv1.WatchEvent)
			if err := proto.Unmarshal(r.Value, e); err != nil {
				w.t.Fatal(err)
			}
			all = append(all, e)
		})
	}
	return all
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const movies1M = "1::Toy Story (1995)::Animation|Comedy\n2::Mis\xe9rables, Les (1998)::Drama\n3::Nameless::Drama\n"

func TestARatingBecomesAWatch(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"movies.dat": movies1M, "ratings.dat": "7::1::5::978300760\n7::2::1::978300000\n8::2::3::978300760\n"})
	w := newWorld(t, dir)
	s := w.run()
	want := movielens.Summary{
		Layout: "ml-1m", Namespace: "ml1m", ImportID: "movielens:ml1m", RowsRead: 3, EventsPublished: 3, TitlesRead: 3, TitlesPut: 3,
		TitlesChanged: 3, FirstEventAt: 978300000_000_000, LastEventAt: 978300760_000_000,
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Error(diff)
	}
	all := w.onBroker()
	watched := make(map[string]int64)
	for _, e := range all {
		watched[e.ProfileId+" "+e.TitleId] = e.WatchedMs
		if e.Type != ingestv1.EventType_EVENT_TYPE_PLAY_END || e.ImportId != "movielens:ml1m" || e.ClockSkew != 0 || e.DurationMs != 6_000_000 ||
			e.PlayId != e.EventId || e.ReceivedAt < 1_700_000_000_000_000 {
			t.Errorf("event %v", e)
		}
	}
	if diff := cmp.Diff(map[string]int64{"ml1m:7 ml1m:1": 6_000_000, "ml1m:7 ml1m:2": 1_200_000, "ml1m:8 ml1m:2": 3_600_000}, watched); diff != "" {
		t.Error(diff)
	}
	title := w.titles.by["ml1m:2"]
	if title.Name != "Misérables, Les" || title.Year != 1998 || len(title.Availability) != 1 || title.MaturityAge != nil ||
		title.AddedAt != time.Date(1998, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro() {
		t.Errorf("title %v", title)
	}
	if added := w.titles.by["ml1m:3"].AddedAt; added != 0 {
		t.Errorf("a film of unknown year was added at %d", added)
	}
}

func TestASecondRunPublishesNothing(t *testing.T) {
	dir := testkit.DataDir(t, "ml-100k")
	w := newWorld(t, dir)
	if s := w.run(); s.EventsPublished != 100_000 || s.Rejected != 0 || s.TitlesPut != 1682 {
		t.Errorf("first run: %+v", s)
	}
	s := w.run()
	if s.EventsPublished != 0 || s.EventsAlreadyImported != 100_000 || s.TitlesChanged != 0 || s.ContentChanged {
		t.Errorf("second run: %+v", s)
	}
	if n := len(w.onBroker()); n != 100_000 {
		t.Errorf("%d records on the broker", n)
	}
}

func TestAnotherLogGetsWhatTheLakeLacks(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"movies.dat": movies1M, "users.dat": "1::F::1::10::48067\n", "ratings.dat": "1::1::5::978300760\n1::2::3::978302109\n"})
	w := newWorld(t, dir)
	w.options.Broker = logid.Log{Topic: ingestv1.TopicWatchEvents, Cluster: "a", ID: "1"}
	if s := w.run(); s.EventsPublished != 2 {
		t.Errorf("first run: %+v", s)
	}
	// Nothing consumed them: the lake has none of them, and the other log neither.
	w.options.Broker.ID = "2"
	if s := w.run(); s.EventsPublished != 2 || s.EventsAlreadyImported != 0 {
		t.Errorf("on another log: %+v", s)
	}
	if s := w.run(); s.EventsPublished != 0 || s.EventsAlreadyImported != 2 {
		t.Errorf("there again: %+v", s)
	}
}

func TestAnInterruptedRunIsContinued(t *testing.T) {
	w := newWorld(t, testkit.DataDir(t, "ml-100k"))
	ctx, cancel := context.WithCancel(t.Context())
	w.options.Progress = func(p movielens.Progress) {
		if p.Stage == movielens.StageEvents && p.Done >= 20_000 {
			cancel()
		}
	}
	first, err := movielens.Import(ctx, w.options)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "run the import again") || first.EventsPublished < 20_000 || first.EventsPublished > 50_000 {
		t.Fatalf("interrupted: %v, %+v", err, first)
	}
	w.options.Progress = nil
	second := w.run()
	if second.EventsAlreadyImported != first.EventsPublished || second.EventsPublished != 100_000-first.EventsPublished {
		t.Errorf("continued: %+v after %+v", second, first)
	}
	all := w.onBroker()
	ids := make(map[string]bool)
	last := make(map[string]int64)
	for _, e := range all {
		ids[e.EventId] = true
		if e.OccurredAt < last[e.ProfileId] {
			t.Fatalf("events of %s are out of order", e.ProfileId)
		}
		last[e.ProfileId] = e.OccurredAt
	}
	if len(all) != 100_000 || len(ids) != 100_000 {
		t.Errorf("%d records of %d events on the broker", len(all), len(ids))
	}
}

func TestBrokenRowsAreRejectedOneByOne(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"movies.dat": movies1M + "1::Again (1990)::Drama\nno movie\n9::Caf\xc3\xa9 (1990)::Drama\n",
		"ratings.dat": "7::1::5::978300760\n" + "garbage\n" + "7::2::9::978300760\n" + "7::2::4::97830076000000\n" + "7::9::4::978300760\n" +
			"7::1::3::978300999\n" + "\n" + strings.Repeat("x", 70_000) + "\n" + "8::2::4::978300761",
	})
	w := newWorld(t, dir)
	s := w.run()
	if s.RowsRead != 8 || s.EventsPublished != 2 || s.Rejected != 9 || s.RejectedRatings != 6 {
		t.Errorf("summary %+v", s)
	}
	var got []string
	for _, r := range s.Rejections {
		if r.Detail == "" {
			t.Errorf("%+v does not say what is right", r)
		}
		got = append(got, fmt.Sprintf("%s:%d %s", r.File, r.Line, r.Reason))
	}
	want := []string{
		"movies.dat:4 duplicate", "movies.dat:5 malformed", "movies.dat:6 encoding", "ratings.dat:2 malformed", "ratings.dat:3 rating",
		"ratings.dat:4 timestamp", "ratings.dat:5 unknown_title", "ratings.dat:8 malformed", "ratings.dat:6 duplicate",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if again := w.run(); again.EventsPublished != 0 || again.EventsAlreadyImported != 2 {
		t.Errorf("again: %+v", again)
	}
}

func TestATitleTheCatalogueRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"movies.dat": movies1M, "ratings.dat": "7::1::5::978300760\n7::2::5::978300760\n"})
	w := newWorld(t, dir)
	w.titles.refuse = "ml1m:2"
	s := w.run()
	if s.EventsPublished != 1 || s.TitlesPut != 2 || s.RejectedByReason[movielens.ReasonTitleRefused] != 1 || s.RejectedByReason[movielens.ReasonUnknownTitle] != 1 {
		t.Errorf("summary %+v", s)
	}
}

func TestChangedFilesBringWhatIsNew(t *testing.T) {
	dir := t.TempDir()
	rows := "userId,movieId,rating,timestamp\n1,1,4.5,1000000100\n1,2,0.5,1000000200\n2,1,3,1000000300\n"
	write(t, dir, map[string]string{"movies.csv": "\ufeffmovieId,title,genres\n1,\"A, The (1990)\",Drama\n2,B,(no genres listed)\n", "ratings.csv": rows})
	w := newWorld(t, dir)
	if s := w.run(); s.EventsPublished != 3 || s.Namespace != "mllatest" {
		t.Errorf("first: %+v", s)
	}
	// Grown at the end: only the new row.
	write(t, dir, map[string]string{"ratings.csv": rows + "2,2,2,1000000400\n"})
	if s := w.run(); s.EventsPublished != 1 || s.EventsAlreadyImported != 3 || !s.ContentChanged {
		t.Errorf("grown: %+v", s)
	}
	// Changed in the middle, with everything of before in the lake: only the new row.
	m := w.startConsumer(nil)
	w.caughtUp(m)
	w.stopConsumer(m)
	write(t, dir, map[string]string{"ratings.csv": rows + "2,2,2,1000000400\n3,1,5,1000000150\n"})
	if s := w.run(); s.EventsPublished != 1 || s.EventsAlreadyImported != 4 {
		t.Errorf("changed: %+v", s)
	}
	if s := w.run(); s.EventsPublished != 0 || s.EventsAlreadyImported != 5 || s.ContentChanged {
		t.Errorf("after that: %+v", s)
	}
	// Without a lake to ask it publishes all of it again, under the same ids.
	w.options.Lake = nil
	write(t, dir, map[string]string{"ratings.csv": rows + "3,2,5,1000000050\n"})
	if s := w.run(); s.EventsPublished != 4 {
		t.Errorf("without the lake: %+v", s)
	}
}

func TestWhatIsNoMovieLensFolder(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		says  string
	}{
		"empty":      {nil, "looked for u.data and u.item (ml-100k), ratings.dat and movies.dat (ml-1m), ratings.csv and movies.csv (ml-latest)"},
		"half":       {map[string]string{"ratings.dat": "x"}, "ratings.dat is there but movies.dat is missing"},
		"two":        {map[string]string{"u.data": "", "u.item": "", "ratings.csv": "", "movies.csv": ""}, "keep one set in a folder"},
		"no rows":    {map[string]string{"u.data": "", "u.item": ""}, "u.item is empty"},
		"other form": {map[string]string{"ratings.dat": "a,b\n", "movies.dat": movies1M}, "line 1: a row is user::movie::rating::timestamp"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, tt.files)
			_, err := movielens.Import(t.Context(), newWorld(t, dir).options)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
	if _, err := movielens.Import(t.Context(), newWorld(t, t.TempDir()+"/none").options); err == nil {
		t.Error("a folder that is not there was imported")
	}
	w := newWorld(t, t.TempDir())
	w.options.Dir, w.options.Namespace = testkit.DataDir(t, "ml-100k"), "Has Spaces"
	if _, err := movielens.Import(t.Context(), w.options); err == nil || !strings.Contains(err.Error(), "a namespace is") {
		t.Errorf("got %v", err)
	}
}

func (w *world) startConsumer(house *warehouse.Warehouse) *consumer.Module {
	w.t.Helper()
	if house == nil {
		house = openWarehouse(w.t)
	}
	cfg := ingest.DefaultConfig()
	cfg.FlushInterval = 50 * time.Millisecond
	m, err := consumer.New(cfg, consumer.Deps{
		NewClient: w.newClient, DB: w.db, Warehouse: house.Conn(), Lake: w.lake, Registerer: prometheus.NewRegistry(), Log: testkit.Log(w.t),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := m.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) caughtUp(m *consumer.Module) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	if err := m.CaughtUp(ctx); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) stopConsumer(m *consumer.Module) {
	w.t.Helper()
	if err := m.Stop(context.WithoutCancel(w.t.Context())); err != nil {
		w.t.Error(err)
	}
}

func openWarehouse(t *testing.T) *warehouse.Warehouse {
	t.Helper()
	if _, err := native.LibraryPath(native.ChDB); err != nil {
		testkit.LeftOut(t, "the embedded warehouse", "make setup")
	}
	house, err := warehouse.Open(t.Context(), warehouse.DefaultConfig(), t.TempDir(), testkit.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := house.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := house.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return house
}

// TestTheSameNumberEverywhere follows a whole set through broker, warehouse and lake, imported twice, with the consumer
// stopped hard in between.
func TestTheSameNumberEverywhere(t *testing.T) {
	w := newWorld(t, testkit.DataDir(t, "ml-100k"))
	house := openWarehouse(t)
	m := w.startConsumer(house)
	first := w.run()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	// With a context that has ended, ranges in flight are left to the next owner.
	_ = m.Stop(ended)
	m = w.startConsumer(house)
	second := w.run()
	w.caughtUp(m)
	w.stopConsumer(m)

	set, err := events.Open(t.Context(), w.lake)
	if err != nil {
		t.Fatal(err)
	}
	count, err := set.Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var inView, profiles uint64
	row := house.Conn().QueryRow(t.Context(), "SELECT count(), uniqExact(profile_id) FROM events WHERE import_id = 'movielens:ml100k'")
	if err := row.Scan(&inView, &profiles); err != nil {
		t.Fatal(err)
	}
	if first.EventsPublished+second.EventsPublished != 100_000 || count.Events != 100_000 || count.Rows != 100_000 || inView != 100_000 || profiles != 943 {
		t.Errorf("importer %d + %d, lake %+v, warehouse %d of %d profiles", first.EventsPublished, second.EventsPublished, count, inView, profiles)
	}
	// Row by row: what the warehouse says of a profile is what the lake says.
	inLake := make(map[string]int64)
	for r, err := range set.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		inLake[r.ProfileID] += r.WatchedMS + r.OccurredAt%1_000_003
	}
	inHouse := make(map[string]int64)
	rows, err := house.Conn().Query(t.Context(), "SELECT profile_id, sum(watched_ms + toUnixTimestamp64Micro(occurred_at) % 1000003) FROM events GROUP BY profile_id")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var profile string
		var sum int64
		if err := rows.Scan(&profile, &sum); err != nil {
			t.Fatal(err)
		}
		inHouse[profile] = sum
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(inLake, inHouse) {
		t.Errorf("lake and warehouse differ, e.g. %v", slices.Collect(maps.Keys(inLake))[:3])
	}
}

func TestTheWholeOfML1M(t *testing.T) {
	w := newWorld(t, testkit.DataDir(t, "ml-1m"))
	w.options.BatchEvents = 0
	start := time.Now()
	if s := w.run(); s.EventsPublished != 487_650 || s.Rejected != 0 || s.TitlesPut != 3883 {
		t.Errorf("summary %+v", s)
	}
	t.Logf("imported in %s", time.Since(start).Round(time.Millisecond))
}
