package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	"marquee/eval/simulator"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/v1/ingestv1connect"
	servingv1 "marquee/serving/v1"
	"marquee/serving/v1/servingv1connect"
)

// film is how long every title is said to be.
const film = 100 * 60 * 1000

// finished is the event of a profile that watched a title to its end just now.
func finished(profile, title string) (*ingestv1.WatchEvent, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make an event's id: %w", err)
	}
	return &ingestv1.WatchEvent{
		EventId: id.String(), SchemaVersion: 1, ProfileId: profile, TitleId: title, PlayableId: title, PlayId: "bench-" + id.String()[24:],
		Type: ingestv1.EventType_EVENT_TYPE_PLAY_END, OccurredAt: time.Now().UnixMicro(), DeviceClass: ingestv1.DeviceClass_DEVICE_CLASS_TV,
		Country: "DE", PositionMs: film, WatchedMs: film, DurationMs: film,
	}, nil
}

// arrivals send events at a steady rate, as apps do: few at a time.
type arrivals struct {
	client          ingestv1connect.IngestServiceClient
	viewers, titles int
	random          *rand.Rand
	sent            atomic.Int64
}

func newArrivals(address string, viewers, titles int) (*arrivals, error) {
	c := newCaller(address, multiplexed)
	return &arrivals{
		client:  ingestv1connect.NewIngestServiceClient(c.client, address, connect.WithAcceptCompression("gzip", nil, nil)),
		viewers: viewers, titles: titles, random: rand.New(rand.NewPCG(1, 1)),
	}, nil
}

// arrivalEvents is how many events a call has.
const arrivalEvents = 10

// run sends until the context ends. Calls do not wait for each other.
func (a *arrivals) run(ctx context.Context, rate int) error {
	if rate <= 0 {
		return nil
	}
	tick := time.NewTicker(time.Second * arrivalEvents / time.Duration(rate))
	defer tick.Stop()
	var under sync.WaitGroup
	defer under.Wait()
	var failure atomic.Pointer[error]
	for failure.Load() == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		req := &ingestv1.RecordEventsRequest{}
		for range arrivalEvents {
			e, err := finished(simulator.ProfileID(a.random.IntN(a.viewers)), simulator.TitleID(a.random.IntN(a.titles)))
			if err != nil {
				return err
			}
			req.Events = append(req.Events, e)
		}
		under.Go(func() {
			if _, err := a.client.RecordEvents(ctx, connect.NewRequest(req)); err != nil {
				if ctx.Err() == nil && connect.CodeOf(err) != connect.CodeResourceExhausted {
					failure.Store(&err)
				}
				return
			}
			a.sent.Add(arrivalEvents)
		})
	}
	return *failure.Load()
}

// freshnessShare is at which share of the peak recommendations are asked for while freshness is measured.
const freshnessShare = 0.5

// freshness plays what is recommended, and asks until it no longer is.
func (m *measurement) freshness(ctx context.Context, f *figures, k kind) error {
	background, stop := context.WithCancel(ctx)
	var loading sync.WaitGroup
	var loadErr error
	loading.Go(func() { _, loadErr = paced(background, m.streams, k, freshnessShare*f.RecommendRPS, time.Hour, 0) })
	took, err := m.play(ctx, f)
	stop()
	loading.Wait()
	if err = errors.Join(err, loadErr); err != nil {
		return err
	}
	f.Fresh, f.FreshnessP50, f.FreshnessP99 = len(took), quantile(took, .5), quantile(took, .99)
	m.say("a play is known after %.1f ms (median), %.1f ms (p99) of %d; with min_position %d of %d unknown to the next answer",
		f.FreshnessP50, f.FreshnessP99, f.Fresh, f.StrictMissed, f.Strict)
	return nil
}

// prober plays titles and looks for them in answers.
type prober struct {
	ingest  ingestv1connect.IngestServiceClient
	serving servingv1connect.RecommendationServiceClient
}

func newProber(address string) prober {
	client := &http.Client{Transport: newCaller(address, multiplexed).client.Transport, Timeout: timeout}
	return prober{ingestv1connect.NewIngestServiceClient(client, address), servingv1connect.NewRecommendationServiceClient(client, address)}
}

// top is the first title recommended to a profile.
func (p prober) top(ctx context.Context, profile string, min []*servingv1.Position) (string, error) {
	resp, err := p.serving.Recommend(ctx, connect.NewRequest(&servingv1.RecommendRequest{
		Viewer: &servingv1.Viewer{ProfileId: profile, Country: "DE"}, Count: 20, MinPosition: min,
	}))
	if err != nil {
		return "", fmt.Errorf("ask for recommendations: %w", err)
	}
	if len(resp.Msg.Titles) == 0 {
		return "", fmt.Errorf("nothing is recommended to %s", profile)
	}
	return resp.Msg.Titles[0].TitleId, nil
}

// watch records that a profile watched a title to its end and returns where that is in the log.
func (p prober) watch(ctx context.Context, profile, title string) ([]*servingv1.Position, error) {
	e, err := finished(profile, title)
	if err != nil {
		return nil, err
	}
	resp, err := p.ingest.RecordEvents(ctx, connect.NewRequest(&ingestv1.RecordEventsRequest{Events: []*ingestv1.WatchEvent{e}}))
	if err != nil {
		return nil, fmt.Errorf("record a play: %w", err)
	}
	var positions []*servingv1.Position
	for _, at := range resp.Msg.Positions {
		positions = append(positions, &servingv1.Position{Partition: at.Partition, Offset: at.Offset})
	}
	if len(positions) == 0 {
		return nil, fmt.Errorf("the play was not recorded: %v", resp.Msg.Results)
	}
	return positions, nil
}

// play plays the first title recommended to one profile after the other, every second time with min_position.
func (m *measurement) play(ctx context.Context, f *figures) (took []time.Duration, err error) {
	p := newProber(m.service.address)
	for i := range 2 * m.probes {
		profile := simulator.ProfileID(i * stride % m.size.viewers)
		title, err := p.top(ctx, profile, nil)
		if err != nil {
			return nil, err
		}
		positions, err := p.watch(ctx, profile, title)
		if err != nil {
			return nil, err
		}
		if i%2 == 1 {
			next, err := p.top(ctx, profile, positions)
			if err != nil {
				return nil, err
			}
			f.Strict++
			if next == title {
				f.StrictMissed++
			}
			continue
		}
		acknowledged := time.Now()
		for next := title; next == title; {
			if next, err = p.top(ctx, profile, nil); err != nil {
				return nil, err
			}
			if time.Since(acknowledged) > timeout {
				return nil, fmt.Errorf("%s still gets %s, %s after it was watched", profile, title, timeout)
			}
		}
		took = append(took, time.Since(acknowledged))
	}
	return took, nil
}
