package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/v1/ingestv1connect"
)

// retryPause is what the service advises a caller that it could not answer.
const retryPause = time.Second

// load sends batches from several callers and gathers what became of them.
type load struct {
	client  ingestv1connect.IngestServiceClient
	follow  *follower
	callers []*caller

	mu      sync.Mutex
	acked   int64
	bytes   int64
	sized   int64
	retries int64
	latency []time.Duration
}

func newLoad(address string, callers []*caller, follow *follower) *load {
	transport := &http.Transport{MaxIdleConnsPerHost: len(callers), MaxConnsPerHost: len(callers), DisableCompression: true}
	l := &load{follow: follow, callers: callers}
	// Requests and answers go uncompressed: on one machine the network is free and processors are not.
	l.client = ingestv1connect.NewIngestServiceClient(&http.Client{Transport: transport}, address, connect.WithAcceptCompression("gzip", nil, nil))
	return l
}

// saturate has every caller send one batch after the other until time is up or enough events are acknowledged.
func (l *load) saturate(ctx context.Context, length time.Duration, enough int64) error {
	end := time.Now().Add(length)
	return l.each(func(c *caller) error {
		for time.Now().Before(end) && (enough == 0 || l.count() < enough) {
			if err := l.send(ctx, c, time.Now()); err != nil {
				return err
			}
		}
		return nil
	})
}

// pace sends batches at times that do not depend on the answers, so that a slow answer does not hide the wait of those behind it.
func (l *load) pace(ctx context.Context, length time.Duration, rate int) error {
	between := time.Second * batchEvents / time.Duration(rate)
	due := make(chan time.Time, length/between+1)
	go func() {
		defer close(due)
		start := time.Now()
		for at := start; at.Before(start.Add(length)) && ctx.Err() == nil; at = at.Add(between) {
			time.Sleep(time.Until(at))
			due <- at
		}
	}()
	return l.each(func(c *caller) error {
		for at := range due {
			if err := l.send(ctx, c, at); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *load) each(work func(*caller) error) error {
	errs := make([]error, len(l.callers))
	var wg sync.WaitGroup
	for i, c := range l.callers {
		wg.Go(func() { errs[i] = work(c) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// send sends one batch until it is acknowledged; due is when it was to be sent.
func (l *load) send(ctx context.Context, c *caller, due time.Time) error {
	req := c.request(time.Now())
	for {
		resp, err := l.client.RecordEvents(ctx, connect.NewRequest(req))
		if err == nil {
			return l.answered(req, resp.Msg, due)
		}
		if connect.CodeOf(err) != connect.CodeUnavailable || ctx.Err() != nil {
			return err
		}
		l.mu.Lock()
		l.retries++
		l.mu.Unlock()
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *load) answered(req *ingestv1.RecordEventsRequest, resp *ingestv1.RecordEventsResponse, due time.Time) error {
	now := time.Now()
	for _, r := range resp.Results {
		if !r.Accepted {
			return fmt.Errorf("event %d was refused: %v", r.Index, r.Violations)
		}
	}
	if len(resp.Results) != len(req.Events) {
		return fmt.Errorf("%d events got %d results", len(req.Events), len(resp.Results))
	}
	l.follow.acknowledged(resp.Positions, now)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked += int64(len(resp.Results))
	l.latency = append(l.latency, now.Sub(due))
	if l.sized < 100*batchEvents {
		for _, e := range req.Events {
			l.bytes += int64(proto.Size(e))
		}
		l.sized += int64(len(req.Events))
	}
	return nil
}

func (l *load) count() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

// eventBytes is the mean size of an event on the wire.
func (l *load) eventBytes() float64 { return float64(l.bytes) / float64(max(l.sized, 1)) }
