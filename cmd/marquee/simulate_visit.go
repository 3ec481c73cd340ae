package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	catalogv1 "marquee/catalog/v1"
	"marquee/catalog/v1/catalogv1connect"
	"marquee/eval/simulator"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/v1/ingestv1connect"
	servingv1 "marquee/serving/v1"
	"marquee/serving/v1/servingv1connect"
)

// clients are a service's as an app has them.
type clients struct {
	catalog catalogv1connect.CatalogServiceClient
	ingest  ingestv1connect.IngestServiceClient
	serving servingv1connect.RecommendationServiceClient
}

func newClients(address string) clients {
	client := clientOf(address)
	return clients{
		catalog: catalogv1connect.NewCatalogServiceClient(client, address),
		ingest:  ingestv1connect.NewIngestServiceClient(client, address),
		serving: servingv1connect.NewRecommendationServiceClient(client, address),
	}
}

// publish puts a world's catalogue into the service.
func (c clients) publish(ctx context.Context, world *simulator.World) error {
	titles := world.Titles()
	for len(titles) > 0 {
		n := min(len(titles), 500)
		resp, err := c.catalog.PutTitles(ctx, connect.NewRequest(&catalogv1.PutTitlesRequest{Titles: titles[:n]}))
		if err != nil {
			return fmt.Errorf("publish titles: %w", err)
		}
		for _, r := range resp.Msg.GetResults() {
			if !r.GetAccepted() {
				return fmt.Errorf("title %s was refused: %v", r.GetTitleId(), r.GetViolations())
			}
		}
		titles = titles[n:]
	}
	all := world.Titles()
	return c.awaitShown(ctx, all[len(all)-1].GetTitleId())
}

// shownWithin is how long a published title may take to be recommended.
const shownWithin = time.Minute

// awaitShown returns when the service can recommend a title that was published: viewers who came before would be shown nothing.
func (c clients) awaitShown(ctx context.Context, title string) error {
	ctx, cancel := context.WithTimeout(ctx, shownWithin)
	defer cancel()
	for {
		_, err := c.serving.SimilarTitles(ctx, connect.NewRequest(&servingv1.SimilarTitlesRequest{TitleId: title}))
		if err == nil {
			return nil
		}
		if code := connect.CodeOf(err); code != connect.CodeNotFound && code != connect.CodeUnavailable {
			return fmt.Errorf("wait for title %s to be recommended: %w", title, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("title %s was published, and cannot be recommended after %s: %w", title, shownWithin, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// visited says what viewers did in a service and what its slates were worth to them, in expected clicks a slate by their true tastes
// at the time.
type visited struct {
	Viewers int   `json:"viewers"`
	Events  int64 `json:"events"`
	// Repeated counts the calls that the service asked to send again.
	Repeated int64 `json:"repeated"`
	Slates   int64 `json:"slates"`
	// Clicks are what viewers clicked, a slate; Service what its slates were to be expected to bring, ByExposure what slates by the
	// world's exposure would have, and Best what could have been had.
	Clicks     float64 `json:"clicks_a_slate"`
	Service    float64 `json:"service_clicks_a_slate"`
	ByExposure float64 `json:"by_exposure_clicks_a_slate"`
	Best       float64 `json:"best_clicks_a_slate"`
}

// visit lets the viewers use a service: it decides what they are shown and is told what they do, as it happens.
func (s simulateCommand) visit(c *console, world *simulator.World) error {
	v := &visitors{clients: newClients(s.Service), world: world}
	if err := v.publish(c.ctx, world); err != nil {
		return err
	}
	_, log, err := c.begin()
	if err != nil {
		return err
	}
	bar := newProgress(c.stderr, log, "viewers", int64(world.Viewers()))
	var done atomic.Int64
	group, ctx := errgroup.WithContext(c.ctx)
	group.SetLimit(s.Workers)
	for n := range world.Viewers() {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := v.one(ctx, n); err != nil {
				return fmt.Errorf("%s: %w", simulator.ProfileID(n), err)
			}
			bar.set(done.Add(1))
			return nil
		})
	}
	err = group.Wait()
	bar.end()
	if err != nil {
		return err
	}
	out := v.summary()
	if s.JSON {
		return printJSON(c.stdout, out)
	}
	_, err = fmt.Fprintf(c.stdout, `%d viewers, %d events recorded, %d calls sent again, %d slates
Expected clicks a slate, by the viewers' true tastes:
  this service  %6.3f
  by exposure   %6.3f
  the best      %6.3f
and %.3f were clicked
`, out.Viewers, out.Events, out.Repeated, out.Slates, out.Service, out.ByExposure, out.Best, out.Clicks)
	return err
}

// visitors are a world's viewers in front of a service.
type visitors struct {
	clients
	world *simulator.World

	events, repeated atomic.Int64
	mu               sync.Mutex
	sum              visited
}

func (v *visitors) summary() visited {
	out := v.sum
	out.Viewers, out.Events, out.Repeated = v.world.Viewers(), v.events.Load(), v.repeated.Load()
	if n := float64(out.Slates); n > 0 {
		out.Clicks, out.Service, out.ByExposure, out.Best = out.Clicks/n, out.Service/n, out.ByExposure/n, out.Best/n
	}
	return out
}

// visitor is one of them. It is the policy: what it shows is the service's answer.
type visitor struct {
	*visitors
	ctx     context.Context
	pending []*ingestv1.WatchEvent
	// apart draws the slates of the policy to compare with: the viewer's own draws must not hang on it.
	apart *rand.Rand
}

func (v *visitors) one(ctx context.Context, n int) error {
	one := &visitor{visitors: v, ctx: ctx, apart: rand.New(rand.NewPCG(v.world.Config().Seed, uint64(n)))}
	err := v.world.Walk(n, one, simulator.Watcher{
		Event: func(e *ingestv1.WatchEvent) error {
			one.pending = append(one.pending, e)
			return nil
		},
		Slate: func(s *simulator.Slate) error {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.sum.Slates++
			for _, clicked := range s.Clicked {
				if clicked {
					v.sum.Clicks++
				}
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	return one.flush()
}

// Slate asks the service, which knows of all that was done before.
func (v *visitor) Slate(_ *rand.Rand, seen map[int]bool, s *simulator.Slate) error {
	if err := v.flush(); err != nil {
		return err
	}
	resp, err := v.serving.Recommend(v.ctx, connect.NewRequest(&servingv1.RecommendRequest{
		Viewer: &servingv1.Viewer{ProfileId: simulator.ProfileID(s.Viewer), Country: v.world.Country(s.Viewer)}, Count: simulator.SlateSize,
	}))
	if err != nil {
		return fmt.Errorf("ask for recommendations: %w", err)
	}
	s.RequestID = resp.Msg.GetRequestId()
	for _, r := range resp.Msg.GetTitles() {
		t, err := v.world.Title(r.GetTitleId())
		if err != nil {
			return fmt.Errorf("the service recommends what this world has not, give it a service of its own: %w", err)
		}
		s.Titles, s.Propensities = append(s.Titles, t), append(s.Propensities, 1)
	}
	other := simulator.Slate{Viewer: s.Viewer, At: s.At}
	if err := v.world.ByExposure().Slate(v.apart, seen, &other); err != nil {
		return err
	}
	clicks := func(titles []int) float64 { return v.world.SlateValue(s.Viewer, s.At, titles).Clicks }
	service, exposure, best := clicks(s.Titles), clicks(other.Titles), clicks(v.world.Best(s.Viewer, s.At, seen))
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sum.Service += service
	v.sum.ByExposure += exposure
	v.sum.Best += best
	return nil
}

const (
	// visitBatch is the most events sent in a call.
	visitBatch = 500
	// visitPatience bounds how long a service may refuse to take events for the time being.
	visitPatience = 2 * time.Minute
	visitPause    = 500 * time.Millisecond
)

// flush sends what was done. A service that is full or away is waited for.
func (v *visitor) flush() error {
	for len(v.pending) > 0 {
		n := min(len(v.pending), visitBatch)
		req := &ingestv1.RecordEventsRequest{Events: v.pending[:n]}
		for began := time.Now(); ; {
			resp, err := v.ingest.RecordEvents(v.ctx, connect.NewRequest(req))
			if err == nil {
				for _, r := range resp.Msg.GetResults() {
					if !r.GetAccepted() {
						return fmt.Errorf("event %s was refused: %v", r.GetEventId(), r.GetViolations())
					}
				}
				break
			}
			if code := connect.CodeOf(err); code != connect.CodeUnavailable && code != connect.CodeResourceExhausted || time.Since(began) > visitPatience {
				return fmt.Errorf("record events: %w", err)
			}
			v.repeated.Add(1)
			select {
			case <-v.ctx.Done():
				return errors.Join(err, v.ctx.Err())
			case <-time.After(visitPause):
			}
		}
		v.events.Add(int64(n))
		v.pending = v.pending[n:]
	}
	return nil
}
