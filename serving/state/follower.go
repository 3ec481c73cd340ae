package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

// HistoryLoader gives the state its start.
type HistoryLoader interface {
	// Load gives every profile's latest titles, at most titles of them, as events: one a play, one a like or dislike, one
	// a list entry, one for clicks, in any order. It returns, for every partition of the log it knows, the first
	// offset whose event is not in what it gave.
	Load(ctx context.Context, titles int, give func(Event)) (map[int32]int64, error)
}

// Erased returns the list of erased profiles: a number that changes whenever the list does, and whether a profile is on it. It is
// asked once a second and for every batch of events.
type Erased func() (generation int64, erased func(profileID string) bool)

// Connect opens a client of the broker.
type Connect func(opts ...kgo.Opt) (*kgo.Client, error)

// Follower fills a Store: from a HistoryLoader first, then from the log, to whose end it keeps up until stopped.
type Follower struct {
	cfg     Config
	store   *Store
	loader  HistoryLoader // nil: the log is all there is
	connect Connect
	log     *slog.Logger
	metrics *metrics
	marks   watermarks
	// reader belongs to the goroutine that follows.
	reader reader
	// erased is nil where nobody can be; generation is of the list that the store was last gone over by.
	erased     Erased
	generation int64

	cancel context.CancelFunc
	done   sync.WaitGroup
	ready  atomic.Bool
	// bare: history could not be loaded.
	bare  atomic.Bool
	phase atomic.Pointer[string]
	// caughtUp is the latest instant whose log is known to be wholly in the state, Unix ns.
	caughtUp atomic.Int64
}

// erasedEvery is how often the list of erased profiles is looked at when no events come.
const erasedEvery = time.Second

// NewFollower makes a follower; Start sets it going. Without a loader the log is read from its beginning.
func NewFollower(cfg Config, store *Store, connect Connect, loader HistoryLoader, log *slog.Logger, reg prometheus.Registerer) *Follower {
	f := &Follower{cfg: cfg, store: store, loader: loader, connect: connect, log: log}
	f.metrics = newMetrics(reg, store, f)
	f.say("not started")
	return f
}

// LeaveOut makes the follower leave out events of erased profiles, and the store forget those profiles within a second or two. It must be
// called before Start.
func (f *Follower) LeaveOut(erased Erased) { f.erased = erased }

// leftOut returns who is to be left out. When the list has changed, the store forgets whom it names. Only the goroutine that applies
// events calls it, so that no event of an erased profile can come in behind.
func (f *Follower) leftOut() func(profileID string) bool {
	if f.erased == nil {
		return func(string) bool { return false }
	}
	generation, erased := f.erased()
	if generation != f.generation {
		if n := f.store.ForgetAll(erased); n > 0 {
			f.log.Info("erased profiles forgotten", "profiles", n)
		}
		f.generation = generation
	}
	return erased
}

func (f *Follower) say(phase string) { f.phase.Store(&phase) }

// Start begins to load and follow, in goroutines that run until Stop.
func (f *Follower) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.say("loading history")
	f.done.Go(func() { f.run(ctx) })
	return nil
}

// Stop ends the goroutines and waits for them.
func (f *Follower) Stop(ctx context.Context) error {
	if f.cancel == nil {
		return nil
	}
	f.cancel()
	stopped := make(chan struct{})
	go func() {
		f.done.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop following the watch events: %w", ctx.Err())
	}
}

// Ready returns nil once the state holds everything the log held when following began. It stays ready when it falls
// behind later: then Stale says so.
func (f *Follower) Ready(context.Context) error {
	if f.ready.Load() {
		return nil
	}
	return errors.New(*f.phase.Load())
}

// Stale reports whether the state has been behind the log for longer than allowed, or lacks the history that the log no
// longer holds.
func (f *Follower) Stale() bool { return f.bare.Load() || f.staleFor() > f.cfg.StaleAfter }

func (f *Follower) staleFor() time.Duration {
	at := f.caughtUp.Load()
	if at == 0 {
		return math.MaxInt64
	}
	return time.Duration(time.Now().UnixNano() - at)
}

// WaitFor returns when the events at the positions are in the state. It fails with ErrUnknownPartition, or with the
// context's error when that ends first.
func (f *Follower) WaitFor(ctx context.Context, positions []Position) error {
	return f.marks.wait(ctx, positions)
}

// Watermarks are, by partition of the log, the offset that will be applied next.
func (f *Follower) Watermarks() map[int32]int64 { return f.marks.all() }

func (f *Follower) run(ctx context.Context) {
	marks := f.load(ctx)
	for pause := 100 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 5*time.Second) {
		err := f.follow(ctx, marks)
		if ctx.Err() != nil {
			return
		}
		f.say(fmt.Sprintf("cannot follow the watch events: %v", err))
		f.log.Error("following the watch events failed, trying again", "error", err, "pause", pause)
		if m := f.marks.all(); len(m) > 0 {
			marks = m
		}
		wait(ctx, pause)
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// Loading history is tried so often, with growing pauses: an embedded warehouse whose process ended is back in a second.
const (
	loadAttempts   = 5
	firstLoadPause = 200 * time.Millisecond
)

// load fills the store from the loader. A loader that fails for good must not keep the service down: the log still holds
// what its retention holds, and answers say that they are not from all there is.
func (f *Follower) load(ctx context.Context) map[int32]int64 {
	if f.loader == nil {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, f.cfg.LoadTimeout)
	defer cancel()
	pause := firstLoadPause
	for attempt := 1; ; attempt++ {
		marks, err := f.loadOnce(bounded)
		if err == nil {
			return marks
		}
		// Loaded twice, a play that is no longer open would count twice.
		f.store.clear()
		if attempt == loadAttempts || bounded.Err() != nil {
			f.bare.Store(true)
			f.metrics.historyMissing.Set(1)
			f.log.Error("history could not be loaded; profiles know only what the log still holds", "error", err)
			return nil
		}
		f.log.Warn("history could not be loaded, trying again", "error", err, "pause", pause)
		wait(bounded, pause)
		pause *= 2
	}
}

func (f *Follower) loadOnce(ctx context.Context) (map[int32]int64, error) {
	began := time.Now()
	n := 0
	marks, err := f.loader.Load(ctx, f.cfg.MaxTitles+f.cfg.MaxSeen, func(e Event) {
		f.store.Apply(e)
		n++
	})
	if err != nil {
		return nil, err
	}
	f.metrics.loadSeconds.Set(time.Since(began).Seconds())
	f.log.Info("history loaded", "interactions", n, "profiles", f.store.Profiles(), "took", time.Since(began).Round(time.Millisecond))
	return marks, nil
}

// follow reads the log from the marks on until the context ends or the client is of no more use.
func (f *Follower) follow(ctx context.Context, marks map[int32]int64) error {
	f.say("waiting for the broker")
	client, err := f.connect(kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords(),
		kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return fmt.Errorf("open a broker client: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	starts, ends, err := listBounds(ctx, admin)
	if err != nil {
		return err
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{ingestv1.TopicWatchEvents: f.begin(marks, starts, ends)})
	f.say(fmt.Sprintf("%d events behind the log", f.marks.behind(ends)))

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watch sync.WaitGroup
	watch.Go(func() { f.watch(ctx, client, admin, ends) })
	defer watch.Wait()
	defer cancel()
	f.announce(ends)
	for {
		polling, done := context.WithTimeout(ctx, erasedEvery)
		fetches := client.PollRecords(polling, 10_000)
		done()
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return ctx.Err()
		}
		erased := f.leftOut()
		fetches.EachPartition(func(p kgo.FetchTopicPartition) { f.applyPartition(p, erased) })
		for _, e := range fetches.Errors() {
			if errors.Is(e.Err, context.DeadlineExceeded) {
				continue // nothing came for a while
			}
			f.log.Warn("reading the watch events", "partition", e.Partition, "error", e.Err)
		}
		f.announce(ends)
	}
}

// announce makes the follower ready once what the log held at the start is in the state.
func (f *Follower) announce(ends map[int32]int64) {
	if f.ready.Load() || f.marks.behind(ends) > 0 {
		return
	}
	f.caughtUp.CompareAndSwap(0, time.Now().UnixNano())
	f.ready.Store(true)
	f.log.Info("profile state caught up with the log", "profiles", f.store.Profiles())
}

// begin sets the marks for the partitions there are and returns where to read each from.
func (f *Follower) begin(marks, starts, ends map[int32]int64) map[int32]kgo.Offset {
	next := make(map[int32]int64, len(ends))
	from := make(map[int32]kgo.Offset, len(ends))
	for p, end := range ends {
		next[p] = marks[p]
		if next[p] > end {
			// The log begins anew (an embedded broker whose records had all expired counts from 0 again). What is read
			// twice merges; what is skipped would be lost.
			f.log.Warn("the log ends before the state's mark; reading it from the beginning", "partition", p, "mark", next[p], "end", end)
			next[p] = 0
		}
		// What retention took away will never be read: waiting for it would be for ever.
		next[p] = max(next[p], starts[p])
		from[p] = kgo.NewOffset().At(next[p])
	}
	f.marks.set(next)
	return from
}

func (f *Follower) applyPartition(p kgo.FetchTopicPartition, erased func(string) bool) {
	if len(p.Records) == 0 {
		return
	}
	next := f.marks.of(p.Partition)
	for _, r := range p.Records {
		if r.Offset < next {
			f.metrics.replayed.Inc()
			continue
		}
		f.applyRecord(r, erased)
		next = r.Offset + 1
	}
	f.marks.move(p.Partition, next)
}

func (f *Follower) applyRecord(r *kgo.Record, erased func(string) bool) {
	// A record without key and value is what erasing left of one.
	if r.Attrs.IsControl() || r.Key == nil && r.Value == nil {
		return
	}
	event, err := f.reader.read(watchevent.Record{Value: r.Value, ContentType: contentType(r), Timestamp: r.Timestamp.UnixMicro()})
	if err != nil {
		// The ingest consumer puts it on the dead-letter topic; here it is only counted.
		f.metrics.undecodable.Inc()
		f.log.Debug("skipped a record that is no watch event", "partition", r.Partition, "offset", r.Offset, "error", err)
		return
	}
	if erased(event.ProfileID) {
		return
	}
	f.store.Apply(event)
	f.metrics.applied.Inc()
}

func contentType(r *kgo.Record) string {
	for _, h := range r.Headers {
		if h.Key == ingestv1.HeaderContentType {
			return string(h.Value)
		}
	}
	return ""
}

// watch measures how far behind the state is, and takes in partitions that were added.
func (f *Follower) watch(ctx context.Context, client *kgo.Client, admin *kadm.Client, ends map[int32]int64) {
	tick := time.NewTicker(min(time.Second, f.cfg.StaleAfter/4))
	defer tick.Stop()
	at := time.Now()
	known := maps.Clone(ends)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		lag := f.marks.behind(ends)
		f.metrics.lag.Set(float64(lag))
		if lag > 0 {
			if !f.ready.Load() {
				f.say(fmt.Sprintf("%d events behind the log", lag))
			}
		} else {
			f.caughtUp.Store(at.UnixNano())
			f.ready.Store(true)
		}
		asked := time.Now()
		bounded, cancel := context.WithTimeout(ctx, f.cfg.StaleAfter)
		_, latest, err := listBounds(bounded, admin)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				f.log.Warn("the log's end cannot be asked for", "error", err)
			}
			continue
		}
		f.addPartitions(client, known, latest)
		if lag == 0 {
			ends, at = latest, asked
		}
	}
}

func (f *Follower) addPartitions(client *kgo.Client, known, latest map[int32]int64) {
	for p := range latest {
		if _, ok := known[p]; !ok {
			f.log.Info("a partition was added to the log", "partition", p)
			known[p] = 0
			f.marks.move(p, 0)
			client.AddConsumePartitions(map[string]map[int32]kgo.Offset{ingestv1.TopicWatchEvents: {p: kgo.NewOffset().AtStart()}})
		}
	}
}

// listBounds returns each partition's first offset and its end: the offset its next event will get.
func listBounds(ctx context.Context, admin *kadm.Client) (starts, ends map[int32]int64, err error) {
	first, err := admin.ListStartOffsets(ctx, ingestv1.TopicWatchEvents)
	if err != nil {
		return nil, nil, fmt.Errorf("ask for the first offsets of topic %s: %w", ingestv1.TopicWatchEvents, err)
	}
	last, err := admin.ListEndOffsets(ctx, ingestv1.TopicWatchEvents)
	if err != nil {
		return nil, nil, fmt.Errorf("ask for the ends of topic %s: %w", ingestv1.TopicWatchEvents, err)
	}
	if err := errors.Join(first.Error(), last.Error()); err != nil {
		return nil, nil, fmt.Errorf("ask for the offsets of topic %s: %w", ingestv1.TopicWatchEvents, err)
	}
	starts, ends = offsets(first), offsets(last)
	if len(ends) == 0 {
		return nil, nil, fmt.Errorf("topic %s does not exist yet", ingestv1.TopicWatchEvents)
	}
	return starts, ends, nil
}

func offsets(listed kadm.ListedOffsets) map[int32]int64 {
	out := make(map[int32]int64)
	for _, o := range listed[ingestv1.TopicWatchEvents] {
		out[o.Partition] = o.Offset
	}
	return out
}
