package compact

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"marquee/internal/db"
)

// Module compacts every Config.Interval while the service runs.
type Module struct {
	cfg     Config
	deps    Deps
	metrics *metrics
	cancel  context.CancelFunc
	done    chan struct{}
	// tick gives the instants to compact at; a test makes them.
	tick func(time.Duration) (at <-chan time.Time, stop func())
}

// New makes the module. Of several processes one compacts at a time, and whoever comes second leaves it at that.
func New(cfg Config, d Deps, r prometheus.Registerer) (*Module, error) {
	m := &Module{cfg: cfg, deps: d, metrics: newMetrics(), done: make(chan struct{}), tick: ticker}
	return m, m.metrics.register(r)
}

func ticker(every time.Duration) (<-chan time.Time, func()) {
	t := time.NewTicker(every)
	return t.C, t.Stop
}

// Name returns "lake-compaction".
func (m *Module) Name() string { return "lake-compaction" }

// Start begins to compact every Config.Interval; never when that is 0.
func (m *Module) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go m.run(ctx)
	return nil
}

// Ready is always nil: readers need no compaction.
func (m *Module) Ready(context.Context) error { return nil }

// Stop interrupts a compaction; the next one begins anew.
func (m *Module) Stop(ctx context.Context) error {
	if m.cancel == nil {
		return nil
	}
	m.cancel()
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop compacting the lake: %w", ctx.Err())
	}
}

func (m *Module) run(ctx context.Context) {
	defer close(m.done)
	if m.cfg.Interval == 0 {
		return
	}
	at, stop := m.tick(m.cfg.Interval)
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-at:
			m.compact(ctx)
		}
	}
}

func (m *Module) compact(ctx context.Context) {
	started := time.Now()
	s, err := Run(ctx, m.cfg, m.deps, Options{})
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, db.ErrLeaseHeld):
		m.metrics.runs.WithLabelValues("held").Inc()
		m.deps.Log.Info("the lake is not compacted: somebody else is at it", "reason", err)
	case err != nil:
		m.metrics.runs.WithLabelValues("failed").Inc()
		m.deps.Log.Error("the lake could not be compacted; it is as it was", "error", err)
	default:
		m.metrics.observe(s, time.Since(started))
	}
}

type metrics struct {
	runs    *prometheus.CounterVec
	seconds prometheus.Histogram
	last    prometheus.Gauge
	files   *prometheus.CounterVec
	bytes   *prometheus.CounterVec
	rows    prometheus.Counter
	dropped *prometheus.CounterVec
	deleted prometheus.Counter
	live    *prometheus.GaugeVec
}

func newMetrics() *metrics {
	name := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Name: "marquee_lake_" + name, Help: help}
	}
	counter := func(n, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts(name(n, help)))
	}
	counters := func(n, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(name(n, help)), []string{label})
	}
	return &metrics{
		runs: counters("compactions_total", "Compactions of the lake's events, by result: done, failed, or held by another process.", "result"),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "marquee_lake_compaction_seconds", Help: "Time of compactions that were done.", Buckets: prometheus.ExponentialBuckets(0.1, 4, 9),
		}),
		last:    prometheus.NewGauge(prometheus.GaugeOpts(name("compaction_last_success_timestamp_seconds", "When a compaction was last done."))),
		files:   counters("compaction_files_total", "Files that compactions read and wrote.", "direction"),
		bytes:   counters("compaction_bytes_total", "Bytes of the files that compactions read and wrote.", "direction"),
		rows:    counter("compaction_rows_total", "Rows that compactions wrote."),
		dropped: counters("dropped_rows_total", "Rows left out for good for retention, by type.", "type"),
		deleted: counter("deleted_files_total", "Files deleted because they were replaced or left behind."),
		live:    prometheus.NewGaugeVec(prometheus.GaugeOpts(name("manifests", "Manifests after the last compaction: ranges, compacted and replaced ones.")), []string{"kind"}),
	}
}

func (m *metrics) register(r prometheus.Registerer) error {
	var errs []error
	for _, c := range []prometheus.Collector{m.runs, m.seconds, m.last, m.files, m.bytes, m.rows, m.dropped, m.deleted, m.live} {
		errs = append(errs, r.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("register the metrics of compaction: %w", err)
	}
	return nil
}

func (m *metrics) observe(s *Summary, took time.Duration) {
	m.runs.WithLabelValues("done").Inc()
	m.seconds.Observe(took.Seconds())
	m.last.SetToCurrentTime()
	m.files.WithLabelValues("read").Add(float64(s.FilesBefore))
	m.files.WithLabelValues("written").Add(float64(s.FilesAfter))
	m.bytes.WithLabelValues("read").Add(float64(s.BytesBefore))
	m.bytes.WithLabelValues("written").Add(float64(s.BytesAfter))
	m.rows.Add(float64(s.Rows))
	for kind, n := range s.Dropped {
		m.dropped.WithLabelValues(kind).Add(float64(n))
	}
	m.deleted.Add(float64(s.Deleted))
	m.live.WithLabelValues("range").Set(float64(s.Ranges))
	m.live.WithLabelValues("compacted").Set(float64(s.Compacted))
	m.live.WithLabelValues("replaced").Set(float64(s.Replaced))
}
