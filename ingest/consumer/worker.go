package consumer

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"marquee/ingest/ledger"
	"marquee/ingest/sink"
	"marquee/ingest/suppression"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
	"marquee/internal/crashpoint"
	"marquee/internal/lake"
)

// recentList is how old the list of erased profiles may be that a range is gathered by. What it lacks is left out when the range is
// fixed.
const recentList = time.Second

// recordOverhead is what a record costs in memory beyond its key and value.
const recordOverhead = 160

const (
	// busyRecords within a flush interval make a partition a busy one, whose ranges may take busyFlushes flush intervals.
	busyRecords = 5_000
	busyFlushes = 3
)

// worker owns one partition while this process has it.
type worker struct {
	m         *Module
	log       *slog.Logger
	partition int32
	owner     *ledger.Owner
	// base makes positions of the log's offsets. Everything in here but what is asked of the broker is in positions.
	base int64

	// stopping ends the waiting for records; work also ends what is being written.
	stopping context.Context
	finish   context.CancelFunc
	work     context.Context
	cancel   context.CancelFunc
	done     chan struct{}

	highWater atomic.Int64

	mu     sync.Mutex
	queue  [][]*kgo.Record
	closed bool
	queued chan struct{}

	// The rest belongs to run.

	// next is the offset the next new range starts at; position that of the next record to take.
	next     int64
	position int64
	// open is a range that was fixed and must be finished before another is cut.
	open *ledger.Range
	// taking are records taken off the queue and not yet gathered.
	taking  []*kgo.Record
	starved bool
	decoder watchevent.Decoder
	current gathering
}

// gathering is the range being gathered.
type gathering struct {
	batch *sink.Batch
	// erased is the list of erased profiles that the batch was gathered by.
	erased  *suppression.Set
	dead    []*kgo.Record
	records int
	bytes   int64
	last    int64
	since   time.Time
}

func (m *Module) newWorker(partition int32, owner *ledger.Owner, next int64, open *ledger.Range) *worker {
	w := &worker{
		m: m, log: m.log.With("partition", partition), partition: partition, owner: owner, base: owner.Base(), next: next, position: next, open: open,
		queued: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if open != nil {
		w.position = open.First
	}
	w.work, w.cancel = context.WithCancel(context.Background())
	w.stopping, w.finish = context.WithCancel(w.work)
	return w
}

// abandon ends the worker at once and waits until it is gone.
func (w *worker) abandon() {
	w.cancel()
	<-w.done
}

// put queues records; it never blocks.
func (w *worker) put(records []*kgo.Record) {
	if len(records) == 0 {
		return
	}
	var bytes int64
	for _, r := range records {
		bytes += size(r)
		r.Offset += w.base
	}
	w.mu.Lock()
	if !w.closed {
		w.m.hold(bytes)
		w.queue = append(w.queue, records)
	}
	w.mu.Unlock()
	select {
	case w.queued <- struct{}{}:
	default:
	}
}

// dequeue returns the next queued records, or nil.
func (w *worker) dequeue() []*kgo.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return nil
	}
	records := w.queue[0]
	w.queue[0] = nil
	w.queue = w.queue[1:]
	return records
}

func size(r *kgo.Record) int64 { return int64(len(r.Key)+len(r.Value)) + recordOverhead }

// run gathers and writes ranges until the worker is stopped or fenced.
func (w *worker) run() {
	defer close(w.done)
	defer w.discard()
	w.current.batch = w.m.batches.Get().(*sink.Batch)
	if w.open != nil {
		w.log.Info("finishing the range that was in flight", "range", w.open.String(), "fixed_under_epoch", w.open.Epoch)
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !w.isStopping() {
		if err := w.step(timer); err != nil {
			w.ended(err)
			return
		}
	}
}

// ended reports why a worker stopped before it was told to. Unless its partition is taken away meanwhile, it is claimed
// again: the group may well mean this process to have it.
func (w *worker) ended(err error) {
	switch {
	case w.work.Err() != nil:
		w.log.Info("range in flight abandoned to the partition's next owner")
		return
	case errors.Is(err, ledger.ErrFenced):
		w.m.metrics.fenced.Inc()
		w.log.Warn("fenced: another consumer has claimed the partition")
	default:
		w.log.Error("partition stopped", "error", err)
	}
	w.m.claimAgain(w.partition)
}

// step takes what is queued, or waits for it.
func (w *worker) step(timer *time.Timer) error {
	for w.taking = w.dequeue(); w.taking != nil; w.taking = w.dequeue() {
		for len(w.taking) > 0 {
			if w.isStopping() {
				return nil
			}
			r := w.taking[0]
			w.taking = w.taking[1:]
			if err := w.take(r); err != nil {
				return err
			}
		}
	}
	w.setStarved(w.open != nil)
	wait := time.Hour
	if w.open == nil && w.current.records > 0 {
		if wait = w.m.patience(w.current.records) - time.Since(w.current.since); wait <= 0 {
			return w.cut()
		}
	}
	timer.Reset(wait)
	select {
	case <-w.queued:
	case <-timer.C:
	case <-w.stopping.Done():
	}
	return nil
}

// patience is how long after its first record a range of so many records is cut. One of a busy partition may grow for
// longer: what the warehouse spends on merging goes by the number of ranges more than by their size.
func (m *Module) patience(records int) time.Duration {
	if records < busyRecords || m.buffered.Load() > m.cfg.BufferBytes/2 {
		return m.cfg.FlushInterval
	}
	return busyFlushes * m.cfg.FlushInterval
}

func (w *worker) isStopping() bool { return w.stopping.Err() != nil }

// setStarved tells the poll loop whether this worker waits for records of an open range.
func (w *worker) setStarved(starved bool) {
	if starved == w.starved {
		return
	}
	w.starved = starved
	if starved {
		w.m.starved.Add(1)
		w.m.signalRoom()
	} else {
		w.m.starved.Add(-1)
	}
}

// take adds one record to the range being gathered and writes the range when it is full.
func (w *worker) take(r *kgo.Record) error {
	if w.open != nil && r.Offset > w.open.Last {
		// The open range's last records are gone from the log; this one belongs to the next range.
		if err := w.write(*w.open); err != nil {
			return err
		}
	}
	if r.Offset < w.position {
		w.m.release(size(r))
		return nil
	}
	if r.Offset > w.position {
		w.log.Warn("the log has a gap", "first", w.position, "last", r.Offset-1)
	}
	w.add(r)
	c := &w.current
	switch {
	case w.open != nil && r.Offset == w.open.Last:
		return w.write(*w.open)
	case w.open == nil && (c.records >= w.m.cfg.BatchEvents || c.bytes >= w.m.cfg.BatchBytes):
		return w.cut()
	}
	return nil
}

// add decodes a record into the range being gathered.
func (w *worker) add(r *kgo.Record) {
	c := &w.current
	if c.records == 0 {
		c.since = time.Now()
		c.erased = w.m.suppressed.Recent(w.work, recentList)
	}
	c.records++
	c.bytes += size(r)
	c.last = r.Offset
	w.position = r.Offset + 1
	if r.Attrs.IsControl() || isBlank(r) {
		return
	}
	if c.erased.Has(string(r.Key)) {
		w.m.metrics.erased.Inc()
		return
	}
	e, refusal := w.decoder.Read(watchevent.Record{Value: r.Value, ContentType: contentType(r), Timestamp: r.Timestamp.UnixMicro()})
	if refusal != nil {
		w.m.metrics.dead.WithLabelValues(string(refusal.Reason)).Inc()
		c.batch.AddDead()
		c.dead = append(c.dead, deadLetter(r, r.Offset-w.base, refusal))
		return
	}
	if e.ProfileId != string(r.Key) && c.erased.Has(e.ProfileId) {
		w.m.metrics.erased.Inc()
		return
	}
	c.batch.Add(e, w.partition, r.Offset)
}

// isBlank says that a record is what erasing left of one.
func isBlank(r *kgo.Record) bool { return r.Key == nil && r.Value == nil }

func contentType(r *kgo.Record) string {
	for _, h := range r.Headers {
		if h.Key == ingestv1.HeaderContentType {
			return string(h.Value)
		}
	}
	return ""
}

// cut fixes what was gathered as the next range, and writes it.
func (w *worker) cut() error {
	crashpoint.At(crashpoint.LedgerBefore)
	var r ledger.Range
	err := w.retry("ledger", func(ctx context.Context) error {
		for {
			erased, err := w.screen(ctx)
			if err != nil {
				return err
			}
			if r, err = w.owner.Fix(ctx, w.next, w.current.last, erased.Hold); !errors.Is(err, suppression.ErrChanged) {
				return err
			}
		}
	})
	if err != nil {
		return err
	}
	crashpoint.At(crashpoint.LedgerFixed)
	w.open = &r
	return w.write(r)
}

// screen leaves out of the range being gathered what profiles sent that were erased since, and returns the list it went by. A range
// is fixed only while that list holds: so what is erased is in the ranges fixed before, and in none after.
func (w *worker) screen(ctx context.Context) (*suppression.Set, error) {
	erased, err := w.m.suppressed.Now(ctx)
	if err != nil {
		return nil, err
	}
	c := &w.current
	if c.erased == nil || erased.Generation() != c.erased.Generation() {
		before := c.batch.Len() + len(c.dead)
		c.batch.Remove(erased.Has)
		c.dead = slices.DeleteFunc(c.dead, func(letter *kgo.Record) bool { return erased.Has(string(letter.Key)) })
		c.batch.SetDead(int64(len(c.dead)))
		c.erased = erased
		w.m.metrics.erased.Add(float64(before - c.batch.Len() - len(c.dead)))
	}
	return erased, nil
}

// write brings a fixed range into both sinks, side by side, and records each.
func (w *worker) write(r ledger.Range) error {
	w.setStarved(false)
	c := &w.current
	started := time.Now()
	var group errgroup.Group
	if !r.InWarehouse {
		group.Go(func() error { return w.writeWarehouse(r, c) })
	}
	if !r.InLake {
		group.Go(func() error { return w.writeLake(r, c) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	crashpoint.At(crashpoint.CommitBefore)
	w.open = nil
	w.next = r.Last + 1
	w.position = max(w.position, w.next)
	w.m.client.MarkCommitOffsets(map[string]map[int32]kgo.EpochOffset{topic: {w.partition: {Epoch: -1, Offset: w.next - w.base}}})
	crashpoint.At(crashpoint.CommitMarked)
	w.observe(started)
	w.m.release(c.bytes)
	c.reset()
	return nil
}

func (c *gathering) reset() {
	c.batch.Reset()
	*c = gathering{batch: c.batch}
}

// writeWarehouse also sends the range's dead letters: the range counts as in the warehouse when both are done.
func (w *worker) writeWarehouse(r ledger.Range, c *gathering) error {
	crashpoint.At(crashpoint.WarehouseBefore)
	if err := w.retry("dead_letters", func(ctx context.Context) error { return w.m.sendDead(ctx, c.dead) }); err != nil {
		return err
	}
	err := w.m.inserts.take(w.work, func() error {
		return w.retry("warehouse", func(ctx context.Context) error { return w.m.warehouse.Write(ctx, r, c.batch) })
	})
	if err != nil {
		return err
	}
	crashpoint.At(crashpoint.WarehouseDone)
	err = w.retry("ledger", func(ctx context.Context) error {
		return w.owner.InWarehouse(ctx, r, int64(c.batch.Len()), c.batch.Dead())
	})
	crashpoint.At(crashpoint.WarehouseMarked)
	return err
}

func (w *worker) writeLake(r ledger.Range, c *gathering) error {
	if crashpoint.OutOfOrder() {
		if err := w.retry("ledger", func(ctx context.Context) error { return w.owner.InLake(ctx, r, nil) }); err != nil {
			return err
		}
	}
	crashpoint.At(crashpoint.LakeBefore)
	var files []lake.FileInfo
	err := w.m.files.take(w.work, func() error {
		return w.retry("lake", func(ctx context.Context) error {
			var err error
			files, err = w.m.lake.Write(ctx, r, c.batch)
			return err
		})
	})
	if err != nil {
		return err
	}
	crashpoint.At(crashpoint.LakeDone)
	err = w.retry("ledger", func(ctx context.Context) error { return w.owner.InLake(ctx, r, files) })
	crashpoint.At(crashpoint.LakeMarked)
	return err
}

// observe feeds the metrics about a range that is done.
func (w *worker) observe(started time.Time) {
	c := &w.current
	label := strconv.Itoa(int(w.partition))
	w.m.metrics.events.Add(float64(c.batch.Len()))
	w.m.metrics.rows.Observe(float64(c.batch.Len()))
	w.m.metrics.rangeSeconds.Observe(time.Since(started).Seconds())
	w.m.metrics.lag.WithLabelValues(label).Set(float64(max(w.highWater.Load()-w.next, 0)))
	if c.records > 0 {
		w.m.metrics.freshness.Observe(time.Since(c.since).Seconds())
	}
}

// discard lets go of what was not written.
func (w *worker) discard() {
	w.cancel()
	w.setStarved(false)
	w.mu.Lock()
	w.closed = true
	left := append(w.queue, w.taking)
	w.queue = nil
	w.mu.Unlock()
	bytes := w.current.bytes
	for _, records := range left {
		for _, r := range records {
			bytes += size(r)
		}
	}
	w.m.release(bytes)
	w.current.batch.Reset()
	w.m.batches.Put(w.current.batch)
	w.m.metrics.lag.DeleteLabelValues(strconv.Itoa(int(w.partition)))
}
