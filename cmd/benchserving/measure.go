package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"marquee/eval/simulator"
	servingv1 "marquee/serving/v1"
	"marquee/serving/v1/servingv1connect"
)

// pacedShare is at which share of the peak requests are paced.
const pacedShare = 0.8

// measurement is the measuring of one service.
type measurement struct {
	*run

	service *service
	size    worldSize
	// callers ask as soon as they are answered, streams when a request is due.
	callers, streams []*caller
	// recommend and home are the encoded requests, one a profile, in the order of profiles.
	recommend, home [][]byte
}

func newMeasurement(_ context.Context, r *run, s *service, w worldSize) (*measurement, error) {
	m := &measurement{run: r, service: s, size: w, callers: newCallers(s.address, oneAtATime), streams: newCallers(s.address, multiplexed)}
	for v := range w.viewers {
		viewer := &servingv1.Viewer{ProfileId: simulator.ProfileID(v), Country: "DE", DeviceClass: "tv"}
		recommend := &servingv1.RecommendRequest{Viewer: viewer, Count: 20, Filter: filterOf(v)}
		body, err := proto.Marshal(recommend)
		if err != nil {
			return nil, fmt.Errorf("encode a request: %w", err)
		}
		m.recommend = append(m.recommend, body)
		if body, err = proto.Marshal(&servingv1.HomePageRequest{Viewer: viewer, Rows: 10, RowSize: 20}); err != nil {
			return nil, fmt.Errorf("encode a request: %w", err)
		}
		m.home = append(m.home, body)
	}
	return m, nil
}

// filterOf is the filter in CEL of a profile's requests: three profiles in ten have one, of titles alone or of the viewer as well.
func filterOf(v int) string {
	switch v % 10 {
	case 1:
		return `title.year >= 1990`
	case 4:
		return `"Drama" in title.genres || title.year > 2010`
	case 7:
		return `viewer.device_class == "tv" || title.year > 2000`
	}
	return ""
}

// stride walks through all profiles in an order that is not theirs; it has no divisor in common with their number.
const stride = 7_919

func (m *measurement) kinds() (recommend, home kind) {
	of := func(bodies [][]byte) func(int64) []byte {
		return func(n int64) []byte { return bodies[int(n*stride%int64(len(bodies)))] }
	}
	return kind{servingv1connect.RecommendationServiceRecommendProcedure, of(m.recommend), checkRecommend},
		kind{servingv1connect.RecommendationServiceHomePageProcedure, of(m.home), checkHome}
}

// all measures everything while events arrive.
func (m *measurement) all(ctx context.Context) (f figures, err error) {
	f.Titles, f.Profiles = m.size.titles, m.size.viewers
	arrivals, err := newArrivals(m.service.address, m.size.viewers, m.size.titles)
	if err != nil {
		return f, err
	}
	background, stop := context.WithCancel(ctx)
	var arriving sync.WaitGroup
	var arrivalsErr error
	arriving.Go(func() { arrivalsErr = arrivals.run(background, m.events) })
	finish := func() {
		stop()
		arriving.Wait()
	}
	err = m.phases(ctx, &f)
	finish()
	if err == nil && arrivalsErr != nil {
		err = fmt.Errorf("send events: %w", arrivalsErr)
	}
	now, peak := m.service.resident()
	f.RSS, f.RSSPeak, f.Events = now, peak, arrivals.sent.Load()
	return f, err
}

func (m *measurement) phases(ctx context.Context, f *figures) error {
	recommend, home := m.kinds()
	m.say("warming up")
	for _, k := range []kind{recommend, home} {
		if _, err := peak(ctx, m.callers, k, m.length/5); err != nil {
			return err
		}
	}
	o, err := m.phase("Recommend, peak", func() (outcome, error) { return peak(ctx, m.callers, recommend, m.length) })
	if err != nil {
		return err
	}
	f.RecommendRPS, f.RecommendP50, f.RecommendP99 = o.rate(), quantile(o.latencies, .5), quantile(o.latencies, .99)
	f.RecommendCPU, f.RecommendClientCPU = o.perAnswer()
	if o, err = m.phase("Recommend, paced", func() (outcome, error) {
		return paced(ctx, m.streams, recommend, pacedShare*f.RecommendRPS, m.length, 0)
	}); err != nil {
		return err
	}
	f.RecommendPacedRPS, f.RecommendPacedP99 = o.rate(), quantile(o.latencies, .99)
	if o, err = m.phase("HomePage, peak", func() (outcome, error) { return peak(ctx, m.callers, home, m.length) }); err != nil {
		return err
	}
	f.HomeRPS, f.HomeP50, f.HomeP99 = o.rate(), quantile(o.latencies, .5), quantile(o.latencies, .99)
	f.HomeCPU, f.HomeClientCPU = o.perAnswer()
	if o, err = m.phase("HomePage, paced", func() (outcome, error) {
		return paced(ctx, m.streams, home, pacedShare*f.HomeRPS, m.length, 0)
	}); err != nil {
		return err
	}
	f.HomePacedRPS, f.HomePacedP99 = o.rate(), quantile(o.latencies, .99)
	if err := m.freshness(ctx, f, recommend); err != nil {
		return fmt.Errorf("freshness: %w", err)
	}
	if m.overload > 0 {
		return m.overloaded(ctx, f, recommend)
	}
	return nil
}

// phase runs a phase and says what came of it.
func (m *measurement) phase(name string, work func() (outcome, error)) (outcome, error) {
	service, client := processorTime(m.service.cmd.Process.Pid), processorTime(os.Getpid())
	o, err := work()
	if err != nil {
		return o, fmt.Errorf("%s: %w", name, err)
	}
	o.serviceCPU = processorTime(m.service.cmd.Process.Pid) - service
	o.clientCPU = processorTime(os.Getpid()) - client
	m.say("%-18s %7.0f/s  p50 %6.2f ms  p99 %6.2f ms  shed %d  late %d  processor %.0f µs an answer, of the generator %.0f µs", name, o.rate(),
		quantile(o.latencies, .5), quantile(o.latencies, .99), o.shed, o.late, o.micros(o.serviceCPU), o.micros(o.clientCPU))
	return o, nil
}

func (o outcome) micros(d time.Duration) float64 {
	return float64(d.Microseconds()) / float64(max(len(o.latencies), 1))
}

func (o outcome) perAnswer() (service, client float64) {
	return o.micros(o.serviceCPU), o.micros(o.clientCPU)
}

// overloadPatience is what a client waits for an answer while the service is asked for too much.
const overloadPatience = time.Second

// overloaded asks for twice the peak. Goodput is answers within overloadPatience.
func (m *measurement) overloaded(ctx context.Context, f *figures, k kind) error {
	before, _ := m.service.resident()
	// Under overload an answer may lack a source that was late: it says so, and is an answer.
	var judged, degraded atomic.Int64
	k.check = func(answer []byte) error {
		r, err := decoded(answer, &servingv1.RecommendResponse{})
		if err == nil && len(r.Titles) == 0 {
			err = errors.New("an answer has no titles")
		}
		judged.Add(1)
		if len(r.Degraded) > 0 {
			degraded.Add(1)
		}
		return err
	}
	o, err := m.phase("Recommend, twice", func() (outcome, error) {
		return paced(ctx, m.streams, k, 2*f.RecommendRPS, m.overload, overloadPatience)
	})
	if err != nil {
		return err
	}
	after, _ := m.service.resident()
	f.Overload = &overload{
		Offered: 2 * f.RecommendRPS, Goodput: o.rate(), GoodputRatio: ratio(o.rate(), f.RecommendRPS), P99: quantile(o.latencies, .99),
		Degraded: ratio(float64(degraded.Load()), float64(judged.Load())),
		Shed:     o.shed, Late: o.late, RSSBefore: before, RSSAfter: after,
	}
	return nil
}
