package main

import (
	"context"
	"fmt"
	"time"
)

// pacedDefault is the rate whose latency is of interest, in events a second.
const pacedDefault = 50_000

// under runs a load with a follower beside it and returns both when the load has ended.
func (r *run) under(ctx context.Context, send func(*load) error) (*load, error) {
	f := newFollower(r.sinks)
	if _, err := f.look(ctx); err != nil {
		return nil, err
	}
	l := newLoad(r.service.owner.Address, r.callers, f)
	following, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- f.run(following) }()
	err := send(l)
	stop()
	if ferr := <-ended; err == nil {
		err = ferr
	}
	r.acked += l.count()
	r.followed = f
	return l, err
}

// settled waits until everything acknowledged is counted in both sinks.
func (r *run) settled(ctx context.Context) error {
	if err := r.followed.drained(ctx); err != nil {
		return err
	}
	return r.sinks.holds(ctx, r.acked+r.imports)
}

func (r *run) recordPhase(ctx context.Context) error {
	r.say("record: %d callers send batches of %d for %v", r.clients, batchEvents, r.record)
	cpu, start := readCPU(r.service.pid()), time.Now()
	var sending time.Duration
	var stored int64
	l, err := r.under(ctx, func(l *load) error {
		before := l.follow.stored()
		err := l.saturate(ctx, r.record, 0)
		sending, stored = time.Since(start), l.follow.stored()-before
		return err
	})
	if err != nil {
		return err
	}
	if err := r.settled(ctx); err != nil {
		return err
	}
	all := time.Since(start)
	r.result.CPU = readCPU(r.service.pid()).since(cpu, l.acked)
	r.result.RecordEvents = round(float64(l.acked) / all.Seconds())
	r.result.Accepted = round(float64(l.acked) / sending.Seconds())
	r.result.Sinks = round(float64(stored) / sending.Seconds())
	r.result.DrainS = round((all - sending).Seconds())
	r.result.EventBytes = round(l.eventBytes())
	r.result.SaturatedAckP50, r.result.SaturatedAckP99 = quantile(l.latency, 0.5), quantile(l.latency, 0.99)
	r.say("record: %d events of %.0f bytes in both sinks, %.0f a second (%.0f accepted); %+v µs of processor an event; %d retries",
		l.acked, r.result.EventBytes, r.result.RecordEvents, r.result.Accepted, r.result.CPU, l.retries)
	if r.result.Synced, r.result.SyncedHow, err = r.synced(ctx); err != nil {
		return err
	}
	if err := r.settled(ctx); err != nil {
		return err
	}
	r.say("record: synced writes: %v (%s)", r.result.Synced, r.result.SyncedHow)
	if !r.result.Synced && !r.unsynced {
		return fmt.Errorf("the broker does not sync every write (%s): what was measured is not what is promised. Run with -unsynced to measure anyway", r.result.SyncedHow)
	}
	return nil
}

func (r *run) pacedPhase(ctx context.Context) error {
	rate := r.rate
	if rate == 0 {
		rate = pacedDefault
		if r.result.RecordEvents > 0 {
			rate = min(rate, int(0.8*r.result.RecordEvents))
		}
	}
	r.say("paced: %d events a second for %v", rate, r.paced)
	start := time.Now()
	l, err := r.under(ctx, func(l *load) error { return l.pace(ctx, r.paced, rate) })
	if err != nil {
		return err
	}
	r.result.PacedRate = round(float64(l.acked) / time.Since(start).Seconds())
	if err := r.settled(ctx); err != nil {
		return err
	}
	r.result.AckP50, r.result.AckP99 = quantile(l.latency, 0.5), quantile(l.latency, 0.99)
	r.result.LagP50, r.result.LagP99 = quantile(l.follow.lag, 0.5), quantile(l.follow.lag, 0.99)
	r.say("paced: %.0f a second; acknowledged in %.1f ms (p99 %.1f), in both sinks %.0f ms later (p99 %.0f)",
		r.result.PacedRate, r.result.AckP50, r.result.AckP99, r.result.LagP50, r.result.LagP99)
	return nil
}

// topUp fills the service up to the number of events that memory is measured at.
func (r *run) topUp(ctx context.Context) error {
	missing := r.total - r.acked - r.imports
	if missing <= 0 {
		return nil
	}
	r.say("top-up: %d more events", missing)
	if _, err := r.under(ctx, func(l *load) error { return l.saturate(ctx, time.Hour, missing) }); err != nil {
		return err
	}
	return r.settled(ctx)
}

// verify counts through the deduplicating readers: nothing acknowledged is missing, and nothing is there twice.
func (r *run) verify(ctx context.Context) error {
	if r.followed != nil {
		if err := r.settled(ctx); err != nil {
			return err
		}
	}
	c, err := r.sinks.distinct(ctx)
	if err != nil {
		return err
	}
	r.result.Events = r.acked + r.imports
	if c.warehouse != r.result.Events || c.lake != r.result.Events {
		return fmt.Errorf("%d events were acknowledged; the warehouse's reader counts %d, the lake's %d", r.result.Events, c.warehouse, c.lake)
	}
	r.say("%d events acknowledged, and as many distinct in the warehouse and in the lake", r.result.Events)
	return nil
}
