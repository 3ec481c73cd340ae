package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"marquee/ingest/suppression"
	ingestv1 "marquee/ingest/v1"
)

// MaxEventBytes bounds one event on the wire. The contract's own limits keep every event below it; only unknown fields
// can exceed it.
const MaxEventBytes = 64 << 10

// Errors of a broker that did not take an event. The event may still be on it: sending it again is right, and harmless.
var (
	// ErrUnavailable means the broker did not acknowledge in time.
	ErrUnavailable = errors.New("the broker did not acknowledge the event")
	// ErrFull means the broker has no room for it until retention, or somebody, has made some. It is an ErrUnavailable.
	ErrFull = fmt.Errorf("%w, it has no room", ErrUnavailable)
	// ErrBusy means too many events are waiting for the broker.
	ErrBusy = errors.New("too many events are waiting for the broker")
	// ErrTooLarge means the event exceeds MaxEventBytes; sending it again is useless.
	ErrTooLarge = errors.New("the event is too large")
)

// errErased marks an event that was left out.
var errErased = errors.New("the profile is erased")

// recentList is how old the list of erased profiles may be that events are left out by.
const recentList = time.Second

// ClientFactory opens a client of the broker; (*broker.Broker).NewClient is one.
type ClientFactory func(opts ...kgo.Opt) (*kgo.Client, error)

// Outcome is what became of one event: its place in the log, or why it has none.
type Outcome struct {
	Partition int32
	Offset    int64
	Err       error
	// Erased says that the event was left out because its profile is erased; it has no place then, and no error.
	Erased bool
}

// Publisher puts events on the broker and waits until every in-sync replica has them on disk. It is safe for concurrent
// use.
type Publisher struct {
	client    *kgo.Client
	timeout   time.Duration
	erased    *suppression.List
	published *prometheus.CounterVec
	latency   prometheus.Histogram
}

// NewPublisher opens a producer on the broker. Close it to release its connections.
func NewPublisher(cfg Config, newClient ClientFactory, reg prometheus.Registerer) (*Publisher, error) {
	client, err := newClient(
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(cfg.Linger),
		kgo.MaxBufferedRecords(cfg.PublishBufferEvents),
		kgo.RecordDeliveryTimeout(cfg.PublishTimeout),
		// An event whose fate is unknown is reported as not acknowledged rather than waited for: its sender retries it
		// under the same event_id, and readers count it once.
		kgo.AllowIdempotentProduceCancellation(),
		kgo.DefaultProduceTopic(ingestv1.TopicWatchEvents),
	)
	if err != nil {
		return nil, fmt.Errorf("open the event publisher: %w", err)
	}
	p := &Publisher{
		client:  client,
		timeout: cfg.PublishTimeout,
		published: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "marquee_ingest_published_events_total",
			Help: "Events handed to the broker, by outcome: acknowledged, erased (left out), unavailable, full, busy or too_large.",
		}, []string{"outcome"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "marquee_ingest_publish_seconds",
			Help:    "Time from handing a batch of events to the broker until its acknowledgement.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
	}
	if err := register(reg, p.published, p.latency); err != nil {
		client.Close()
		return nil, err
	}
	return p, nil
}

// LeaveOut makes the publisher leave out the events of erased profiles, as far as the list of a moment ago knows them; the consumer
// leaves out the rest. It must be called before the first event is published.
func (p *Publisher) LeaveOut(erased *suppression.List) { p.erased = erased }

// Close flushes nothing: every Publish has waited for its own events. It ends the producer's connections.
func (p *Publisher) Close() { p.client.Close() }

// Ping asks whether the broker answers.
func (p *Publisher) Ping(ctx context.Context) error { return p.client.Ping(ctx) }

// Publish hands valid, stamped events to the broker and returns one outcome an event, in order, once each is
// acknowledged or given up on. When too many events are waiting already it turns the rest away with ErrBusy at once. The
// error is the first outcome's error; outcomes are valid even then. A context that ends early ends the wait, not the
// publishing: events that were not answered are ErrUnavailable and may still arrive.
func (p *Publisher) Publish(ctx context.Context, events []*ingestv1.WatchEvent) ([]Outcome, error) {
	pending, err := p.begin(ctx, events, p.client.TryProduce)
	if err != nil {
		return nil, err
	}
	// The client gives a record up only between its own attempts, which can be seconds late; whoever waits is told in time.
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	return pending.Wait(ctx)
}

// Begin hands events to the broker as Publish does, but waits for room when too many are waiting, and not for the
// answers: bulk work overlaps batches that way. Events of one profile stay in the order of the Begin calls.
func (p *Publisher) Begin(ctx context.Context, events []*ingestv1.WatchEvent) (*Pending, error) {
	return p.begin(ctx, events, p.client.Produce)
}

type produceFunc func(context.Context, *kgo.Record, func(*kgo.Record, error))

func (p *Publisher) begin(ctx context.Context, events []*ingestv1.WatchEvent, produce produceFunc) (*Pending, error) {
	b := &Pending{publisher: p, start: time.Now(), records: make([]kgo.Record, len(events)), answered: make(chan struct{})}
	b.left.Store(int64(len(events)))
	if len(events) == 0 {
		close(b.answered)
		return b, nil
	}
	if err := b.encode(events); err != nil {
		return nil, err
	}
	// One sender's disconnect must not fail events of others that wait in the same broker batch, so what is produced
	// is not bound to the caller's context, only to the timeout.
	produceCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.timeout)
	b.cancel = cancel
	var erased *suppression.Set
	if p.erased != nil {
		erased = p.erased.Recent(ctx, recentList)
	}
	for i := range b.records {
		r := &b.records[i]
		if erased != nil && erased.Has(events[i].ProfileId) {
			b.done(r, errErased)
			continue
		}
		if len(r.Value) > MaxEventBytes {
			b.done(r, fmt.Errorf("%w: %d bytes, at most %d are right", ErrTooLarge, len(r.Value), MaxEventBytes))
			continue
		}
		produce(produceCtx, r, b.done)
	}
	return b, nil
}

// count feeds the metrics and returns the first error.
func (p *Publisher) count(outcomes []Outcome) error {
	var first error
	var acknowledged, erased, unavailable, full, busy, large int
	for i := range outcomes {
		switch err := outcomes[i].Err; {
		case outcomes[i].Erased:
			erased++
			continue
		case err == nil:
			acknowledged++
			continue
		case errors.Is(err, ErrBusy):
			busy++
		case errors.Is(err, ErrFull):
			full++
		case errors.Is(err, ErrTooLarge):
			large++
		default:
			unavailable++
		}
		if first == nil {
			first = outcomes[i].Err
		}
	}
	p.published.WithLabelValues("acknowledged").Add(float64(acknowledged))
	p.published.WithLabelValues("erased").Add(float64(erased))
	p.published.WithLabelValues("unavailable").Add(float64(unavailable))
	p.published.WithLabelValues("full").Add(float64(full))
	p.published.WithLabelValues("busy").Add(float64(busy))
	p.published.WithLabelValues("too_large").Add(float64(large))
	return first
}

// Pending is a batch of events on its way to the broker: one allocation for all records, one for all their bytes.
type Pending struct {
	publisher *Publisher
	start     time.Time
	records   []kgo.Record
	cancel    context.CancelFunc
	left      atomic.Int64
	answered  chan struct{}

	mu     sync.Mutex
	failed map[*kgo.Record]error
}

func (b *Pending) encode(events []*ingestv1.WatchEvent) error {
	total := 0
	for _, e := range events {
		total += proto.Size(e) + len(e.ProfileId)
	}
	buf := make([]byte, 0, total)
	for i, e := range events {
		key := len(buf)
		buf = append(buf, e.ProfileId...)
		value := len(buf)
		var err error
		// The sizes were computed a moment ago, in this call.
		if buf, err = (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(buf, e); err != nil {
			return fmt.Errorf("encode event %d: %w", i, err)
		}
		r := &b.records[i]
		r.Key, r.Value = buf[key:value:value], buf[value:len(buf):len(buf)]
		// The time to deliver a record counts from its timestamp, as does the broker's retention: not the event's received_at, which its
		// maker may have stamped by another clock.
		r.Timestamp = b.start
	}
	return nil
}

// done is called, once a record, when its fate is known.
func (b *Pending) done(r *kgo.Record, err error) {
	if err != nil {
		b.mu.Lock()
		if b.failed == nil {
			b.failed = make(map[*kgo.Record]error)
		}
		b.failed[r] = err
		b.mu.Unlock()
	}
	if b.left.Add(-1) == 0 {
		b.cancel()
		close(b.answered)
	}
}

// Wait returns one outcome an event, in order; see Publish.
func (b *Pending) Wait(ctx context.Context) ([]Outcome, error) {
	outcomes := make([]Outcome, len(b.records))
	select {
	case <-b.answered:
	case <-ctx.Done():
		for i := range outcomes {
			outcomes[i].Err = fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
		return outcomes, b.publisher.count(outcomes)
	}
	for i := range b.records {
		r := &b.records[i]
		outcomes[i] = Outcome{Partition: r.Partition, Offset: r.Offset}
	}
	for i := range b.records {
		if len(b.failed) == 0 {
			break
		}
		if err, ok := b.failed[&b.records[i]]; errors.Is(err, errErased) {
			outcomes[i] = Outcome{Erased: true}
		} else if ok {
			outcomes[i] = Outcome{Err: reason(err)}
		}
	}
	b.publisher.latency.Observe(time.Since(b.start).Seconds())
	return outcomes, b.publisher.count(outcomes)
}

// reason names the client's error in this package's terms.
func reason(err error) error {
	switch {
	case errors.Is(err, ErrTooLarge):
		return err
	case errors.Is(err, kgo.ErrMaxBuffered):
		return ErrBusy
	case errors.Is(err, kerr.PolicyViolation), errors.Is(err, kerr.KafkaStorageError):
		return fmt.Errorf("%w: %w", ErrFull, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
}

func register(reg prometheus.Registerer, collectors ...prometheus.Collector) error {
	for _, c := range collectors {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("register ingest metrics: %w", err)
		}
	}
	return nil
}
