package state

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
)

// ErrUnknownPartition is wrapped by WaitFor for a position in a partition the log does not have.
var ErrUnknownPartition = errors.New("unknown partition")

// Position is one event's place in the log.
type Position struct {
	Partition int32
	Offset    int64
}

// watermarks say, for every partition, up to where the log is in the state.
type watermarks struct {
	mu sync.Mutex
	// next is the first offset not applied yet. It is nil until the partitions are known.
	next map[int32]int64
	// changed is closed and replaced when next moves, if anybody waits.
	changed chan struct{}
}

// set replaces all marks.
func (w *watermarks) set(next map[int32]int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = maps.Clone(next)
	w.wake()
}

// move says that everything of a partition before next is applied.
func (w *watermarks) move(partition int32, next int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next[partition] = next
	w.wake()
}

func (w *watermarks) wake() {
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

func (w *watermarks) of(partition int32) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next[partition]
}

func (w *watermarks) all() map[int32]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.next)
}

// behind is how many offsets lie between the marks and the ends given (exclusive).
func (w *watermarks) behind(ends map[int32]int64) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var n int64
	for p, end := range ends {
		n += max(0, end-w.next[p])
	}
	return n
}

// wait returns when every position is applied, or when the context ends.
func (w *watermarks) wait(ctx context.Context, positions []Position) error {
	for {
		w.mu.Lock()
		reached, err := w.reached(positions)
		if reached || err != nil {
			w.mu.Unlock()
			return err
		}
		if w.changed == nil {
			w.changed = make(chan struct{})
		}
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (w *watermarks) reached(positions []Position) (bool, error) {
	for _, p := range positions {
		next, ok := w.next[p.Partition]
		if !ok && w.next != nil {
			return false, fmt.Errorf("%w: %d, the log has partitions 0 to %d", ErrUnknownPartition, p.Partition, len(w.next)-1)
		}
		if next <= p.Offset {
			return false, nil
		}
	}
	return true, nil
}
