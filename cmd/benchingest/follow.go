package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	ingestv1 "marquee/ingest/v1"
)

// followEvery is how often the ledger is asked how far the sinks have come, and so the grain of the lag measured.
const followEvery = 50 * time.Millisecond

// ack is an acknowledged position, and when it was.
type ack struct {
	offset int64
	at     time.Time
}

// follower measures how long after its acknowledgement an event is in both sinks, by what the ledger says.
type follower struct {
	sinks *sinks

	mu      sync.Mutex
	pending map[int32][]ack
	last    map[int32]int64
	lag     []time.Duration
	through int64
}

func newFollower(s *sinks) *follower {
	return &follower{sinks: s, pending: make(map[int32][]ack), last: make(map[int32]int64)}
}

// acknowledged takes the positions of an answer.
func (f *follower) acknowledged(positions []*ingestv1.Position, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range positions {
		f.last[p.Partition] = max(f.last[p.Partition], p.Offset)
		f.pending[p.Partition] = append(f.pending[p.Partition], ack{p.Offset, at})
	}
}

// run follows until the context ends.
func (f *follower) run(ctx context.Context) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		if _, err := f.look(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look asks the ledger once and says whether everything acknowledged is in both sinks.
func (f *follower) look(ctx context.Context) (bool, error) {
	positions, err := f.sinks.positions(ctx)
	if err != nil {
		return false, err
	}
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	done := true
	f.through = 0
	for partition, position := range positions {
		f.through += position.Through + 1
		f.take(partition, position.Through, now)
	}
	for partition, last := range f.last {
		if at, ok := positions[partition]; !ok || at.Through < last {
			done = false
		}
	}
	return done, nil
}

// take measures what reached both sinks.
func (f *follower) take(partition int32, through int64, now time.Time) {
	kept := f.pending[partition][:0]
	for _, a := range f.pending[partition] {
		if a.offset <= through {
			f.lag = append(f.lag, now.Sub(a.at))
			continue
		}
		kept = append(kept, a)
	}
	f.pending[partition] = kept
}

// stored is how many offsets of the log are in both sinks.
func (f *follower) stored() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.through
}

// drained waits until everything acknowledged is in both sinks by the ledger's account.
func (f *follower) drained(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	tick := time.NewTicker(followEvery / 5)
	defer tick.Stop()
	for {
		done, err := f.look(ctx)
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the sinks did not get everything: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// drainTimeout bounds how long the sinks may take to catch up.
const drainTimeout = 5 * time.Minute
