package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

type recorder struct {
	name             string
	calls            *[]string
	startErr, stopEr error
	ready            error
	block            bool
}

func (r *recorder) Name() string { return r.name }
func (r *recorder) Start(context.Context) error {
	*r.calls = append(*r.calls, "start "+r.name)
	return r.startErr
}
func (r *recorder) Ready(context.Context) error { return r.ready }
func (r *recorder) Stop(ctx context.Context) error {
	*r.calls = append(*r.calls, "stop "+r.name)
	if r.block {
		<-ctx.Done()
		return ctx.Err()
	}
	return r.stopEr
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestGroupStartsInOrderAndStopsInReverse(t *testing.T) {
	var calls []string
	g := NewGroup(discard(), time.Second, &recorder{name: "a", calls: &calls}, &recorder{name: "b", calls: &calls})
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	want := []string{"start a", "start b", "stop b", "stop a"}
	if !slices.Equal(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
	if err := g.Ready(t.Context()); err == nil {
		t.Error("ready after Stop")
	}
}

func TestFailedStartStopsWhatRan(t *testing.T) {
	var calls []string
	boom := errors.New("port in use")
	g := NewGroup(discard(), time.Second,
		&recorder{name: "a", calls: &calls},
		&recorder{name: "b", calls: &calls, startErr: boom},
		&recorder{name: "c", calls: &calls})
	err := g.Start(t.Context())
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "start b") {
		t.Fatalf("Start = %v", err)
	}
	want := []string{"start a", "start b", "stop b", "stop a"}
	if !slices.Equal(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
}

func TestStopGivesUpAtTheDeadlineAndAsksTheRest(t *testing.T) {
	var calls []string
	g := NewGroup(discard(), 10*time.Millisecond,
		&recorder{name: "a", calls: &calls},
		&recorder{name: "stuck", calls: &calls, block: true})
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := g.Stop()
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stop stuck") {
		t.Errorf("Stop = %v", err)
	}
	if !slices.Contains(calls, "stop a") {
		t.Errorf("calls %q: a was never stopped", calls)
	}
}

func TestAwaitReadySaysWhatIsMissing(t *testing.T) {
	var calls []string
	g := NewGroup(discard(), time.Second, &recorder{name: "serving", calls: &calls, ready: errors.New("12 events behind")})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := g.AwaitReady(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "serving: 12 events behind") {
		t.Errorf("AwaitReady = %v", err)
	}
}
