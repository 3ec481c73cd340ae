package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	servingv1 "marquee/serving/v1"
)

const (
	connections = 8
	// checkEvery is how many answers go by between two that are read and judged: that costs processor time which the service is
	// to have.
	checkEvery = 32
	// timeout bounds how long one answer may take.
	timeout = 20 * time.Second
)

// caller asks over one connection without TLS, with the Connect protocol and protobuf.
type caller struct {
	client  *http.Client
	address string
}

// protocol is what a caller's connection carries.
type protocol bool

const (
	// oneAtATime is HTTP/1.1, which clients of a plain address use unless told otherwise: a request waits for the answer before it.
	oneAtATime protocol = false
	// multiplexed is HTTP/2: requests that do not wait for answers need it to be under way together.
	multiplexed protocol = true
)

func newCaller(address string, p protocol) *caller {
	transport := &http.Transport{MaxConnsPerHost: 1, DisableCompression: true, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(p == oneAtATime)
	transport.Protocols.SetUnencryptedHTTP2(p == multiplexed)
	return &caller{client: &http.Client{Transport: transport, Timeout: timeout}, address: address}
}

func newCallers(address string, p protocol) []*caller {
	callers := make([]*caller, connections)
	for i := range callers {
		callers[i] = newCaller(address, p)
	}
	return callers
}

// errShed is an answer that the service would not give, for now.
var errShed = errors.New("shed")

// ask sends an encoded request and reads the answer into into, which it returns.
func (c *caller) ask(ctx context.Context, procedure string, body []byte, into *bytes.Buffer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address+procedure, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header["Content-Type"] = []string{"application/proto"}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	into.Reset()
	if _, err := into.ReadFrom(resp.Body); err != nil {
		return err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusTooManyRequests:
		return errShed
	}
	return fmt.Errorf("%s answered %d: %.200s", procedure, resp.StatusCode, into.String())
}

// kind is a kind of request: how the n-th is encoded and what is right of an answer.
type kind struct {
	procedure string
	body      func(n int64) []byte
	check     func(answer []byte) error
}

// outcome is what became of a phase's requests.
type outcome struct {
	took       time.Duration
	latencies  []time.Duration
	shed       int64
	late       int64
	serviceCPU time.Duration
	clientCPU  time.Duration
}

// rate is how many answers there were a second.
func (o outcome) rate() float64 { return float64(len(o.latencies)) / o.took.Seconds() }

// peak has every connection ask again as soon as it is answered.
func peak(ctx context.Context, callers []*caller, k kind, length time.Duration) (outcome, error) {
	var next atomic.Int64
	all, errs := make([][]time.Duration, len(callers)), make([]error, len(callers))
	began := time.Now()
	var clients sync.WaitGroup
	for i, c := range callers {
		clients.Go(func() {
			var answer bytes.Buffer
			for time.Since(began) < length && ctx.Err() == nil {
				n := next.Add(1)
				asked := time.Now()
				if err := c.ask(ctx, k.procedure, k.body(n), &answer); err != nil {
					errs[i] = err
					return
				}
				all[i] = append(all[i], time.Since(asked))
				if n%checkEvery == 0 {
					if errs[i] = k.check(answer.Bytes()); errs[i] != nil {
						return
					}
				}
			}
		})
	}
	clients.Wait()
	o := outcome{took: time.Since(began)}
	for _, l := range all {
		o.latencies = append(o.latencies, l...)
	}
	return o, errors.Join(errs...)
}

// paced sends requests at times that do not hang on the answers and measures from those times. What is shed is counted and not
// measured; a request is late when it was not answered within patience. More than mostUnderWay at once are not sent but count as late:
// they stand for clients that have long given up.
func paced(ctx context.Context, callers []*caller, k kind, rate float64, length, patience time.Duration) (outcome, error) {
	const mostUnderWay = 4096
	between := time.Duration(float64(time.Second) / rate)
	var (
		mu      sync.Mutex
		o       outcome
		failure error
		sent    sync.WaitGroup
		slots   = make(chan struct{}, mostUnderWay)
		pool    = sync.Pool{New: func() any { return new(bytes.Buffer) }}
	)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	var asked int64
	for due := began; due.Sub(began) < length && ctx.Err() == nil; due = due.Add(between) {
		// A timer's grain is coarser than the pause between two requests: those that have come due go together.
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		asked++
		n := asked
		select {
		case slots <- struct{}{}:
		default:
			mu.Lock()
			o.late++
			mu.Unlock()
			continue
		}
		sent.Go(func() {
			defer func() { <-slots }()
			answer, _ := pool.Get().(*bytes.Buffer)
			defer pool.Put(answer)
			err := callers[n%int64(len(callers))].ask(ctx, k.procedure, k.body(n), answer)
			took := time.Since(due)
			if err == nil && n%checkEvery == 0 {
				err = k.check(answer.Bytes())
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, errShed):
				o.shed++
			case err != nil && failure == nil && ctx.Err() == nil:
				failure = err
				cancel()
			case err != nil:
			case patience > 0 && took > patience:
				o.late++
			default:
				o.latencies = append(o.latencies, took)
			}
		})
	}
	sent.Wait()
	o.took = max(length, time.Since(began))
	return o, failure
}

// decoded is an answer as a message.
func decoded[T proto.Message](answer []byte, into T) (T, error) {
	if err := proto.Unmarshal(answer, into); err != nil {
		return into, fmt.Errorf("decode an answer: %w", err)
	}
	return into, nil
}

func checkRecommend(answer []byte) error {
	m, err := decoded(answer, &servingv1.RecommendResponse{})
	switch {
	case err != nil:
		return err
	case len(m.Titles) == 0:
		return errors.New("an answer has no titles")
	case m.BundleId == "" || len(m.Degraded) > 0:
		return fmt.Errorf("an answer is degraded: %v, release %q", m.Degraded, m.BundleId)
	}
	return nil
}

func checkHome(answer []byte) error {
	m, err := decoded(answer, &servingv1.HomePageResponse{})
	switch {
	case err != nil:
		return err
	case len(m.Rows) < 2:
		return fmt.Errorf("a page has %d rows", len(m.Rows))
	case m.BundleId == "" || len(m.Degraded) > 0:
		return fmt.Errorf("a page is degraded: %v, release %q", m.Degraded, m.BundleId)
	}
	return nil
}
