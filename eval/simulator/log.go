package simulator

import (
	"context"
	"fmt"
	"sync"

	ingestv1 "marquee/ingest/v1"
)

// Part is what some viewers did, who follow each other.
type Part struct {
	// First is the first viewer, Viewers their number.
	First, Viewers int
	// Events and Slates are viewer by viewer, each viewer's in the order they happened.
	Events []*ingestv1.WatchEvent
	Slates []*Slate
}

// partViewers is how many viewers are a part. It does not affect the log.
const partViewers = 64

// Log lets all viewers live under a policy, some of them at a time, and hands their parts over in the order of viewers, whatever the
// number of workers. The policy is asked from several goroutines. Each part is emit's to keep.
func (w *World) Log(ctx context.Context, p Policy, workers int, emit func(*Part) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type job struct {
		first int
		done  chan *Part
	}
	workers = max(workers, 1)
	// What is done and not yet handed over is bounded by the queue.
	queue, jobs := make(chan job, 2*workers), make(chan job)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	wg.Go(func() {
		defer close(jobs)
		defer close(queue)
		for first := 0; first < len(w.viewers); first += partViewers {
			j := job{first, make(chan *Part, 1)}
			select {
			case queue <- j:
			case <-ctx.Done():
				return
			}
			select {
			case jobs <- j:
			case <-ctx.Done():
				return
			}
		}
	})
	for range workers {
		wg.Go(func() {
			for j := range jobs {
				part, err := w.part(ctx, p, j.first)
				if err != nil {
					cancel(err)
					return
				}
				j.done <- part
			}
		})
	}
	for j := range queue {
		select {
		case part := <-j.done:
			if err := emit(part); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx)
}

func (w *World) part(ctx context.Context, p Policy, first int) (*Part, error) {
	part := &Part{First: first, Viewers: min(partViewers, len(w.viewers)-first)}
	for v := first; v < first+part.Viewers; v++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := w.Walk(v, p, Watcher{
			Event: func(e *ingestv1.WatchEvent) error { part.Events = append(part.Events, e); return nil },
			Slate: func(s *Slate) error { part.Slates = append(part.Slates, s); return nil },
		})
		if err != nil {
			return nil, fmt.Errorf("simulate %s: %w", ProfileID(v), err)
		}
	}
	return part, nil
}
