package imports

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"marquee/ingest"
	ingestv1 "marquee/ingest/v1"
)

const (
	// window is how many batches wait for the broker at a time.
	window = 3
	// maxFailures is how often in a row publishing may fail before an import gives up; the next run goes on from there.
	maxFailures = 5
)

// Publisher takes events in; *ingest.Publisher is one.
type Publisher interface {
	Begin(ctx context.Context, events []*ingestv1.WatchEvent) (*ingest.Pending, error)
}

// Batch is a stretch of an import's sequence of events.
type Batch interface {
	// Events are what is to be published of it; they stay as they are until it is settled.
	Events() []*ingestv1.WatchEvent
}

// Publish publishes a sequence, several batches at a time: next gives them in order and io.EOF after the last, and
// settled is told of each, in order, once the broker has it and all before it on disk. A batch that was not acknowledged
// is sent again; readers count its events once. What is in flight when the context ends is still waited for (the
// publisher bounds that), so that what is settled says what is so: settled gets a context that has not ended.
func Publish[B Batch](ctx context.Context, p Publisher, log *slog.Logger, next func(context.Context) (B, error), settled func(context.Context, B) error) error {
	f := flow[B]{publisher: p, next: next, settled: settled}
	failures := 0
	for {
		before := f.count
		err := f.pass(ctx)
		if err == nil {
			return nil
		}
		if f.count > before {
			failures = 0
		}
		failures++
		passing := errors.Is(err, ingest.ErrUnavailable) || errors.Is(err, ingest.ErrBusy)
		if !passing || failures >= maxFailures || ctx.Err() != nil {
			return err
		}
		log.Warn("events not acknowledged by the broker, trying again", "error", err)
		if err := pause(ctx, time.Duration(failures)*time.Second); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// flow is the batches on their way.
type flow[B Batch] struct {
	publisher Publisher
	next      func(context.Context) (B, error)
	settled   func(context.Context, B) error
	queue     []*sending[B]
	ended     bool
	// count counts settled batches.
	count int
}

// sending is a batch that was begun.
type sending[B Batch] struct {
	batch B
	// pending is nil while it is not on its way, and after it arrived.
	pending *ingest.Pending
	arrived bool
}

// pass moves batches until one fails or none is left. Those that failed stay queued.
func (f *flow[B]) pass(ctx context.Context) error {
	for _, s := range f.queue {
		if err := f.begin(ctx, s); err != nil {
			return f.drain(ctx, err)
		}
	}
	for {
		for !f.ended && len(f.queue) < window {
			if err := f.fill(ctx); err != nil {
				return f.drain(ctx, err)
			}
		}
		if len(f.queue) == 0 {
			return nil
		}
		if err := f.settle(ctx); err != nil {
			return f.drain(ctx, err)
		}
	}
}

// fill begins the next batch.
func (f *flow[B]) fill(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b, err := f.next(ctx)
	if errors.Is(err, io.EOF) {
		f.ended = true
		return nil
	}
	if err != nil {
		return err
	}
	s := &sending[B]{batch: b}
	f.queue = append(f.queue, s)
	return f.begin(ctx, s)
}

func (f *flow[B]) begin(ctx context.Context, s *sending[B]) (err error) {
	if !s.arrived && s.pending == nil {
		s.pending, err = f.publisher.Begin(ctx, s.batch.Events())
	}
	return err
}

// wait waits for a batch that was begun.
func (s *sending[B]) wait(ctx context.Context) error {
	if s.arrived || s.pending == nil {
		return nil
	}
	_, err := s.pending.Wait(context.WithoutCancel(ctx))
	s.pending, s.arrived = nil, err == nil
	return err
}

// settle waits for the first batch and takes it off the queue.
func (f *flow[B]) settle(ctx context.Context) error {
	s := f.queue[0]
	if err := s.wait(ctx); err != nil {
		return err
	}
	if !s.arrived {
		return fmt.Errorf("a batch of %d events was not begun", len(s.batch.Events()))
	}
	f.queue = f.queue[1:]
	f.count++
	return f.settled(context.WithoutCancel(ctx), s.batch)
}

// drain waits for what is in flight after something failed, and settles what arrived.
func (f *flow[B]) drain(ctx context.Context, failed error) error {
	for _, s := range f.queue {
		if err := s.wait(ctx); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	for len(f.queue) > 0 && f.queue[0].arrived {
		if err := f.settle(ctx); err != nil {
			return errors.Join(failed, err)
		}
	}
	return failed
}
