package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"marquee/catalog/store"
	catalogv1 "marquee/catalog/v1"
	"marquee/internal/db"
	"marquee/internal/logid"
)

const (
	leaseName = "catalog-relay"
	// transactionalID is the relay's identity at the broker. A new relay's first act bumps its epoch there, and from then
	// on the broker refuses what a paused predecessor may still send: the fence that a lease in a database cannot be.
	transactionalID = "marquee-catalog-relay"
	// relayRetryFirst and relayRetryMost bound the wait after a failure, which doubles each time.
	relayRetryFirst = 200 * time.Millisecond
	relayRetryMost  = 10 * time.Second
	// relayCleanup bounds what a relay does after its work was cut off.
	relayCleanup = 5 * time.Second
)

// relay publishes the outbox.
type relay struct {
	cfg     Config
	db      *db.DB
	store   *store.Store
	book    *logid.Book
	clients Clients
	holder  string
	log     *slog.Logger

	published, failures prometheus.Counter
	pending, leading    prometheus.Gauge

	// nudge wakes the relay; one waiting nudge is as good as many.
	nudge chan struct{}

	mu sync.Mutex
	// moved is closed and replaced when something was published or went wrong.
	moved chan struct{}
	last  error
}

// run publishes until ctx ends. When stop is closed it publishes what is left and then returns.
func (r *relay) run(ctx context.Context, stop <-chan struct{}) {
	defer r.leftover(ctx)
	wait := relayRetryFirst
	for ctx.Err() == nil {
		worked, err := r.session(ctx, stop)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			return
		}
		r.failed(err)
		if worked {
			wait = relayRetryFirst
		}
		select {
		case <-ctx.Done():
		case <-stop:
			// One more failure and the rest is left to the next start: nothing is lost, it is in the outbox.
			if _, err := r.session(ctx, stop); err != nil {
				r.failed(err)
			}
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, relayRetryMost)
	}
}

// session leads from taking the lease until stop or an error, and says whether it published anything.
//
// The order is what keeps an old revision from following a newer one. After the lease comes the epoch, which fences
// every earlier relay; then the lease is checked again, since a later relay may have taken both meanwhile; and only what
// is read from the outbox after that is published.
func (r *relay) session(ctx context.Context, stop <-chan struct{}) (worked bool, err error) {
	lease, err := r.lead(ctx, stop)
	if lease == nil || err != nil {
		return false, err
	}
	r.leading.Set(1)
	defer func() {
		r.leading.Set(0)
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), relayCleanup)
		defer cancel()
		err = errors.Join(err, lease.Release(cleanup))
	}()
	client, err := r.clients.NewClient(
		kgo.TransactionalID(transactionalID),
		kgo.DefaultProduceTopic(catalogv1.TopicTitleChanges),
		kgo.RequiredAcks(kgo.AllISRAcks()),
	)
	if err != nil {
		return false, err
	}
	defer client.Close()
	if err := r.follow(lease.Context(), client); err != nil {
		return false, err
	}
	if _, _, err := client.ProducerID(lease.Context()); err != nil {
		return false, fmt.Errorf("become the one publisher of title changes: %w", err)
	}
	if err := lease.Check(lease.Context(), r.db); err != nil {
		return false, err
	}
	return r.publishAll(lease, client, stop)
}

// follow makes sure that the broker's topic is the one that the outbox is published to: what left the outbox is on that
// one alone.
func (r *relay) follow(ctx context.Context, client *kgo.Client) error {
	log, err := logid.Of(ctx, client, catalogv1.TopicTitleChanges)
	if err != nil {
		return err
	}
	_, err = r.book.Follow(ctx, "the catalogue's outbox", logid.Entry{Log: log})
	return err
}

// refused returns why the broker's topic must not be published to, or nil.
func (r *relay) refused() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := (*logid.OtherError)(nil); errors.As(r.last, &other) {
		return other
	}
	return nil
}

// lead waits for the lease. It returns none when stop is closed first.
func (r *relay) lead(ctx context.Context, stop <-chan struct{}) (*db.Lease, error) {
	for {
		lease, err := r.db.AcquireLease(ctx, leaseName, r.holder, r.cfg.RelayLease)
		if !errors.Is(err, db.ErrLeaseHeld) {
			return lease, err
		}
		r.log.Debug("another process publishes title changes", "error", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-stop:
			return nil, nil
		case <-time.After(min(r.cfg.RelayLease/4, time.Second)):
		}
	}
}

func (r *relay) publishAll(lease *db.Lease, client *kgo.Client, stop <-chan struct{}) (worked bool, err error) {
	ctx := lease.Context()
	poll := time.NewTicker(r.cfg.RelayPoll)
	defer poll.Stop()
	for {
		stopping := false
		select {
		case <-stop:
			stopping = true
		default:
		}
		n, err := r.publish(ctx, lease, client)
		if err != nil {
			return worked, err
		}
		worked = worked || n > 0
		if n > 0 {
			continue
		}
		if stopping {
			return worked, nil
		}
		select {
		case <-ctx.Done():
			return worked, context.Cause(ctx)
		case <-stop:
		case <-r.nudge:
		case <-poll.C:
		}
	}
}

// publish puts one batch of the outbox on the topic, in one transaction, and removes it from the outbox.
func (r *relay) publish(ctx context.Context, lease *db.Lease, client *kgo.Client) (int, error) {
	titles, err := r.store.Outbox(ctx, r.cfg.RelayBatch)
	if err != nil {
		return 0, err
	}
	if len(titles) == 0 {
		r.pending.Set(0)
		r.tell(nil)
		return 0, nil
	}
	records := make([]*kgo.Record, len(titles))
	for i, t := range titles {
		value, err := proto.Marshal(t)
		if err != nil {
			return 0, fmt.Errorf("write title %q: %w", t.GetTitleId(), err)
		}
		records[i] = &kgo.Record{Key: []byte(t.GetTitleId()), Value: value}
	}
	last := titles[len(titles)-1].GetRevision()
	if err := produce(ctx, client, records); err != nil {
		return 0, fmt.Errorf("publish title changes up to revision %d: %w", last, err)
	}
	if err := r.store.Acknowledge(ctx, lease, last); err != nil {
		return 0, err
	}
	r.published.Add(float64(len(records)))
	if left, err := r.store.Pending(ctx); err == nil {
		r.pending.Set(float64(left))
	}
	r.tell(nil)
	return len(records), nil
}

// produce writes records in one transaction. After an error the client is of no more use and is to be closed; the next
// relay's epoch ends what was left open.
func produce(ctx context.Context, client *kgo.Client, records []*kgo.Record) error {
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), relayCleanup)
		defer cancel()
		return errors.Join(err, client.EndTransaction(cleanup, kgo.TryAbort))
	}
	return client.EndTransaction(ctx, kgo.TryCommit)
}

// leftover says at the end what the next start has to publish.
func (r *relay) leftover(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), relayCleanup)
	defer cancel()
	if left, err := r.store.Pending(ctx); err != nil || left > 0 {
		r.log.Info("stopped publishing title changes; the rest waits in the outbox", "titles", left, "error", err)
	}
}

func (r *relay) failed(err error) {
	r.failures.Inc()
	r.log.Warn("publish title changes; trying again", "error", err)
	r.tell(err)
}

// wake tells the relay that there is something to publish.
func (r *relay) wake() {
	select {
	case r.nudge <- struct{}{}:
	default:
	}
}

// tell notes how the last attempt went and wakes those who wait in flush.
func (r *relay) tell(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = err
	close(r.moved)
	r.moved = make(chan struct{})
}

// flush waits until the outbox is empty, whichever process publishes.
func (r *relay) flush(ctx context.Context) error {
	again := time.NewTicker(r.cfg.RelayPoll)
	defer again.Stop()
	left := int64(0)
	for {
		r.mu.Lock()
		moved, last := r.moved, r.last
		r.mu.Unlock()
		n, err := r.store.Pending(ctx)
		if err == nil && n == 0 {
			return nil
		}
		if other := (*logid.OtherError)(nil); errors.As(last, &other) {
			return errors.Join(fmt.Errorf("%d changed titles are not published", n), last)
		}
		if ctx.Err() == nil {
			left = n
		}
		r.wake()
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%d changed titles are not published yet: %w", left, context.Cause(ctx)), err, last)
		case <-moved:
		case <-again.C:
		}
	}
}
