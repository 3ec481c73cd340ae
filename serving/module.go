package serving

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"marquee/serving/expr"
	"marquee/serving/ids"
	"marquee/serving/state"
)

// Deps is what serving is given by whoever wires it.
type Deps struct {
	// Connect opens clients of the broker that holds the watch events.
	Connect state.Connect
	// Titles is the catalogue. Its follower must be a module started before this one.
	Titles TitleReader
	// Releases is where promoted releases come from.
	Releases ReleaseSource
	// History gives live state its start; nil when the log holds all there is.
	History state.HistoryLoader
	// Entitlements says what profiles may watch; nil is OpenAccess.
	Entitlements EntitlementReader
	// Erased lists the erased profiles; nil where nobody can be.
	Erased state.Erased
	// Served takes down what is answered; nil where nobody does.
	Served ServedLog
	// Clock is the instant everything is anchored to; nil is the wall clock.
	Clock   state.Clock
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Module is the serving module: live state, the current release and catalogue, and the Service over them.
type Module struct {
	service  *Service
	follower *state.Follower
	pictures *pictures
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// New makes the module. Nothing runs before Start.
func New(cfg Config, d Deps) (*Module, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if d.Connect == nil || d.Titles == nil || d.Releases == nil || d.Log == nil || d.Metrics == nil {
		return nil, errors.New("serving needs Connect, Titles, Releases, Log and Metrics")
	}
	if d.Clock == nil {
		d.Clock = state.WallClock{}
	}
	if d.Entitlements == nil {
		d.Entitlements = OpenAccess{}
	}
	log := d.Log.With("module", moduleName)
	table := ids.New(cfg.MaxTitleIDs)
	store := state.New(cfg.State, table, d.Clock)
	m := newMetrics(d.Metrics)
	follower := state.NewFollower(cfg.State, store, d.Connect, d.History, log, d.Metrics)
	if d.Erased != nil {
		follower.LeaveOut(d.Erased)
	}
	expressions, err := expr.NewCompiler()
	if err != nil {
		return nil, err
	}
	running, err := experiments(cfg.Experiments, expressions)
	if err != nil {
		return nil, err
	}
	p := &pictures{
		cfg: cfg, titles: d.Titles, source: d.Releases, ids: table, log: log, metrics: m,
		kick: make(chan chan struct{}), stopped: make(chan struct{}),
	}
	return &Module{
		follower: follower,
		pictures: p,
		service: &Service{
			cfg: cfg, clock: d.Clock, store: store, follower: follower, pictures: p,
			entitlements: d.Entitlements, expressions: expressions, experiments: running,
			served: d.Served, log: log, metrics: m,
		},
	}, nil
}

const moduleName = "recommend"

// Service is the RPC handler. It answers once the module has started.
func (m *Module) Service() *Service { return m.service }

// Admin is the RPC handler for operators. It answers once the module has started.
func (m *Module) Admin() *Admin { return &Admin{s: m.service} }

// Name implements app.Module.
func (m *Module) Name() string { return moduleName }

// startTimeout bounds how long the first release may take to open before the module starts without it.
const startTimeout = 30 * time.Second

// Start loads the promoted release, if there is one that can be, and begins to follow the log, the registry and the
// catalogue.
func (m *Module) Start(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	m.pictures.loadRelease(bounded)
	m.pictures.refresh()
	if err := m.follower.Start(ctx); err != nil {
		return fmt.Errorf("follow the watch events: %w", err)
	}
	background, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	m.done.Go(func() { m.pictures.run(background) })
	return nil
}

// Ready returns nil once live state has caught up with the log and answers are made from the catalogue as it is now. A
// missing release is no reason not to serve: popular and new titles are.
func (m *Module) Ready(ctx context.Context) error {
	if err := m.follower.Ready(ctx); err != nil {
		return err
	}
	return m.pictures.catchUp(ctx)
}

// Stop ends the module's goroutines. Requests being answered keep what they hold.
func (m *Module) Stop(ctx context.Context) error {
	if m.cancel != nil {
		m.cancel()
	}
	err := m.follower.Stop(ctx)
	stopped := make(chan struct{})
	go func() {
		m.done.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
		m.pictures.close()
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("stop following the catalogue and the registry: %w", ctx.Err()))
	}
	return err
}
