package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// Group is a set of modules that live and die together.
type Group struct {
	modules []Module
	log     *slog.Logger
	drain   time.Duration
	started []Module
	// draining flips readiness to no before the first module stops, so that a load balancer looks away first.
	draining atomic.Bool
}

// NewGroup makes a group that starts the modules in the order given. drain bounds how long stopping all of them may
// take.
func NewGroup(log *slog.Logger, drain time.Duration, modules ...Module) *Group {
	return &Group{modules: modules, log: log, drain: drain}
}

// Start starts the modules in order. When one fails, those before it are stopped again and its error is returned.
func (g *Group) Start(ctx context.Context) error {
	for _, m := range g.modules {
		began := time.Now()
		g.started = append(g.started, m)
		if err := m.Start(ctx); err != nil {
			err = fmt.Errorf("start %s: %w", m.Name(), err)
			return errors.Join(err, g.Stop())
		}
		g.log.Info("module started", "module", m.Name(), "took", time.Since(began).Round(time.Millisecond))
	}
	return nil
}

// Ready returns nil when every module is ready, else what the first unready one waits for.
func (g *Group) Ready(ctx context.Context) error {
	if g.draining.Load() {
		return errors.New("stopping")
	}
	for _, m := range g.modules {
		if err := m.Ready(ctx); err != nil {
			return fmt.Errorf("%s: %w", m.Name(), err)
		}
	}
	return nil
}

// AwaitReady waits until every module is ready, and fails with what was still missing when the context ends.
func (g *Group) AwaitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := g.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready (%w): %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// Stop stops what was started, last first, within the drain deadline. Every module is asked even when one fails.
func (g *Group) Stop() error {
	g.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), g.drain)
	defer cancel()
	var errs []error
	for _, m := range slices.Backward(g.started) {
		began := time.Now()
		if err := m.Stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", m.Name(), err))
			continue
		}
		g.log.Info("module stopped", "module", m.Name(), "took", time.Since(began).Round(time.Millisecond))
	}
	g.started = nil
	return errors.Join(errs...)
}
