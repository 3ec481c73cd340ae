package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"marquee/catalog"
	"marquee/catalog/changes"
	"marquee/catalog/v1/catalogv1connect"
	"marquee/features"
	"marquee/features/quality"
	"marquee/ingest"
	"marquee/ingest/compact"
	"marquee/ingest/consumer"
	"marquee/ingest/v1/ingestv1connect"
	"marquee/internal/app"
	"marquee/internal/rpc"
	"marquee/serving"
	"marquee/serving/served"
	"marquee/serving/state"
	"marquee/serving/v1/servingv1connect"
)

// moduleNames are the modules of the service in the order they start: a module comes after those it stands on.
func moduleNames() []string { return []string{"catalog", "ingest", "features", "recommend"} }

// chosenModules turns the modules setting into names, in starting order.
func chosenModules(list []string) ([]string, error) {
	if slices.Contains(list, "all") {
		return moduleNames(), nil
	}
	for _, name := range list {
		if !slices.Contains(moduleNames(), name) {
			return nil, fmt.Errorf("modules must be all or some of %s, is %q", strings.Join(moduleNames(), ", "), name)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("modules must be all or some of %s, is empty", strings.Join(moduleNames(), ", "))
	}
	var out []string
	for _, name := range moduleNames() {
		if slices.Contains(list, name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// wiring holds the modules of this process. It is the only place where modules meet.
type wiring struct {
	e       *engines
	clock   state.Clock
	modules []app.Module

	catalog   *catalog.Module
	publisher *ingest.Publisher
	recorder  *ingest.Service
	consumer  *consumer.Module
	titles    *features.TitleSync
	serving   *serving.Module
}

// wire makes the named modules on the engines, without starting them.
func wire(e *engines, clock state.Clock, names []string) (*wiring, error) {
	w := &wiring{e: e, clock: clock}
	for _, name := range names {
		var err error
		switch name {
		case "catalog":
			err = w.addCatalog()
		case "ingest":
			err = w.addIngest()
		case "features":
			w.titles = features.NewTitleSync(e.warehouse.Conn(), e, e.log, e.metrics)
			w.modules = append(w.modules, w.titles, quality.NewMonitor(e.quality, clock.Now, e.log))
		case "recommend":
			err = w.addServing()
		}
		if err != nil {
			return nil, fmt.Errorf("set up %s: %w", name, err)
		}
	}
	return w, nil
}

func (w *wiring) addCatalog() (err error) {
	if w.catalog, err = catalog.New(w.e.settings.Catalog, w.e.db, w.e, w.e.log, w.e.metrics); err != nil {
		return err
	}
	w.modules = append(w.modules, w.catalog)
	return nil
}

func (w *wiring) addIngest() (err error) {
	e := w.e
	if w.publisher, err = ingest.NewPublisher(e.settings.Ingest, e.NewClient, e.metrics); err != nil {
		return err
	}
	w.publisher.LeaveOut(e.erased)
	if w.recorder, err = ingest.NewService(w.publisher, time.Now, e.metrics, e.log); err != nil {
		return err
	}
	w.consumer, err = consumer.New(e.settings.Ingest, consumer.Deps{
		NewClient: e.NewClient, DB: e.db, Warehouse: e.warehouse.Conn(), Lake: e.lake, Registerer: e.metrics, Log: e.log,
	})
	if err != nil {
		return err
	}
	compaction, err := compact.New(e.settings.Compaction, e.compactDeps(func(int64, int64) {}), e.metrics)
	if err != nil {
		return err
	}
	w.modules = append(w.modules, closing{w.consumer, w.publisher.Close}, compaction)
	return nil
}

func (w *wiring) addServing() (err error) {
	e := w.e
	titles := changes.NewTitles()
	follower := changes.New("serving", e, titles.Apply, e.log, e.metrics)
	answers, err := w.addServed()
	if err != nil {
		return err
	}
	w.serving, err = serving.New(e.settings.Serving, serving.Deps{
		Served: answers, Connect: e.NewClient, Titles: titles, Releases: e.registry.Source(filepath.Join(e.scratch("releases"))),
		History: logHistory{state.NewWarehouse(e.warehouse.Conn()), e}, Clock: w.clock, Erased: e.erasedProfiles, Log: e.log, Metrics: e.metrics,
	})
	if err != nil {
		return err
	}
	w.modules = append(w.modules, newFollowing("titles-in-memory", follower, e.log), w.serving)
	return nil
}

// addServed opens the served log and the way from it into the warehouse. It is nil when answers are not logged.
func (w *wiring) addServed() (serving.ServedLog, error) {
	e := w.e
	if !e.settings.Serving.Served.Enabled {
		return nil, nil
	}
	answers, err := served.NewLog(e.settings.Serving.Served, e.NewClient, e.log, e.metrics)
	if err != nil {
		return nil, err
	}
	sink := served.NewSink(e.NewClient, e.warehouse.Conn(), e.erasedProfiles, e.log, e.metrics)
	w.modules = append(w.modules, closing{sink, func() {
		ctx, cancel := context.WithTimeout(context.Background(), servedFlush)
		defer cancel()
		if err := answers.Close(ctx); err != nil {
			e.log.Warn("the served log was not written to its end", "error", err)
		}
	}})
	return answers, nil
}

// servedFlush is for how long answers on their way are waited for at the end.
const servedFlush = 5 * time.Second

// handle puts the modules' services on the port.
func (w *wiring) handle(s *rpc.Server) {
	if w.catalog != nil {
		path, h := catalogv1connect.NewCatalogServiceHandler(w.catalog.Service(), s.OptionsPerItem()...)
		s.Handle(catalogv1connect.CatalogServiceName, path, h)
	}
	if w.recorder != nil {
		path, h := ingestv1connect.NewIngestServiceHandler(w.recorder, append(s.OptionsPerItem(), ingest.HandlerOption())...)
		s.Handle(ingestv1connect.IngestServiceName, path, h)
	}
	if w.serving != nil {
		path, h := servingv1connect.NewRecommendationServiceHandler(w.serving.Service(), s.OptionsShed()...)
		s.HandleShed(servingv1connect.RecommendationServiceName, path, h)
		path, h = servingv1connect.NewServingAdminServiceHandler(w.serving.Admin(), s.Options()...)
		s.Handle(servingv1connect.ServingAdminServiceName, path, h)
	}
}

// closing closes something with the module it belongs to.
type closing struct {
	app.Module
	close func()
}

func (c closing) Stop(ctx context.Context) error {
	err := c.Module.Stop(ctx)
	c.close()
	return err
}

// following runs a follower of the catalogue's changes as a module.
type following struct {
	name     string
	follower *changes.Follower
	log      *slog.Logger
	cancel   context.CancelFunc
	ended    chan struct{}
	caught   chan struct{}
}

func newFollowing(name string, f *changes.Follower, log *slog.Logger) *following {
	return &following{name: name, follower: f, log: log, ended: make(chan struct{}), caught: make(chan struct{})}
}

func (f *following) Name() string { return f.name }

func (f *following) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	go func() {
		defer close(f.ended)
		if err := f.follower.Run(ctx); err != nil && ctx.Err() == nil {
			f.log.Error("following the catalogue ended", "follower", f.name, "error", err)
		}
	}()
	go func() {
		if f.follower.CaughtUp(ctx) == nil {
			close(f.caught)
		}
	}()
	return nil
}

func (f *following) Ready(context.Context) error {
	select {
	case <-f.ended:
		return fmt.Errorf("following the catalogue ended; the log says why")
	case <-f.caught:
		return nil
	default:
		return fmt.Errorf("the catalogue is still being read")
	}
}

func (f *following) Stop(ctx context.Context) error {
	if f.cancel == nil {
		return nil
	}
	f.cancel()
	select {
	case <-f.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop following the catalogue: %w", ctx.Err())
	}
}

// erasedProfiles is the list of erased profiles as serving asks for it.
func (e *engines) erasedProfiles() (int64, func(profileID string) bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	set := e.erased.Recent(ctx, 500*time.Millisecond)
	return set.Generation(), set.Has
}
