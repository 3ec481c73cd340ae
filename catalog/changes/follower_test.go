package changes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	catalogv1 "marquee/catalog/v1"
)

// broker is a kfake cluster with the topic as the real one is set up.
type broker struct {
	*kfake.Cluster
}

func newBroker(t *testing.T) broker {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	b := broker{c}
	b.makeTopic(t)
	return b
}

func (b broker) makeTopic(t *testing.T) {
	t.Helper()
	if err := b.CreateTopic(catalogv1.TopicTitleChanges, 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
}

func (b broker) NewClient(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(b.ListenAddrs()...))...)
}

func (b broker) publish(t *testing.T, records ...*kgo.Record) {
	t.Helper()
	cl, err := b.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, r := range records {
		// One batch a record, so that compaction has segments to work on.
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// publishTx leaves a transaction's marker as the last thing in the topic.
func (b broker) publishTx(t *testing.T, how kgo.TransactionEndTry, records ...*kgo.Record) {
	t.Helper()
	cl, err := b.NewClient(kgo.TransactionalID("test"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := cl.EndTransaction(t.Context(), how); err != nil {
		t.Fatal(err)
	}
}

func record(t *testing.T, title *catalogv1.Title) *kgo.Record {
	return &kgo.Record{Topic: catalogv1.TopicTitleChanges, Key: []byte(title.GetTitleId()), Value: encode(t, title)}
}

// collector is a handler that keeps everything.
type collector struct {
	mu      sync.Mutex
	batches [][]*catalogv1.Title
	// fail is how many calls fail first.
	fail int
}

func (c *collector) handle(_ context.Context, batch []*catalogv1.Title) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail > 0 {
		c.fail--
		return errors.New("warehouse is away")
	}
	c.batches = append(c.batches, batch)
	return nil
}

// seen lists what was handled as "id@revision", in order.
func (c *collector) seen() (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.batches {
		for _, t := range b {
			out = append(out, fmt.Sprintf("%s@%d", t.GetTitleId(), t.GetRevision()))
		}
	}
	return out
}

func follow(t *testing.T, clients Clients, handle Handler) *Follower {
	t.Helper()
	f := New("test", clients, handle, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return f
}

func caughtUp(t *testing.T, f *Follower) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := f.CaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestFollowerReadsFromTheStartAndGoesOn(t *testing.T) {
	b := newBroker(t)
	titles := NewTitles()
	f := follow(t, b, titles.Apply)
	caughtUp(t, f) // an empty topic is no reason to wait
	for i := range int64(20) {
		b.publish(t, record(t, film(fmt.Sprint("f", i%5), i+1)))
		caughtUp(t, f)
		if titles.Revision() != i+1 {
			t.Fatalf("caught up at revision %d, want %d", titles.Revision(), i+1)
		}
	}
	late := NewTitles()
	caughtUp(t, follow(t, b, late.Apply))
	if late.Len() != 5 || late.Revision() != 20 {
		t.Errorf("a late reader has %d titles at revision %d", late.Len(), late.Revision())
	}
}

func TestFollowerHandsOutEachTitleByGrowingRevision(t *testing.T) {
	b := newBroker(t)
	b.publish(t, record(t, film("a", 1)), record(t, film("b", 2)), record(t, film("a", 3)), record(t, film("b", 2)), record(t, film("a", 1)))
	var c collector
	f := follow(t, b, c.handle)
	caughtUp(t, f)
	b.publish(t, record(t, film("a", 2)), record(t, film("b", 2)), record(t, film("c", 4)))
	caughtUp(t, f)
	last := map[string]int64{}
	for _, batch := range c.batches {
		for _, title := range batch {
			if title.GetRevision() <= last[title.GetTitleId()] {
				t.Errorf("%s went from revision %d to %d", title.GetTitleId(), last[title.GetTitleId()], title.GetRevision())
			}
			last[title.GetTitleId()] = title.GetRevision()
		}
	}
	if last["a"] != 3 || last["b"] != 2 || last["c"] != 4 {
		t.Errorf("ended at %v", last)
	}
}

func TestFollowerPassesOverWhatIsNoTitle(t *testing.T) {
	b := newBroker(t)
	b.publish(t,
		&kgo.Record{Topic: catalogv1.TopicTitleChanges, Key: []byte("a"), Value: []byte("not a title")},
		record(t, film("b", 1)),
		&kgo.Record{Topic: catalogv1.TopicTitleChanges, Key: []byte("b")},
		&kgo.Record{Topic: catalogv1.TopicTitleChanges, Key: []byte("x"), Value: encode(t, film("b", 9))},
	)
	var c collector
	f := follow(t, b, c.handle)
	caughtUp(t, f)
	if got := c.seen(); !slices.Equal(got, []string{"b@1"}) {
		t.Errorf("handled %q", got)
	}
	if n := testutil.ToFloat64(f.broken); n != 3 {
		t.Errorf("%v broken records counted, want 3", n)
	}
}

func TestFollowerTriesAgainWhenTheHandlerFails(t *testing.T) {
	b := newBroker(t)
	c := collector{fail: 2}
	f := follow(t, b, c.handle)
	b.publish(t, record(t, film("a", 1)))
	caughtUp(t, f)
	if got := c.seen(); !slices.Equal(got, []string{"a@1"}) {
		t.Errorf("handled %q", got)
	}
	if n := testutil.ToFloat64(f.failures); n != 2 {
		t.Errorf("%v failures counted, want 2", n)
	}
}

// TestFollowerReachesAnEndThatIsNoTitle ends the topic with transaction markers, and with a compacted log.
func TestFollowerReachesAnEndThatIsNoTitle(t *testing.T) {
	b := newBroker(t)
	b.publishTx(t, kgo.TryCommit, record(t, film("a", 1)), record(t, film("b", 2)))
	b.publishTx(t, kgo.TryCommit, record(t, film("a", 3)))
	b.publishTx(t, kgo.TryAbort, record(t, film("c", 4)))
	titles := NewTitles()
	caughtUp(t, follow(t, b, titles.Apply))
	b.Compact()
	after := NewTitles()
	caughtUp(t, follow(t, b, after.Apply))
	for name, c := range map[string]*Titles{"before": titles, "after": after} {
		if a, ok := c.Get("a"); !ok || a.Revision != 3 {
			t.Errorf("%s compaction: a = %+v", name, a)
		}
		if _, ok := c.Get("b"); !ok {
			t.Errorf("%s compaction: b is gone", name)
		}
	}
}

func TestCaughtUpWaitsForTheTopic(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := broker{c}
	titles := NewTitles()
	f := follow(t, b, titles.Apply)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := f.CaughtUp(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("CaughtUp without a topic = %v", err)
	}
	b.makeTopic(t)
	b.publish(t, record(t, film("a", 1)))
	caughtUp(t, f)
	if titles.Len() != 1 {
		t.Errorf("%d titles", titles.Len())
	}
}

func TestCaughtUpSaysHowFarBehind(t *testing.T) {
	b := newBroker(t)
	b.publish(t, record(t, film("a", 1)), record(t, film("b", 2)))
	f := follow(t, b, func(ctx context.Context, _ []*catalogv1.Title) error {
		<-ctx.Done()
		return ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := f.CaughtUp(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("CaughtUp = %v", err)
	}
}

type noClients struct{}

func (noClients) NewClient(...kgo.Opt) (*kgo.Client, error) { return nil, errors.New("no broker here") }

func TestFollowerThatCannotRun(t *testing.T) {
	f := New("test", noClients{}, NewTitles().Apply, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err := f.Run(t.Context()); err == nil {
		t.Error("ran without a client")
	}
	if err := f.CaughtUp(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("CaughtUp = %v, want ErrStopped", err)
	}
	if err := f.Run(t.Context()); err == nil {
		t.Error("ran twice")
	}
}
