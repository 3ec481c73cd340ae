package changes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	catalogv1 "marquee/catalog/v1"
)

const (
	// batchRecords bounds what the handler gets at once.
	batchRecords = 5000
	// retryFirst and retryMost bound the wait after a handler's or the broker's failure, which doubles each time.
	retryFirst = 100 * time.Millisecond
	retryMost  = 10 * time.Second
)

// ErrStopped says that the follower no longer runs.
var ErrStopped = errors.New("follower of title-changes has stopped")

// Clients makes broker clients; ingest/broker does.
type Clients interface {
	NewClient(opts ...kgo.Opt) (*kgo.Client, error)
}

// Handler takes changed titles in the order of their revisions. A batch is never empty and has a title at most once; a
// title never comes with a revision lower than or equal to one that was handled. On an error the same batch comes again
// after a while, for ever: a handler must be repeatable. It must not change the titles it keeps.
type Handler func(ctx context.Context, batch []*catalogv1.Title) error

// Follower reads title-changes for one reader. Its methods are safe for concurrent use.
type Follower struct {
	clients Clients
	handle  Handler
	log     *slog.Logger

	records, broken, failures prometheus.Counter
	revision                  prometheus.Gauge

	// started is closed when client is set, stopped when Run has returned.
	started, stopped chan struct{}
	client           *kgo.Client
	run              sync.Once

	// revisions holds the highest revision handled of every title; only Run touches it.
	revisions map[string]int64

	mu sync.Mutex
	// next is the offset after the last one handled, by partition; moved is closed and replaced when it changes.
	next  map[int32]int64
	moved chan struct{}
}

// New makes a follower; Run makes it follow. reader names it in logs and metrics and must be unique in a registry.
func New(reader string, clients Clients, handle Handler, log *slog.Logger, reg prometheus.Registerer) *Follower {
	f := &Follower{
		clients: clients, handle: handle, log: log.With("reader", reader),
		records:   prometheus.NewCounter(prometheus.CounterOpts{Name: "marquee_title_changes_records_total", Help: "Records read from title-changes."}),
		broken:    prometheus.NewCounter(prometheus.CounterOpts{Name: "marquee_title_changes_undecodable_total", Help: "Records of title-changes that are not a title and were passed over."}),
		failures:  prometheus.NewCounter(prometheus.CounterOpts{Name: "marquee_title_changes_failures_total", Help: "Times that reading or handling title changes failed and was tried again."}),
		revision:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "marquee_title_changes_revision", Help: "Highest catalogue revision handled."}),
		started:   make(chan struct{}),
		stopped:   make(chan struct{}),
		revisions: make(map[string]int64),
		next:      make(map[int32]int64),
		moved:     make(chan struct{}),
	}
	prometheus.WrapRegistererWith(prometheus.Labels{"reader": reader}, reg).MustRegister(f.records, f.broken, f.failures, f.revision)
	return f
}

// Run follows until ctx ends, which is no error. It outlives failures of the broker and of the handler. Call it once.
func (f *Follower) Run(ctx context.Context) error {
	first := false
	f.run.Do(func() { first = true })
	if !first {
		return errors.New("follower of title-changes was already run")
	}
	defer close(f.stopped)
	client, err := f.clients.NewClient(
		kgo.ConsumeTopics(catalogv1.TopicTitleChanges),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// The catalogue publishes in transactions. Their markers take offsets; without them the end is never reached.
		kgo.KeepControlRecords(),
	)
	if err != nil {
		return fmt.Errorf("follow title-changes: %w", err)
	}
	defer client.Close()
	f.client = client
	close(f.started)
	for ctx.Err() == nil {
		f.poll(ctx)
	}
	return nil
}

func (f *Follower) poll(ctx context.Context) {
	fetches := f.client.PollRecords(ctx, batchRecords)
	failed := false
	fetches.EachError(func(topic string, partition int32, err error) {
		if ctx.Err() != nil {
			return
		}
		failed = true
		f.failures.Inc()
		f.log.Warn("read title changes", "topic", topic, "partition", partition, "error", err)
	})
	if fetches.NumRecords() > 0 {
		f.deliver(ctx, fetches.Records())
	} else if failed {
		_ = pause(ctx, retryFirst) // the loop looks at ctx
	}
}

// deliver handles what was read and only then moves on.
func (f *Follower) deliver(ctx context.Context, records []*kgo.Record) {
	batch := f.newest(records)
	for wait := retryFirst; len(batch) > 0; wait = min(2*wait, retryMost) {
		err := f.handle(ctx, batch)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		f.failures.Inc()
		f.log.Warn("handle title changes; trying again", "titles", len(batch), "wait", wait, "error", err)
		if pause(ctx, wait) != nil {
			return
		}
	}
	f.records.Add(float64(len(records)))
	if len(batch) > 0 {
		for _, t := range batch {
			f.revisions[t.GetTitleId()] = t.GetRevision()
		}
		f.revision.Set(float64(batch[len(batch)-1].GetRevision()))
	}
	f.advance(records)
}

// newest decodes records and leaves the latest of each title, without those handled before, by growing revision.
func (f *Follower) newest(records []*kgo.Record) []*catalogv1.Title {
	latest := make(map[string]*catalogv1.Title, len(records))
	broken := 0
	for _, r := range records {
		if r.Attrs.IsControl() {
			continue
		}
		t, err := Decode(r.Key, r.Value)
		if err != nil {
			if broken++; broken == 1 {
				f.log.Warn("record is no title", "partition", r.Partition, "offset", r.Offset, "error", err)
			}
			continue
		}
		if t.GetRevision() > f.revisions[t.GetTitleId()] && t.GetRevision() > latest[t.GetTitleId()].GetRevision() {
			latest[t.GetTitleId()] = t
		}
	}
	if broken > 0 {
		f.broken.Add(float64(broken))
		f.log.Warn("passed over records that are no titles", "records", broken)
	}
	batch := make([]*catalogv1.Title, 0, len(latest))
	for _, t := range latest {
		batch = append(batch, t)
	}
	slices.SortFunc(batch, func(a, b *catalogv1.Title) int { return cmp.Compare(a.GetRevision(), b.GetRevision()) })
	return batch
}

// advance notes how far each partition was handled. It may go back, when the topic was made anew.
func (f *Follower) advance(records []*kgo.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range records {
		f.next[r.Partition] = r.Offset + 1
	}
	close(f.moved)
	f.moved = make(chan struct{})
}

// CaughtUp returns nil when every change that was in the topic at the call has been handled. It waits for Run to have
// been called and for a broker that is not there, until ctx ends; after Run has ended it returns ErrStopped.
func (f *Follower) CaughtUp(ctx context.Context) error {
	select {
	case <-f.started:
	case <-f.stopped:
		return ErrStopped
	case <-ctx.Done():
		return fmt.Errorf("wait for the follower of title-changes to start: %w", context.Cause(ctx))
	}
	ends, err := f.ends(ctx)
	if err != nil {
		return err
	}
	for {
		behind, moved := f.behind(ends)
		if behind == 0 {
			return nil
		}
		select {
		case <-moved:
		case <-f.stopped:
			return ErrStopped
		case <-ctx.Done():
			return fmt.Errorf("title changes are %d records behind: %w", behind, context.Cause(ctx))
		}
	}
}

// ends returns the end offset of every partition that holds records.
func (f *Follower) ends(ctx context.Context) (map[int32]int64, error) {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		ends, err := f.listEnds(ctx)
		if err == nil {
			return ends, nil
		}
		select {
		case <-f.stopped:
			return nil, ErrStopped
		default:
		}
		if waitErr := pause(ctx, wait); waitErr != nil {
			return nil, fmt.Errorf("ask for the end of title-changes: %w (gave up: %w)", err, waitErr)
		}
	}
}

func (f *Follower) listEnds(ctx context.Context) (map[int32]int64, error) {
	admin := kadm.NewClient(f.client)
	starts, err := admin.ListStartOffsets(ctx, catalogv1.TopicTitleChanges)
	if err != nil {
		return nil, err
	}
	ends, err := admin.ListEndOffsets(ctx, catalogv1.TopicTitleChanges)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(starts.Error(), ends.Error()); err != nil {
		return nil, err
	}
	out := make(map[int32]int64)
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(end.Topic, end.Partition); !ok || end.Offset > start.Offset {
			out[end.Partition] = end.Offset
		}
	})
	if len(ends) == 0 {
		return nil, kerr.UnknownTopicOrPartition
	}
	return out, nil
}

func (f *Follower) behind(ends map[int32]int64) (records int64, moved <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for partition, end := range ends {
		records += max(0, end-f.next[partition])
	}
	return records, f.moved
}

// pause waits, and says why when the context ends first.
func pause(ctx context.Context, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
