package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"marquee/internal/telemetry"
	"marquee/serving/v1/servingv1connect"
)

// turns is an admission whose clock stands until it is moved.
type turns struct {
	*admission

	at atomic.Int64
}

func newTurns(limit int, target time.Duration) *turns {
	t := &turns{admission: newAdmission(Config{MaxWorking: limit, QueueTarget: target}, prometheus.NewRegistry(), prometheus.NewCounter(prometheus.CounterOpts{Name: "shed"}))}
	t.now = func() time.Time { return time.Unix(0, t.at.Load()) }
	t.emptied = t.now()
	return t
}

// queued has a call enter and returns when it stands in the queue.
func (u *turns) queued(t *testing.T, ctx context.Context) <-chan error {
	t.Helper()
	u.mu.Lock()
	before := len(u.queue)
	u.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- u.enter(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Microsecond) {
		u.mu.Lock()
		n := len(u.queue)
		u.mu.Unlock()
		if n > before {
			return done
		}
	}
	t.Fatal("the call is not in the queue")
	return nil
}

func TestTurnsAreTakenInOrderUntilTheQueueStands(t *testing.T) {
	u := newTurns(1, time.Hour)
	if err := u.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	first, second, third := u.queued(t, t.Context()), u.queued(t, t.Context()), u.queued(t, t.Context())
	u.leave()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if u.full() {
		t.Error("a queue that has just begun is full")
	}
	// The queue has been standing for longer than an interval: the newest is the next.
	u.at.Add(int64(2 * u.interval))
	if !u.full() {
		t.Error("a queue that stands takes more")
	}
	u.leave()
	if err := <-third; err != nil {
		t.Fatal(err)
	}
	u.leave()
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	u.leave()
	if u.running != 0 || len(u.queue) != 0 {
		t.Errorf("%d work and %d wait", u.running, len(u.queue))
	}
}

func TestACallThatWaitsTooLongIsRefusedWithAHint(t *testing.T) {
	u := newTurns(1, time.Millisecond)
	u.interval = time.Millisecond
	if err := u.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := u.enter(t.Context())
	var refused *connect.Error
	if !errors.As(err, &refused) || refused.Code() != connect.CodeResourceExhausted || refused.Meta().Get("Retry-After") == "" || len(refused.Details()) != 1 {
		t.Fatalf("refused with %v", err)
	}
	hint, err := refused.Details()[0].Value()
	if info, ok := hint.(*errdetails.RetryInfo); err != nil || !ok || info.RetryDelay.AsDuration() != retryAfter {
		t.Errorf("the hint is %v, %v", hint, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	u.interval, u.target = time.Hour, time.Hour
	gone := u.queued(t, ctx)
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("a client that went away: %v", err)
	}
	u.leave()
	if u.running != 0 || len(u.queue) != 0 {
		t.Errorf("%d work and %d wait", u.running, len(u.queue))
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	u := newTurns(1, time.Hour)
	u.interval = time.Hour
	if err := u.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var waiting []<-chan error
	for range placesAQueue {
		waiting = append(waiting, u.queued(t, ctx))
	}
	if err := u.enter(t.Context()); connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("one more than there are places: %v", err)
	}
	cancel()
	for _, w := range waiting {
		if err := <-w; !errors.Is(err, context.Canceled) {
			t.Errorf("a client that went away: %v", err)
		}
	}
}

func TestAPausedCallGivesItsPlaceUp(t *testing.T) {
	u := newTurns(1, time.Hour)
	call := u.intercept(func(ctx context.Context, _ connect.AnyRequest) (connect.AnyResponse, error) {
		resume := Pause(ctx)
		if err := u.enter(t.Context()); err != nil {
			t.Error(err)
		}
		resume()
		if u.running != 2 {
			t.Errorf("%d work", u.running)
		}
		u.leave()
		return nil, nil
	})
	if _, err := call(t.Context(), nil); err != nil || u.running != 0 {
		t.Errorf("%v, %d work", err, u.running)
	}
	Pause(t.Context())() // no call: nothing happens
}

// TestUnderOverloadSomeAreAnsweredAndTheRestRefused asks a service of one place with many clients at once.
func TestUnderOverloadSomeAreAnsweredAndTheRestRefused(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Listen, cfg.MaxWorking, cfg.QueueTarget = "127.0.0.1:0", 1, 2*time.Millisecond
	s, err := New(cfg, slog.New(slog.DiscardHandler), telemetry.Registry(), noop.NewTracerProvider(), always)
	if err != nil {
		t.Fatal(err)
	}
	var inside, most atomic.Int64
	path, handler := servingv1connect.NewRecommendationServiceHandler(&service{recommend: func(context.Context) error {
		most.Store(max(most.Load(), inside.Add(1)))
		defer inside.Add(-1)
		time.Sleep(2 * time.Millisecond)
		return nil
	}}, s.OptionsShed()...)
	s.HandleShed(servingv1connect.RecommendationServiceName, path, handler)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	openGate(t, s)
	client := servingv1connect.NewRecommendationServiceClient(http.DefaultClient, s.Address())
	const clients = 150
	answers := make(chan error, clients)
	for range clients {
		go func() {
			_, err := client.Recommend(context.Background(), request("p"))
			answers <- err
		}()
	}
	answered, refused := 0, 0
	for range clients {
		switch err := <-answers; connect.CodeOf(err) {
		case connect.CodeResourceExhausted:
			refused++
		default:
			if err != nil {
				t.Fatal(err)
			}
			answered++
		}
	}
	if answered == 0 || refused == 0 || most.Load() != 1 {
		t.Errorf("%d answered, %d refused, at most %d at a time", answered, refused, most.Load())
	}
	if code, _ := get(t, s.Address()+"/metrics"); code != http.StatusOK {
		t.Errorf("/metrics answered %d", code)
	}
}
