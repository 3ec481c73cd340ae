package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	ingestv1 "marquee/ingest/v1"
)

const partitions = 3

// broker starts a Kafka broker inside the test, with the topic of watch events, and returns how to connect to it.
func broker(t *testing.T) Connect {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, ingestv1.TopicWatchEvents))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return func(opts ...kgo.Opt) (*kgo.Client, error) {
		return kgo.NewClient(append(opts, kgo.SeedBrokers(cluster.ListenAddrs()...))...)
	}
}

// producer writes records to partitions of the test's choice.
func producer(t *testing.T, connect Connect) func(partition int32, contentType string, value []byte) Position {
	t.Helper()
	client, err := connect(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return func(partition int32, contentType string, value []byte) Position {
		t.Helper()
		r := &kgo.Record{Topic: ingestv1.TopicWatchEvents, Partition: partition, Value: value}
		if contentType != "" {
			r.Headers = []kgo.RecordHeader{{Key: ingestv1.HeaderContentType, Value: []byte(contentType)}}
		}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		return Position{Partition: r.Partition, Offset: r.Offset}
	}
}

func encoded(t *testing.T, profile, title string, i int) []byte {
	t.Helper()
	w := watchEvent()
	w.ProfileId, w.TitleId, w.PlayId, w.DurationMs, w.WatchedMs, w.Autoplay = profile, title, fmt.Sprint(i), film, film, false
	w.OccurredAt += int64(i)
	value, err := proto.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// loaded is a HistoryLoader over events in memory.
type loaded struct {
	events []Event
	next   map[int32]int64
	err    error
}

func (l loaded) Load(_ context.Context, _ int, give func(Event)) (map[int32]int64, error) {
	for _, e := range l.events {
		give(e)
	}
	return l.next, l.err
}

func follow(t *testing.T, cfg Config, connect Connect, loader HistoryLoader) (*Store, *Follower) {
	t.Helper()
	s, _ := newStore(t, cfg)
	f := NewFollower(cfg, s, connect, loader, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, f
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never %s", what)
		}
	}
}

func awaitReady(t *testing.T, f *Follower) {
	t.Helper()
	until(t, "ready", func() bool { return f.Ready(t.Context()) == nil })
}

func TestFollowsTheLogFromItsBeginning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	connect := broker(t)
	produce := producer(t, connect)
	for i := range 30 {
		produce(int32(i%partitions), "", encoded(t, fmt.Sprint("p", i%5), fmt.Sprint("t", i), i))
	}
	s, f := follow(t, DefaultConfig(), connect, nil)
	awaitReady(t, f)
	if s.Profiles() != 5 {
		t.Errorf("%d profiles, want 5", s.Profiles())
	}
	if f.Stale() {
		t.Error("stale when it has just caught up")
	}

	w := watchEvent()
	w.ProfileId = "json"
	text, err := protojson.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	positions := []Position{produce(1, ingestv1.ContentTypeJSON, text), produce(2, "", encoded(t, "proto", "x", 99))}
	if err := f.WaitFor(t.Context(), positions); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"json", "proto"} {
		if !s.Read(p, &History{}) {
			t.Errorf("profile %s is not known after WaitFor", p)
		}
	}
}

func TestStartsFromLoadedHistoryAndSkipsWhatItHolds(t *testing.T) {
	connect := broker(t)
	produce := producer(t, connect)
	for i := range 10 {
		produce(0, "", encoded(t, "p", fmt.Sprint("t", i), i))
	}
	loader := loaded{next: map[int32]int64{0: 9}}
	for i := range 9 {
		loader.events = append(loader.events, watch("p", fmt.Sprint("t", i), fmt.Sprint(i), start+int64(i), film))
	}
	s, f := follow(t, DefaultConfig(), connect, loader)
	awaitReady(t, f)
	var h History
	s.Read("p", &h)
	if len(h.Entries) != 10 || h.Events != 10 {
		t.Errorf("%d titles from %d events, want 10 from 10", len(h.Entries), h.Events)
	}
	for _, e := range h.Entries {
		if e.Strength != 1 {
			t.Errorf("strength %v, want 1", e.Strength)
		}
	}
}

func TestHistoryThatCannotBeLoadedIsReadFromTheLog(t *testing.T) {
	connect := broker(t)
	produce := producer(t, connect)
	produce(0, "", encoded(t, "p", "a", 1))
	cfg := DefaultConfig()
	cfg.LoadTimeout = 50 * time.Millisecond
	s, f := follow(t, cfg, connect, loaded{next: map[int32]int64{0: 1}, err: errors.New("warehouse gone")})
	awaitReady(t, f)
	if !s.Read("p", &History{}) {
		t.Error("the log was not read from its beginning")
	}
	if got := testutil.ToFloat64(f.metrics.historyMissing); got != 1 {
		t.Errorf("history_missing = %v, want 1", got)
	}
	if !f.Stale() {
		t.Error("answers from half of the history do not say so")
	}
}

// interrupted is a HistoryLoader that breaks off once.
type interrupted struct {
	loaded

	calls int
}

func (l *interrupted) Load(ctx context.Context, titles int, give func(Event)) (map[int32]int64, error) {
	next, err := l.loaded.Load(ctx, titles, give)
	if l.calls++; l.calls == 1 {
		return nil, errors.New("warehouse restarting")
	}
	return next, err
}

func TestHistoryIsLoadedAgainWhenTheWarehouseRestarts(t *testing.T) {
	connect := broker(t)
	producer(t, connect)(0, "", encoded(t, "p", "a", 1))
	loader := &interrupted{loaded: loaded{next: map[int32]int64{0: 1}}}
	// More plays of one title than a profile holds open: given twice, the first of them would count twice.
	for i := range 2 * openPlays {
		loader.events = append(loader.events, watch("p", "t", fmt.Sprint(i), start+int64(i), film/16))
	}
	want, _ := newStore(t, DefaultConfig())
	for _, e := range loader.events {
		want.Apply(e)
	}
	s, f := follow(t, DefaultConfig(), connect, loader)
	awaitReady(t, f)
	var got, expected History
	s.Read("p", &got)
	want.Read("p", &expected)
	if len(got.Entries) != 1 || got.Entries[0] != expected.Entries[0] || got.Events != expected.Events {
		t.Errorf("history %+v, want %+v", got, expected)
	}
	if f.Stale() || testutil.ToFloat64(f.metrics.historyMissing) != 0 {
		t.Error("history is said to be missing")
	}
}

func TestMarkBeyondTheLogReadsItAnew(t *testing.T) {
	connect := broker(t)
	producer(t, connect)(0, "", encoded(t, "p", "a", 1))
	s, f := follow(t, DefaultConfig(), connect, loaded{next: map[int32]int64{0: 1000}})
	awaitReady(t, f)
	if !s.Read("p", &History{}) {
		t.Error("an event was lost behind a mark from before the log began anew")
	}
}

func TestWhatIsNoEventIsSkippedAndCounted(t *testing.T) {
	connect := broker(t)
	produce := producer(t, connect)
	produce(0, "", []byte{0xff, 0xff})
	produce(0, ingestv1.ContentTypeJSON, []byte("{not json"))
	produce(0, "text/csv", []byte("a,b"))
	produce(0, "", encoded(t, "p", "a", 1))
	s, f := follow(t, DefaultConfig(), connect, nil)
	awaitReady(t, f)
	if !s.Read("p", &History{}) {
		t.Error("a broken record cost its neighbour")
	}
	if got := testutil.ToFloat64(f.metrics.undecodable); got != 3 {
		t.Errorf("undecodable = %v, want 3", got)
	}
}

func TestWaitForGivesUp(t *testing.T) {
	connect := broker(t)
	_, f := follow(t, DefaultConfig(), connect, nil)
	awaitReady(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := f.WaitFor(ctx, []Position{{Partition: 0, Offset: 5}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitFor an event that never comes = %v", err)
	}
	err := f.WaitFor(t.Context(), []Position{{Partition: 7}})
	if !errors.Is(err, ErrUnknownPartition) || !strings.Contains(err.Error(), "partitions 0 to 2") {
		t.Errorf("WaitFor a partition that is not there = %v", err)
	}
}

func TestStaleWhenTheBrokerIsGone(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, ingestv1.TopicWatchEvents))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	cfg := DefaultConfig()
	cfg.StaleAfter = 200 * time.Millisecond
	_, f := follow(t, cfg, func(opts ...kgo.Opt) (*kgo.Client, error) {
		return kgo.NewClient(append(opts, kgo.SeedBrokers(cluster.ListenAddrs()...))...)
	}, nil)
	awaitReady(t, f)
	until(t, "fresh", func() bool { return !f.Stale() })
	cluster.Close()
	until(t, "stale", f.Stale)
	if err := f.Ready(t.Context()); err != nil {
		t.Errorf("not ready any more: %v; stale state still serves", err)
	}
}

func TestReadySaysWhatItWaitsFor(t *testing.T) {
	refuse := func(...kgo.Opt) (*kgo.Client, error) { return nil, errors.New("connection refused") }
	_, f := follow(t, DefaultConfig(), refuse, nil)
	until(t, "a reason", func() bool {
		err := f.Ready(t.Context())
		return err != nil && strings.Contains(err.Error(), "connection refused")
	})
}
