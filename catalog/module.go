package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"marquee/catalog/store"
	"marquee/internal/db"
	"marquee/internal/logid"
)

// drainGrace is how long Stop tries to publish the last changes.
const drainGrace = 5 * time.Second

// Clients makes broker clients; ingest/broker does.
type Clients interface {
	NewClient(opts ...kgo.Opt) (*kgo.Client, error)
}

// Module is the catalogue as a part of the process. The topic title-changes must exist, compacted and with one
// partition, when it is started.
type Module struct {
	db      *db.DB
	service *Service
	relay   *relay
	store   atomic.Pointer[store.Store]

	// running holds the relay's goroutine; stop asks it to finish, cut makes it end.
	running sync.WaitGroup
	stop    chan struct{}
	once    sync.Once
	cut     context.CancelFunc
}

// New makes the module; Start opens it. It does not own the database or the broker.
func New(cfg Config, d *db.DB, clients Clients, log *slog.Logger, reg prometheus.Registerer) (*Module, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name the holder of leases: %w", err)
	}
	r := &relay{
		cfg: cfg, db: d, clients: clients, log: log, holder: fmt.Sprintf("%s/%d", host, os.Getpid()),
		published: prometheus.NewCounter(prometheus.CounterOpts{Name: "marquee_catalog_published_total", Help: "Title changes published."}),
		failures:  prometheus.NewCounter(prometheus.CounterOpts{Name: "marquee_catalog_relay_failures_total", Help: "Times that publishing title changes failed and was tried again."}),
		pending:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "marquee_catalog_outbox_titles", Help: "Changed titles not yet published, as this process last saw while publishing."}),
		leading:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "marquee_catalog_relay_leading", Help: "1 while this process is the one that publishes title changes."}),
		nudge:     make(chan struct{}, 1),
		moved:     make(chan struct{}),
	}
	m := &Module{db: d, relay: r, stop: make(chan struct{}), cut: func() {}}
	if m.service, err = newService(cfg, m.store.Load, r.wake, log); err != nil {
		return nil, err
	}
	reg.MustRegister(r.published, r.failures, r.pending, r.leading)
	return m, nil
}

// Service is the CatalogService, to be mounted with catalogv1connect.NewCatalogServiceHandler and no validating
// interceptor, or called directly.
func (m *Module) Service() *Service { return m.service }

// Name implements app.Module.
func (m *Module) Name() string { return "catalog" }

// Start migrates the tables and starts the relay.
func (m *Module) Start(ctx context.Context) error {
	s, err := store.Open(ctx, m.db)
	if err != nil {
		return err
	}
	if m.relay.book, err = logid.OpenBook(ctx, m.db); err != nil {
		return err
	}
	m.relay.store = s
	m.store.Store(s)
	running, cut := context.WithCancel(context.WithoutCancel(ctx))
	m.cut = cut
	m.running.Go(func() { m.relay.run(running, m.stop) })
	return nil
}

// Ready returns nil while the database answers. A broker that is away does not make the catalogue unready: changes wait
// in the outbox. One that has another log than the one they belong to does.
func (m *Module) Ready(ctx context.Context) error {
	s := m.store.Load()
	if s == nil {
		return errors.New("not started")
	}
	_, err := s.Revision(ctx)
	return errors.Join(err, m.relay.refused())
}

// AdoptLog makes the catalogue publish to another log from now on, beginning with every title there is, and returns how
// many wait to be published then. No catalogue module may be running.
func AdoptLog(ctx context.Context, d *db.DB, log logid.Log) (int64, error) {
	s, err := store.Open(ctx, d)
	if err != nil {
		return 0, err
	}
	book, err := logid.OpenBook(ctx, d)
	if err != nil {
		return 0, err
	}
	return s.AdoptLog(ctx, book, log)
}

// Flush waits until the outbox is empty, and so every change committed before the call on the topic, whichever process
// publishes it.
func (m *Module) Flush(ctx context.Context) error {
	if m.store.Load() == nil {
		return errors.New("flush the catalogue: not started")
	}
	if err := m.relay.flush(ctx); err != nil {
		return fmt.Errorf("flush the catalogue: %w", err)
	}
	return nil
}

// Stop publishes what is left in the outbox, if this process is the one to publish, and ends the relay. With a broker that
// does not answer it gives up after a few seconds; what is left is published by another process or after the next start.
func (m *Module) Stop(ctx context.Context) error {
	m.once.Do(func() { close(m.stop) })
	ended := make(chan struct{})
	go func() {
		m.running.Wait()
		close(ended)
	}()
	grace := time.NewTimer(drainGrace)
	defer grace.Stop()
	select {
	case <-ended:
	case <-grace.C:
	case <-ctx.Done():
	}
	m.cut()
	<-ended
	return nil
}
