package quality

import (
	"context"
	"log/slog"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"
)

// Checker runs the checks on a warehouse and shows the outcome in metrics.
type Checker struct {
	conn                                 driver.Conn
	cfg                                  Config
	measured, low, high, failed, lastRun *prometheus.GaugeVec
}

// NewChecker makes a checker and registers its metrics. The configuration must be valid.
func NewChecker(conn driver.Conn, cfg Config, reg prometheus.Registerer) *Checker {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "marquee_features_quality_" + name, Help: help}, labels)
		reg.MustRegister(g)
		return g
	}
	return &Checker{
		conn: conn, cfg: cfg,
		measured: gauge("measured", "What a data-quality check measured: events, or a share of events.", "check"),
		low:      gauge("allowed_low", "The least a data-quality check allows; absent where nothing could be compared.", "check"),
		high:     gauge("allowed_high", "The most a data-quality check allows; absent where nothing could be compared.", "check"),
		failed:   gauge("failed", "1 where a data-quality check failed, 0 where it passed or could not compare.", "check"),
		lastRun:  gauge("last_run_timestamp_seconds", "When the data-quality checks last ran."),
	}
}

// Check runs all checks as of an instant.
func (c *Checker) Check(ctx context.Context, asOf time.Time) (*Report, error) {
	r, err := Run(ctx, c.conn, c.cfg, asOf)
	if err != nil {
		return nil, err
	}
	for _, check := range r.Checks {
		c.measured.WithLabelValues(check.Name).Set(check.Measured)
		failed := 0.0
		if check.Status == Failed {
			failed = 1
		}
		c.failed.WithLabelValues(check.Name).Set(failed)
		if check.Status == NotCompared {
			c.low.DeleteLabelValues(check.Name)
			c.high.DeleteLabelValues(check.Name)
			continue
		}
		c.low.WithLabelValues(check.Name).Set(check.Low)
		c.high.WithLabelValues(check.Name).Set(check.High)
	}
	c.lastRun.WithLabelValues().SetToCurrentTime()
	return r, nil
}

// Monitor runs a Checker now and then while the service runs, so that what the next training will refuse is known before the
// night. It is an app module.
type Monitor struct {
	checker *Checker
	now     func() time.Time
	log     *slog.Logger
	cancel  context.CancelFunc
	done    chan struct{}
}

// NewMonitor makes the module; now is the service's clock.
func NewMonitor(c *Checker, now func() time.Time, log *slog.Logger) *Monitor {
	return &Monitor{checker: c, now: now, log: log, done: make(chan struct{})}
}

// Name returns "data-quality".
func (m *Monitor) Name() string { return "data-quality" }

// Start begins to check every Config.Every; never when that is 0.
func (m *Monitor) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go m.run(ctx)
	return nil
}

// Ready is always nil: what is wrong with the data is no reason not to serve.
func (m *Monitor) Ready(context.Context) error { return nil }

// Stop ends checking.
func (m *Monitor) Stop(ctx context.Context) error {
	if m.cancel == nil {
		return nil
	}
	m.cancel()
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *Monitor) run(ctx context.Context) {
	defer close(m.done)
	if m.checker.cfg.Every == 0 {
		return
	}
	tick := time.NewTicker(m.checker.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.check(ctx)
		}
	}
}

func (m *Monitor) check(ctx context.Context) {
	r, err := m.checker.Check(ctx, m.now().UTC())
	switch {
	case ctx.Err() != nil:
	case err != nil:
		m.log.Error("data quality could not be checked", "error", err)
	default:
		for _, c := range r.Failed() {
			m.log.Warn("data quality", "check", c.Name, "failed", c.String())
		}
	}
}
