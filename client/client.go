// Package client calls a Marquee service from Go: recommendations, and the watch events they are made from.
//
// A Client is one service, a Session one viewer in front of it. What a session records is in its next answer: it carries the places of
// its events in the log along as min_position. An answer makes the events that say what of it was seen, clicked and played, so that
// request_id, row and rank are right.
//
// Calls that were refused for now (unavailable, or shed with a time to come back) are made again, with growing pauses and never sooner than
// the service asks for, as long as the deadline allows. That is safe for events too: an event counts once, by its event_id.
package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"connectrpc.com/connect"

	"marquee/catalog/v1/catalogv1connect"
	"marquee/ingest/v1/ingestv1connect"
	"marquee/serving/v1/servingv1connect"
)

// Config is how a service is called. Only Address is needed.
type Config struct {
	// Address is the service's base URL, http or https.
	Address string
	// Token is shown to the service as a bearer token, and to nobody else. Over http it is readable on the way.
	Token string
	// Timeout bounds a call with all its attempts where its context has no deadline; 0 is 5 seconds.
	Timeout time.Duration
	// Attempts is how often a call is made at most; 0 is 4, 1 never again.
	Attempts int
	// Pause is the longest pause before the second attempt, doubled for each further one, up to MaxPause; 0 is 50 ms, and 2 s. Pauses are
	// drawn evenly from 0 to that, so that clients refused together do not come back together, unless the service names a time.
	Pause, MaxPause time.Duration
	// HTTP makes the requests; nil is one with connections of its own, which it keeps.
	HTTP connect.HTTPClient
}

// Client calls one service. It is safe for concurrent use.
type Client struct {
	// Recommendations, Events and Catalog are the service's contracts, with the client's token, deadline and attempts. A stream of events
	// has the token alone.
	Recommendations servingv1connect.RecommendationServiceClient
	Events          ingestv1connect.IngestServiceClient
	Catalog         catalogv1connect.CatalogServiceClient

	idle func()
}

const (
	defaultTimeout  = 5 * time.Second
	defaultAttempts = 4
	defaultPause    = 50 * time.Millisecond
	defaultMaxPause = 2 * time.Second
	// idleConnections to one service are kept: as many calls at a time find one open.
	idleConnections = 64
)

// New makes a client. It does not call the service.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.Address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("the address must be a URL such as https://recommend.example.com, is %q", cfg.Address)
	}
	if cfg.Timeout < 0 || cfg.Attempts < 0 || cfg.Pause < 0 || cfg.MaxPause < 0 {
		return nil, errors.New("timeout, attempts and pauses must not be negative")
	}
	cfg = cfg.filled()
	c := &Client{idle: func() {}}
	if cfg.HTTP == nil {
		transport, ok := http.DefaultTransport.(*http.Transport)
		if !ok {
			transport = &http.Transport{Proxy: http.ProxyFromEnvironment}
		}
		transport = transport.Clone()
		transport.MaxIdleConnsPerHost = idleConnections
		cfg.HTTP, c.idle = &http.Client{Transport: transport}, transport.CloseIdleConnections
	}
	options := connect.WithInterceptors(&caller{cfg: cfg, wait: wait})
	c.Recommendations = servingv1connect.NewRecommendationServiceClient(cfg.HTTP, cfg.Address, options)
	c.Events = ingestv1connect.NewIngestServiceClient(cfg.HTTP, cfg.Address, options)
	c.Catalog = catalogv1connect.NewCatalogServiceClient(cfg.HTTP, cfg.Address, options)
	return c, nil
}

func (cfg Config) filled() Config {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = defaultAttempts
	}
	if cfg.Pause == 0 {
		cfg.Pause = defaultPause
	}
	if cfg.MaxPause == 0 {
		cfg.MaxPause = defaultMaxPause
	}
	return cfg
}

// Close lets go of the connections that are kept. Calls under way end as they would.
func (c *Client) Close() { c.idle() }

// wait waits, or fails with the context's error.
func wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
