package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"time"

	"marquee/eval/simulator"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

const (
	batchEvents = 100
	// requests is how many different requests a caller goes through.
	requests = 16
	// titles are those of a service of middling size.
	titles = 6_000
)

// evening is when the simulated viewers watch. Its date does not matter: events are sent as they happen now.
func evening() time.Time { return time.Date(2026, time.March, 1, 17, 0, 0, 0, time.UTC) }

// newCallers makes callers who send what simulated viewers do in one evening, in the order of time and dealt out batch by batch,
// so that what follows each other comes from many profiles, as it does in front of a service.
func newCallers(ctx context.Context, n int) ([]*caller, error) {
	need := n * requests * batchEvents
	world, err := simulator.New(simulator.Config{
		Seed: 1, Titles: titles, Viewers: max(need/3, 100), SessionsPerViewer: 1, Start: evening(), End: evening().Add(6 * time.Hour),
	})
	if err != nil {
		return nil, err
	}
	var events []*ingestv1.WatchEvent
	err = world.Log(ctx, world.ByExposure(), runtime.GOMAXPROCS(0), func(p *simulator.Part) error {
		events = append(events, p.Events...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(events) < need {
		return nil, fmt.Errorf("%d simulated events do not make %d callers' %d requests of %d", len(events), n, requests, batchEvents)
	}
	slices.SortFunc(events, func(a, b *ingestv1.WatchEvent) int { return cmp.Compare(a.OccurredAt, b.OccurredAt) })
	// The middle of the evening: at its ends everybody begins and nobody does.
	events = events[(len(events)-need)/2:][:need]
	callers := make([]*caller, n)
	for i := range callers {
		callers[i] = newCaller(i)
	}
	for i := 0; len(events) > 0; i++ {
		c := callers[i%n]
		c.requests = append(c.requests, &ingestv1.RecordEventsRequest{Events: events[:batchEvents:batchEvents]})
		events = events[batchEvents:]
	}
	return callers, nil
}

// caller makes the requests of one caller. Each event is sent many times under ids and times of its own, so that making
// events costs the load generator little and encoding and sending them what it costs a real one.
type caller struct {
	requests []*ingestv1.RecordEventsRequest
	next     int
	id       [16]byte
	counter  uint64
}

func newCaller(number int) *caller {
	c := &caller{}
	binary.BigEndian.PutUint16(c.id[6:], 0x7000|uint16(number>>8&0xfff))
	c.id[8], c.id[9] = 0x80, byte(number)
	return c
}

// request returns the next batch, its events as they happen now. It is valid until the caller has gone through all of its requests.
func (c *caller) request(now time.Time) *ingestv1.RecordEventsRequest {
	r := c.requests[c.next%len(c.requests)]
	c.next++
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint16(c.id[0:], uint16(ms>>32))
	binary.BigEndian.PutUint32(c.id[2:], uint32(ms))
	for i, e := range r.Events {
		c.counter++
		binary.BigEndian.PutUint32(c.id[10:], uint32(c.counter>>16))
		binary.BigEndian.PutUint16(c.id[14:], uint16(c.counter))
		e.EventId = watchevent.FormatID(c.id)
		e.OccurredAt = now.UnixMicro() - int64(i)*7_919
	}
	return r
}
