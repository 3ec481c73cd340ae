package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"marquee/ingest/ledger"
	"marquee/internal/logid"
)

// assign is called with the partitions this process was given, before anything of them is fetched. It claims each in the
// ledger and answers where to fetch from. A partition that must not be consumed is left out.
func (m *Module) assign(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	select {
	case <-m.up:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for partition := range offsets[topic] {
		m.drop(partition)
		offset, err := m.begin(ctx, partition, nil)
		var refused *refusedError
		if errors.As(err, &refused) {
			delete(offsets[topic], partition)
			continue
		}
		if err != nil {
			return nil, err
		}
		// No epoch: the ledger does not keep the broker's, and offsets are checked when a partition is claimed.
		offsets[topic][partition] = kgo.NewOffset().At(offset).WithEpoch(-1)
	}
	m.metrics.assigned.Set(float64(m.assigned()))
	return offsets, nil
}

// errMoved means that the group gave a partition to another process while it was being claimed again.
var errMoved = errors.New("the partition moved to another consumer")

// begin claims a partition, starts its worker in the place of a former one (nil for none) and returns the offset to
// fetch from.
func (m *Module) begin(ctx context.Context, partition int32, former *worker) (int64, error) {
	log, err := logid.Of(ctx, m.client, topic)
	if err != nil {
		return 0, err
	}
	start, end, err := m.extent(ctx, partition)
	if err != nil {
		return 0, err
	}
	w, err := m.claim(ctx, log, partition, start, end)
	var refused *refusedError
	if errors.As(err, &refused) {
		m.log.Error("partition not consumed", "partition", partition, "error", err)
		m.mu.Lock()
		m.refused[partition] = err
		m.mu.Unlock()
	}
	if err != nil {
		return 0, err
	}
	offset := w.position - w.base
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.workers[partition] != former {
		return 0, errMoved
	}
	delete(m.refused, partition)
	delete(m.again, partition)
	m.workers[partition] = w
	go w.run()
	return offset, nil
}

// extent asks the broker for a partition's first offset and the one after its last.
func (m *Module) extent(ctx context.Context, partition int32) (start, end int64, err error) {
	starts, err := m.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return 0, 0, fmt.Errorf("ask the broker where %s starts: %w", topic, err)
	}
	ends, err := m.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, 0, fmt.Errorf("ask the broker where %s ends: %w", topic, err)
	}
	first, ok := starts.Lookup(topic, partition)
	last, ok2 := ends.Lookup(topic, partition)
	if err := errors.Join(first.Err, last.Err); err != nil || !ok || !ok2 {
		return 0, 0, fmt.Errorf("ask the broker for the offsets of %s partition %d: %w", topic, partition, cmp.Or(err, errors.New("not there")))
	}
	return first.Offset, last.Offset, nil
}

// claimAgain has a partition, whose worker ended by itself, claimed again by the poll loop. Asking again meanwhile does not
// put it off.
func (m *Module) claimAgain(partition int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, due := m.again[partition]; !due {
		m.again[partition] = time.Now().Add(reclaimDelay)
	}
}

// reclaim claims partitions again that are due and still this process's by the group's account. It runs between polls,
// so that nothing fetched for the former worker reaches the new one.
func (m *Module) reclaim() {
	for partition, former := range m.due() {
		former.abandon()
		offset, err := m.begin(m.running, partition, former)
		var refused *refusedError
		switch {
		case err == nil:
			m.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{topic: {partition: {Epoch: -1, Offset: offset}}})
		case errors.As(err, &refused), errors.Is(err, errMoved), m.running.Err() != nil:
		default:
			m.log.Error("claim the partition again", "partition", partition, "error", err)
			m.claimAgain(partition)
		}
	}
}

// due takes the partitions to claim again now, with their ended workers.
func (m *Module) due() map[int32]*worker {
	m.mu.Lock()
	defer m.mu.Unlock()
	due := make(map[int32]*worker)
	for partition, at := range m.again {
		w := m.workers[partition]
		if w == nil || time.Now().After(at) {
			delete(m.again, partition)
		}
		if w != nil && time.Now().After(at) {
			due[partition] = w
		}
	}
	return due
}

func (m *Module) assigned() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.workers)
}

// refusedError says that consuming a partition would spoil what is stored.
type refusedError struct{ reason error }

func (e *refusedError) Error() string { return e.reason.Error() }
func (e *refusedError) Unwrap() error { return e.reason }

// claim takes a partition of the log over in the ledger and makes its worker, which starts where the ledger says, within
// what the broker still has: offsets start (included) to end (excluded).
func (m *Module) claim(ctx context.Context, log logid.Log, partition int32, start, end int64) (*worker, error) {
	owner, next, open, err := m.ledger.Claim(ctx, log, partition, m.holder, start)
	var other *logid.OtherError
	if errors.As(err, &other) {
		return nil, &refusedError{err}
	}
	if err != nil {
		return nil, err
	}
	// From here on everything is a position.
	start, end = start+owner.Base(), end+owner.Base()
	if next, open, err = m.catchUpWithLake(ctx, owner, partition, next, open, start); err != nil {
		return nil, err
	}
	if next > end {
		return nil, &refusedError{fmt.Errorf(
			"the ledger has partition %d of %s through offset %d, but the broker's log ends at %d: the log was replaced or lost, and its new "+
				"records would take the places of old ones. Restore the broker's data, or set the ledger, warehouse and lake aside with it",
			partition, topic, next-1, end)}
	}
	if open, err = m.loseWhole(ctx, owner, open, start); err != nil {
		return nil, err
	}
	w := m.newWorker(partition, owner, next, open)
	if open != nil && start > open.First {
		// Part of an open range is gone. What is left of it is all there will ever be.
		m.lostRecords(partition, open.First, start-1)
		w.position = start
	}
	if open == nil && start > next {
		m.lostRecords(partition, next, start-1)
		if err := owner.Skip(ctx, next, start); err != nil {
			return nil, err
		}
		w.next, w.position = start, start
	}
	return w, nil
}

// loseWhole closes an open range none of whose records the broker still has.
func (m *Module) loseWhole(ctx context.Context, owner *ledger.Owner, open *ledger.Range, start int64) (*ledger.Range, error) {
	if open == nil || start <= open.Last {
		return open, nil
	}
	m.lostRecords(open.Partition, open.First, open.Last)
	return nil, owner.Lose(ctx, *open)
}

// lostRecords reports records that retention removed before they were in both sinks. Nothing can bring them back; going
// on is right.
func (m *Module) lostRecords(partition int32, first, last int64) {
	m.metrics.lost.Add(float64(last - first + 1))
	m.log.Error("the broker removed records before they were stored: raise ingest.retention", "partition", partition, "first", first, "last", last)
}

// drop stops a partition's worker, if there is one, without waiting for its range.
func (m *Module) drop(partition int32) {
	for _, w := range m.take([]int32{partition}) {
		w.abandon()
	}
}

// revoked waits for the ranges in flight of partitions that move elsewhere, for a while, then abandons them: the next
// owner finishes them, and the ledger fences whatever is left of this one.
func (m *Module) revoked(ctx context.Context, client *kgo.Client, partitions map[string][]int32) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.RevokeTimeout)
	defer cancel()
	if n := stopAll(ctx, m.take(partitions[topic])); n > 0 {
		m.log.Warn("ranges in flight abandoned to the partitions' next owners", "ranges", n)
	}
	if err := client.CommitMarkedOffsets(ctx); err != nil {
		m.log.Warn("show the group how far the moved partitions came", "error", err)
	}
}

// lost drops partitions that others may own already.
func (m *Module) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	for _, w := range m.take(partitions[topic]) {
		w.abandon()
	}
}

// take removes partitions from the module and returns their workers.
func (m *Module) take(partitions []int32) []*worker {
	m.mu.Lock()
	defer m.mu.Unlock()
	var taken []*worker
	for _, p := range partitions {
		if w := m.workers[p]; w != nil {
			taken = append(taken, w)
			delete(m.workers, p)
		}
		delete(m.refused, p)
		delete(m.again, p)
	}
	m.metrics.assigned.Set(float64(len(m.workers)))
	return taken
}

// stopAll lets workers finish what they are in the middle of until the context ends, and returns how many did not.
func stopAll(ctx context.Context, workers []*worker) (abandoned int) {
	var wg sync.WaitGroup
	for _, w := range workers {
		w.finish()
		wg.Go(func() {
			select {
			case <-w.done:
			case <-ctx.Done():
			}
		})
	}
	wg.Wait()
	for _, w := range workers {
		select {
		case <-w.done:
		default:
			abandoned++
		}
		w.abandon()
	}
	return abandoned
}
