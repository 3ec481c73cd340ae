package consumer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"marquee/ingest"
	"marquee/ingest/events"
	"marquee/ingest/ledger"
	"marquee/ingest/sink"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
	"marquee/internal/db"
	"marquee/internal/lake"
	"marquee/internal/testkit"
)

// world is a broker, a database and a lake that outlive the modules of a test.
type world struct {
	t       *testing.T
	cluster *kfake.Cluster
	db      *db.DB
	lake    *lake.Lake
	cfg     ingest.Config
	// warehouse gets what every module writes.
	warehouse *recorder
	publisher *ingest.Publisher
	published map[string]bool
}

const partitions = 4

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, cfg: ingest.DefaultConfig(), warehouse: newRecorder(), published: make(map[string]bool)}
	w.cfg.FlushInterval = 20 * time.Millisecond
	w.cluster = newCluster(t)
	var err error
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
	w.openPublisher()
	return w
}

func newCluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic), kfake.SeedTopics(1, ingestv1.TopicDeadLetters))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (w *world) newClient(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(w.cluster.ListenAddrs()...))...)
}

func (w *world) openPublisher() {
	w.t.Helper()
	p, err := ingest.NewPublisher(w.cfg, w.newClient, prometheus.NewRegistry())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.Close)
	w.publisher = p
}

// module makes a module that is not started yet.
func (w *world) module() *Module {
	w.t.Helper()
	m, err := New(w.cfg, Deps{NewClient: w.newClient, DB: w.db, Lake: w.lake, Registerer: prometheus.NewRegistry(), Log: testkit.Log(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	m.warehouse = w.warehouse
	return m
}

func (w *world) start(m *Module) *Module {
	w.t.Helper()
	if err := m.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return m
}

// stop stops a module in order.
func (w *world) stop(m *Module) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := m.Stop(ctx); err != nil {
		w.t.Error(err)
	}
}

// crash stops a module without letting it finish anything.
func (w *world) crash(m *Module) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	// That ranges were in flight is the point.
	_ = m.Stop(ctx)
}

// publish sends n events, the first number first; sending a number again sends the same event.
func (w *world) publish(first, n int) {
	w.t.Helper()
	var list []*ingestv1.WatchEvent
	now := time.Now().UnixMicro()
	for i := first; i < first+n; i++ {
		e := event(i)
		watchevent.StampLive(e, now)
		list = append(list, e)
		w.published[e.EventId] = true
	}
	for part := range slices.Chunk(list, 1000) {
		if _, err := w.publisher.Publish(w.t.Context(), part); err != nil {
			w.t.Fatal(err)
		}
	}
}

func event(i int) *ingestv1.WatchEvent {
	const at = 1_790_000_000_000_000 // an event sent again is the same in every field
	return &ingestv1.WatchEvent{
		EventId: watchevent.FormatID(watchevent.DeriveID(at, fmt.Sprint(i))), SchemaVersion: 1,
		ProfileId: fmt.Sprintf("p%d", i%53), TitleId: fmt.Sprintf("t%d", i%17), PlayId: fmt.Sprint(i),
		Type: ingestv1.EventType_EVENT_TYPE_PLAY_END, OccurredAt: at, WatchedMs: 1000, DurationMs: 2000,
	}
}

func (w *world) caughtUp(m *Module) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 60*time.Second)
	defer cancel()
	if err := m.CaughtUp(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// checkEvents compares what was acknowledged with what is in both sinks.
func (w *world) checkEvents() {
	w.t.Helper()
	set, err := events.Open(w.t.Context(), w.lake)
	if err != nil {
		w.t.Fatal(err)
	}
	inLake := make(map[string]bool)
	for r, err := range set.Events(w.t.Context()) {
		if err != nil {
			w.t.Fatal(err)
		}
		id := watchevent.FormatID(r.EventID)
		if inLake[id] {
			w.t.Errorf("event %s is read twice", id)
		}
		inLake[id] = true
	}
	if missing, extra := difference(w.published, inLake); missing+extra > 0 {
		w.t.Errorf("lake: %d of %d events missing, %d too many", missing, len(w.published), extra)
	}
	inWarehouse := w.warehouse.ids()
	if missing, extra := difference(w.published, inWarehouse); missing+extra > 0 {
		w.t.Errorf("warehouse: %d of %d events missing, %d too many", missing, len(w.published), extra)
	}
	if gaps := set.Gaps(); len(gaps) > 0 {
		w.t.Errorf("gaps in the lake: %v", gaps)
	}
}

// check is checkEvents, and that ranges follow each other.
func (w *world) check(m *Module) {
	w.t.Helper()
	w.checkEvents()
	for p := range int32(partitions) {
		ranges, err := m.Ledger().Ranges(w.t.Context(), topic, p)
		if err != nil {
			w.t.Fatal(err)
		}
		next := int64(0)
		for _, r := range ranges {
			if r.First != next || r.State != ledger.Done {
				w.t.Errorf("range %v (%s) should start at %d and be done", r, r.State, next)
			}
			next = r.Last + 1
		}
	}
	for name, n := range w.warehouse.rangesCut() {
		if n > 1 {
			w.t.Errorf("range %s reached the warehouse with %d different contents", name, n)
		}
	}
}

func difference(want, got map[string]bool) (missing, extra int) {
	for id := range want {
		if !got[id] {
			missing++
		}
	}
	for id := range got {
		if !want[id] {
			extra++
		}
	}
	return missing, extra
}

// recorder stands where the warehouse does, so that a test can make it fail at any moment. It keeps what it was given by
// range, once for each content.
type recorder struct {
	mu     sync.Mutex
	ranges map[string]map[string]bool
	hook   func(ctx context.Context, r ledger.Range) error
}

func newRecorder() *recorder { return &recorder{ranges: make(map[string]map[string]bool)} }

func (w *recorder) Write(ctx context.Context, r ledger.Range, b *sink.Batch) error {
	w.mu.Lock()
	hook := w.hook
	w.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, r); err != nil {
			return err
		}
	}
	contents := fmt.Sprint(b.EventIDs())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ranges[r.String()] == nil {
		w.ranges[r.String()] = make(map[string]bool)
	}
	w.ranges[r.String()][contents] = true
	return nil
}

func (w *recorder) setHook(hook func(ctx context.Context, r ledger.Range) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = hook
}

func (w *recorder) ids() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make(map[string]bool)
	for _, contents := range w.ranges {
		for text := range contents {
			for len(text) >= 37 {
				ids[text[1:37]] = true
				text = text[37:]
			}
		}
	}
	return ids
}

func (w *recorder) forget(r string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.ranges, r)
}

func (w *recorder) rangesCut() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	cut := make(map[string]int)
	for name, contents := range w.ranges {
		cut[name] = len(contents)
	}
	return cut
}

func await(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatal("did not happen within 30 s")
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func errorsContain(err error, text string) bool {
	return err != nil && strings.Contains(err.Error(), text)
}
