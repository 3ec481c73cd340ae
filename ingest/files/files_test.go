package files_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	catalogv1 "marquee/catalog/v1"
	"marquee/ingest"
	"marquee/ingest/files"
	"marquee/ingest/imports"
	"marquee/ingest/mapping"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/db"
	"marquee/internal/logid"
	"marquee/internal/testkit"
)

// catalogue keeps what the catalogue would, and refuses and fails as it is told.
type catalogue struct {
	mu     sync.Mutex
	by     map[string]*catalogv1.Title
	refuse string
	// fail is after how many calls the catalogue is away; 0 is never.
	fail, calls int
}

var errAway = errors.New("the catalogue is away")

func (c *catalogue) PutTitles(_ context.Context, req *connect.Request[catalogv1.PutTitlesRequest]) (*connect.Response[catalogv1.PutTitlesResponse], error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls++; c.fail > 0 && c.calls > c.fail {
		return nil, errAway
	}
	resp := &catalogv1.PutTitlesResponse{}
	for i, t := range req.Msg.Titles {
		r := &catalogv1.TitleResult{Index: uint32(i), TitleId: t.TitleId, Accepted: t.TitleId != c.refuse}
		if r.Accepted {
			r.Changed = !proto.Equal(c.by[t.TitleId], t)
			c.by[t.TitleId] = proto.CloneOf(t)
		}
		resp.Results = append(resp.Results, r)
	}
	return connect.NewResponse(resp), nil
}

// world is what an import stands on.
type world struct {
	t         *testing.T
	cluster   *kfake.Cluster
	db        *db.DB
	publisher *ingest.Publisher
	titles    *catalogue
	log       logid.Log
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, titles: &catalogue{by: make(map[string]*catalogv1.Title)}, log: logid.Log{Cluster: "c", Topic: ingestv1.TopicWatchEvents, ID: "one"}}
	var err error
	if w.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, ingestv1.TopicWatchEvents)); err != nil {
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
	if w.publisher, err = ingest.NewPublisher(ingest.DefaultConfig(), w.newClient, prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.publisher.Close)
	return w
}

func (w *world) newClient(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(w.cluster.ListenAddrs()...))...)
}

// events are the options of an import of path.
func (w *world) events(path string, set ...string) files.EventOptions {
	w.t.Helper()
	m := mapping.Mapping{Kind: mapping.Events, Map: map[string]string{
		"type": "=play_end", "profile_id": "user", "title_id": "film", "occurred_at": "at | time:unix", "watched_ms": "seconds | unit:s",
		"duration_ms": "=100 | unit:min",
	}}
	for _, s := range set {
		if err := m.Set(s); err != nil {
			w.t.Fatal(err)
		}
	}
	return files.EventOptions{
		Options:   files.Options{Path: path, Mapping: m, Namespace: "shop", BatchEvents: 500, Log: testkit.Log(w.t)},
		Publisher: w.publisher, DB: w.db, Broker: w.log,
	}
}

func (w *world) importEvents(o files.EventOptions) files.Summary {
	w.t.Helper()
	s, err := files.Events(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	if s.Events+s.Skipped+s.Rejected != s.RowsRead {
		w.t.Errorf("%d rows read and not all accounted for: %+v", s.RowsRead, s)
	}
	return s
}

// onBroker returns the events on the broker by event_id, and how many records there are.
func (w *world) onBroker() (by map[string]*ingestv1.WatchEvent, records int64) {
	w.t.Helper()
	client, err := w.newClient(kgo.ConsumeTopics(ingestv1.TopicWatchEvents))
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(w.t.Context(), ingestv1.TopicWatchEvents)
	if err != nil {
		w.t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { records += o.Offset })
	by = make(map[string]*ingestv1.WatchEvent)
	for read := int64(0); read < records; {
		fetches := client.PollFetches(w.t.Context())
		if err := fetches.Err(); err != nil {
			w.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			e := new(ingestv1.WatchEvent)
			if err := proto.Unmarshal(r.Value, e); err != nil {
				w.t.Fatal(err)
			}
			by[e.EventId] = e
			read++
		})
	}
	return by, records
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// plays is a CSV file of n watches, from the row first on.
func plays(first, n int) string {
	var b strings.Builder
	for i := first; i < first+n; i++ {
		fmt.Fprintf(&b, "u%d,f%d,%d,%d\n", i%97, i%31, 1_600_000_000+i, i%6000)
	}
	return b.String()
}

const header = "user,film,at,seconds\n"

func TestTheSameEventsWhateverTheForm(t *testing.T) {
	type row struct {
		User    string `parquet:"user" json:"user"`
		Film    string `parquet:"film" json:"film"`
		At      int64  `parquet:"at" json:"at"`
		Seconds int64  `parquet:"seconds" json:"seconds"`
	}
	var rows []row
	var lines, packed bytes.Buffer
	for i := range 700 {
		rows = append(rows, row{fmt.Sprint("u", i%97), fmt.Sprint("f", i%31), int64(1_600_000_000 + i), int64(i % 6000)})
		if err := json.NewEncoder(&lines).Encode(rows[i]); err != nil {
			t.Fatal(err)
		}
	}
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(header + plays(0, 700))); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := parquet.Write(&table, rows); err != nil {
		t.Fatal(err)
	}
	// The forms have one name each but one namespace, and events are what rows say: whatever the form, they are the same events.
	w := newWorld(t)
	for n, path := range []string{
		write(t, "plays.csv", header+plays(0, 700)), write(t, "plays.csv.gz", packed.String()), write(t, "plays.jsonl", lines.String()),
		write(t, "plays.parquet", table.String()),
	} {
		s := w.importEvents(w.events(path))
		if s.Events != 700 || !s.Finished || s.Rejected != 0 {
			t.Errorf("%s: %+v", path, s)
		}
		by, records := w.onBroker()
		if len(by) != 700 || records != int64(700*(n+1)) {
			t.Errorf("%s: %d events in %d records, want 700 and %d", path, len(by), records, 700*(n+1))
		}
		for _, e := range by {
			if !strings.HasPrefix(e.ProfileId, "shop:u") || e.ImportId != "file:shop" || e.DurationMs != 6_000_000 || e.ReceivedAt == 0 {
				t.Fatalf("event %v", e)
			}
		}
	}
	s, err := files.Events(t.Context(), func() files.EventOptions {
		o := w.events("-")
		o.Mapping.Format.Type = "csv"
		o.Stdin = strings.NewReader(header + plays(0, 700))
		return o
	}())
	if by, _ := w.onBroker(); err != nil || s.Events != 700 || len(by) != 700 {
		t.Errorf("standard input: %v, %+v, %d events in all", err, s, len(by))
	}
}

// failing refuses from some batch on, as a broker that is gone for good.
type failing struct {
	imports.Publisher
	left int
}

func (f *failing) Begin(ctx context.Context, events []*ingestv1.WatchEvent) (*ingest.Pending, error) {
	if f.left--; f.left < 0 {
		return nil, errAway
	}
	return f.Publisher.Begin(ctx, events)
}

// TestInterruptedAnywhere: however often an import stops, the rows are events once each, and rows behind the cursor are not read again.
func TestInterruptedAnywhere(t *testing.T) {
	w := newWorld(t)
	const rows = 20_000
	path := write(t, "plays.csv", header+plays(0, rows))
	rng := rand.New(rand.NewPCG(1, 2))
	var runs int
	var read int64
	for {
		o := w.events(path)
		o.Publisher = &failing{w.publisher, rng.IntN(6)}
		s, err := files.Events(t.Context(), o)
		if read != s.RowsBefore {
			t.Fatalf("run %d goes on after row %d, the last came to %d", runs, s.RowsBefore, read)
		}
		read += s.RowsRead
		if runs++; err == nil {
			break
		}
		if !errors.Is(err, errAway) || !strings.Contains(err.Error(), fmt.Sprintf("%d rows of %s are imported, run the import again", read, path)) {
			t.Fatal(err)
		}
		if runs > 200 {
			t.Fatal("no end")
		}
	}
	if by, records := w.onBroker(); len(by) != rows || read != rows || runs < 3 {
		t.Errorf("%d runs over %d rows: %d events in %d records", runs, read, len(by), records)
	}
	again := w.importEvents(w.events(path))
	if !again.Finished || again.Events != 0 || again.RowsBefore != rows {
		t.Errorf("a second run: %+v", again)
	}
}

// TestTheCursorNeverPassesWhatIsNotThere: a run that dies without a word is repeated from its last stored place.
func TestTheCursorNeverPassesWhatIsNotThere(t *testing.T) {
	w := newWorld(t)
	path := write(t, "plays.csv", header+plays(0, 5000))
	ctx, cancel := context.WithCancel(t.Context())
	o := w.events(path)
	o.Publisher = publisher(func(ctx context.Context, events []*ingestv1.WatchEvent) (*ingest.Pending, error) {
		if rowOf(events) > 2000 {
			cancel()
		}
		return w.publisher.Begin(ctx, events)
	})
	if _, err := files.Events(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	w.importEvents(w.events(path))
	if by, _ := w.onBroker(); len(by) != 5000 {
		t.Errorf("%d events of 5000 rows", len(by))
	}
}

type publisher func(ctx context.Context, events []*ingestv1.WatchEvent) (*ingest.Pending, error)

func (p publisher) Begin(ctx context.Context, events []*ingestv1.WatchEvent) (*ingest.Pending, error) {
	return p(ctx, events)
}

func rowOf(events []*ingestv1.WatchEvent) int64 {
	return events[len(events)-1].OccurredAt/1_000_000 - 1_600_000_000
}

func TestAFileThatChanged(t *testing.T) {
	w := newWorld(t)
	path := write(t, "plays.csv", header+plays(0, 1000))
	w.importEvents(w.events(path))
	grow := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	grow(header + plays(0, 1300))
	_, err := files.Events(t.Context(), w.events(path))
	if err == nil || !strings.Contains(err.Error(), "1000 rows of it are imported: --changed restart") || !strings.Contains(err.Error(), "bytes then") {
		t.Fatalf("a file that grew: %v", err)
	}
	o := w.events(path)
	o.Changed = files.ChangedContinue
	if s := w.importEvents(o); s.RowsBefore != 1000 || s.Events != 300 {
		t.Errorf("going on: %+v", s)
	}
	if _, records := w.onBroker(); records != 1300 {
		t.Errorf("%d records", records)
	}
	o = w.events(path)
	o.Changed = files.ChangedRestart
	if s := w.importEvents(o); s.RowsBefore != 0 || s.Events != 1300 {
		t.Errorf("beginning again: %+v", s)
	}
	if by, records := w.onBroker(); len(by) != 1300 || records != 2600 {
		t.Errorf("%d events in %d records", len(by), records)
	}
	grow(header + plays(5000, 10))
	o.Changed = files.ChangedContinue
	if _, err := files.Events(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is another file") {
		t.Errorf("another file: %v", err)
	}
	grow(header + plays(0, 1300))
	if _, err := files.Events(t.Context(), w.events(path, "watched_ms=seconds | unit:min")); err == nil {
		t.Error("the same rows as other events")
	}
	o = w.events(path)
	o.Changed = "perhaps"
	if _, err := files.Events(t.Context(), o); err == nil || !strings.Contains(err.Error(), `refuse, continue or restart, this is "perhaps"`) {
		t.Error(err)
	}
}

func TestAnotherMappingOfAnImportedFileIsRefused(t *testing.T) {
	w := newWorld(t)
	path := write(t, "plays.csv", header+plays(0, 100))
	w.importEvents(w.events(path))
	_, err := files.Events(t.Context(), w.events(path, "watched_ms=seconds | unit:min"))
	if err == nil || !strings.Contains(err.Error(), "mapped differently than when its import began") {
		t.Fatal(err)
	}
	if _, records := w.onBroker(); records != 100 {
		t.Errorf("%d records", records)
	}
}

// TestAnotherLogHasNoneOfIt: after a broker was lost, its rows go to the one that took its place.
func TestAnotherLogHasNoneOfIt(t *testing.T) {
	w := newWorld(t)
	path := write(t, "plays.csv", header+plays(0, 100))
	w.importEvents(w.events(path))
	o := w.events(path)
	o.Broker.ID = "two"
	if s := w.importEvents(o); s.RowsBefore != 0 || s.Events != 100 {
		t.Errorf("%+v", s)
	}
	if s := w.importEvents(o); s.Events != 0 {
		t.Errorf("again: %+v", s)
	}
}

func TestRowsThatAreWrong(t *testing.T) {
	w := newWorld(t)
	// A stretch of wrong rows longer than a batch, after a right one.
	bad := strings.Repeat("u1,f1,never,5\n", 3000)
	path := write(t, "plays.csv", header+plays(0, 1)+bad+",f1,1600000000,5\nu1,f1,1600000000\nu1,f1,1600000000,-5\n"+plays(1, 10))
	var rejects bytes.Buffer
	o := w.events(path)
	o.Rejects = &rejects
	s := w.importEvents(o)
	if s.Events != 11 || s.Rejected != 3003 || len(s.Rejections) != 100 {
		t.Errorf("%d events, %d rejected, %d listed", s.Events, s.Rejected, len(s.Rejections))
	}
	if diff := cmp.Diff(map[string]int64{"time": 3000, "missing": 1, "malformed": 1, "range": 1}, s.RejectedByReason); diff != "" {
		t.Error(diff)
	}
	lines := strings.Split(strings.TrimSpace(rejects.String()), "\n")
	var last files.Rejection
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != 3003 {
		t.Fatalf("%d rejected rows written, the last %v", len(lines), err)
	}
	if last.Line != 3005 || last.Reason != "range" || last.Field != "watched_ms" || last.Raw != "u1,f1,1600000000,-5" || last.Place() != path+":3005" {
		t.Errorf("%+v", last)
	}
	most := int64(50)
	o = w.events(write(t, "plays.csv", header+plays(0, 1)+bad))
	o.MaxErrors = &most
	if _, err := files.Events(t.Context(), o); err == nil || !strings.Contains(err.Error(), "more than 50 rows are rejected") {
		t.Error(err)
	}
	if _, err := files.Events(t.Context(), w.events(write(t, "plays.csv", header+bad))); err == nil || !strings.Contains(err.Error(), "none of the first 1000 rows") {
		t.Error(err)
	}
	if _, err := files.Events(t.Context(), w.events(write(t, "plays.csv", header+"u1,f1,never,5\n"))); err == nil || !strings.Contains(err.Error(), "no row of") {
		t.Error(err)
	}
	if _, err := files.Events(t.Context(), w.events(write(t, "plays.csv", "usr,film,at,seconds\nu,f,1600000000,5\n"))); err == nil || !strings.Contains(err.Error(), `usr`) {
		t.Errorf("a column that is not there: %v", err)
	}
	full := w.events(write(t, "plays.csv", header+plays(0, 1)+"u1,f1,never,5\n"))
	full.Rejects = fullDisk{}
	if _, err := files.Events(t.Context(), full); !errors.Is(err, errFull) {
		t.Errorf("rejected rows could not be written, and the import says %v", err)
	}
}

var errFull = errors.New("no space left")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

// TestADryRunSaysWhatAnImportDoes: the same counts and, but for the moment of arrival, the same events.
func TestADryRunSaysWhatAnImportDoes(t *testing.T) {
	w := newWorld(t)
	path := write(t, "plays.csv", header+plays(0, 50)+"u1,f1,never,5\n"+plays(50, 50))
	o := w.events(path)
	preview, err := files.DryRun(t.Context(), o.Options, 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, records := w.onBroker(); records != 0 {
		t.Fatal("a dry run published")
	}
	s := w.importEvents(o)
	if diff := cmp.Diff(s, preview.Summary); diff != "" {
		t.Errorf("an import did otherwise than its dry run said: %s", diff)
	}
	by, _ := w.onBroker()
	for _, sample := range preview.Sample {
		e := by[sample["event_id"].(string)]
		if e == nil || e.ProfileId != sample["profile_id"] || time.UnixMicro(e.OccurredAt).UTC().Format(time.RFC3339Nano) != sample["occurred_at"] || sample["type"] != "play_end" {
			t.Errorf("shown %v, landed %v", sample, e)
		}
	}
	if len(preview.Sample) != 3 {
		t.Errorf("%d events shown", len(preview.Sample))
	}
	part, err := files.DryRun(t.Context(), o.Options, 3, 10)
	if err != nil || part.RowsRead != 10 || part.Finished {
		t.Errorf("ten rows: %v, %+v", err, part)
	}
	wrong := w.events(write(t, "plays.csv", header+"u1,f1,never,5\n"))
	all, err := files.DryRun(t.Context(), wrong.Options, 3, 0)
	if err != nil || all.Rejected != 1 || all.Events != 0 {
		t.Errorf("a file of wrong rows: %v, %+v", err, all)
	}
}
