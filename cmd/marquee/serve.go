package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"marquee/internal/app"
	"marquee/internal/heap"
	"marquee/internal/rpc"
	"marquee/internal/telemetry"
	"marquee/serving/state"
)

type serveCommand struct {
	Modules string `help:"Modules to run, separated by commas: all, or some of catalog, ingest, features, recommend." placeholder:"LIST"`
	Listen  string `help:"host:port to listen on." placeholder:"ADDRESS"`
	AsOf    asOf   `help:"Serve as if it were this instant: an RFC 3339 time, or max-event for imported history." placeholder:"T"`
}

// Run serves until a signal, then drains.
func (s serveCommand) Run(c *console) error {
	if s.Modules != "" {
		c.globals.Set = with(c.globals.Set, "modules", s.Modules)
	}
	if s.Listen != "" {
		c.globals.Set = with(c.globals.Set, "rpc.listen", s.Listen)
	}
	e, err := c.open(alone)
	if err != nil {
		return err
	}
	clock, err := e.clock(c.ctx, s.AsOf)
	if err != nil {
		return errors.Join(err, e.Close())
	}
	svc, err := c.startService(e, clock)
	if err != nil {
		return errors.Join(err, e.Close())
	}
	defer heap.KeepHeadroom()()
	e.log.Info("serving", "address", svc.server.Address(), "modules", strings.Join(e.settings.Modules, ","))
	svc.wait(c.ctx)
	return errors.Join(svc.stop(), e.Close())
}

func with(set map[string]string, key, value string) map[string]string {
	if set == nil {
		set = map[string]string{}
	}
	set[key] = value
	return set
}

// clock is the one that --as-of asks for.
func (e *engines) clock(ctx context.Context, a asOf) (state.Clock, error) {
	if !a.maxEvent && a.at.IsZero() {
		return state.WallClock{}, nil
	}
	at, err := a.instant(func() (time.Time, error) { return e.builder().MaxEvent(ctx) })
	return state.FixedClock(at), err
}

// service is the running service: modules behind a port.
type service struct {
	server *rpc.Server
	wiring *wiring
	group  *app.Group
	e      *engines
	flush  func(context.Context) error
}

// startService starts the configured modules and opens the port to calls once they have started.
func (c *console) startService(e *engines, clock state.Clock) (*service, error) {
	names, err := chosenModules(e.settings.Modules)
	if err != nil {
		return nil, err
	}
	tracer, flush, err := telemetry.Tracer(c.ctx, e.settings.Telemetry, buildVersion())
	if err != nil {
		return nil, err
	}
	s := &service{e: e, flush: flush}
	if s.wiring, err = wire(e, clock, names); err != nil {
		return nil, err
	}
	s.server, err = rpc.New(e.settings.RPC, e.log, e.metrics, tracer, func(ctx context.Context) error { return s.group.Ready(ctx) })
	if err != nil {
		return nil, err
	}
	s.wiring.handle(s.server)
	if err := s.protect(); err != nil {
		return nil, err
	}
	modules := append([]app.Module{s.server, telemetry.NewProfiles(e.settings.Telemetry, e.log)}, s.wiring.modules...)
	s.group = app.NewGroup(e.log, e.settings.Drain, append(modules, announcement{s}, s.server.Gate())...)
	if err := s.group.Start(c.ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// announcement tells commands on the same data folder where this service and its engines are: before it is ready, so that who waited for
// that finds them.
type announcement struct{ s *service }

func (announcement) Name() string { return "announcement" }

func (a announcement) Start(context.Context) error {
	if a.s.e.dir == nil {
		return nil
	}
	return errors.Join(a.s.e.share(), a.s.e.dir.Announce(a.s.server.Address()))
}

func (announcement) Ready(context.Context) error { return nil }

func (announcement) Stop(context.Context) error { return nil }

// wait returns when the process is told to end.
func (s *service) wait(ctx context.Context) {
	<-ctx.Done()
	s.e.log.Info("stopping", "drain", s.e.settings.Drain)
}

func (s *service) stop() error {
	err := s.group.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if ferr := s.flush(ctx); ferr != nil {
		err = errors.Join(err, fmt.Errorf("send the last traces: %w", ferr))
	}
	return err
}
