package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	catalogv1 "marquee/catalog/v1"
	"marquee/features/quality"
	"marquee/features/warehouse"
	"marquee/ingest/broker"
	"marquee/ingest/suppression"
	"marquee/internal/datadir"
	"marquee/internal/db"
	"marquee/internal/lake"
	"marquee/internal/telemetry"
	servingv1 "marquee/serving/v1"
	"marquee/training/registry"
)

// engines are the opened engines that a command works with.
type engines struct {
	settings settings
	log      *slog.Logger
	metrics  *prometheus.Registry

	// dir is the data folder, where this process owns it: nil when no engine is embedded, and for a guest.
	dir       *datadir.Dir
	broker    *broker.Broker
	warehouse *warehouse.Warehouse
	lake      *lake.Lake
	models    *lake.Lake
	db        *db.DB
	registry  *registry.Registry
	erased    *suppression.List
	quality   *quality.Checker
}

// guests says whether a command may use the embedded engines of a service that runs on the same data folder.
type guests bool

const (
	alone  guests = false
	beside guests = true
)

// open opens every engine. Where this process's settings name embedded engines, it takes the data folder; when a running
// service has it and the command may work beside it, the service's engines are used by their addresses.
func (c *console) open(g guests) (*engines, error) {
	s, log, err := c.begin()
	if err != nil {
		return nil, err
	}
	e := &engines{settings: s, log: log, metrics: telemetry.Registry()}
	if err := e.openAll(c, g); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// begin reads the settings and makes the logger they ask for.
func (c *console) begin() (settings, *slog.Logger, error) {
	s, err := c.load(os.Environ())
	if err != nil {
		return s, nil, err
	}
	log, err := telemetry.Logger(s.Telemetry, c.stderr, c.logLevel())
	return s, log, err
}

// logLevel is what a command logs where the settings leave it to the command: the service everything of note; a long
// command the same, unless a terminal shows its progress; the rest only what went wrong.
func (c *console) logLevel() slog.Level {
	word, _, _ := strings.Cut(c.command, " ")
	long := slices.Contains([]string{"import", "nightly", "train", "features", "simulate"}, word) || c.command == "warehouse rebuild"
	if word == "serve" || long && !isTerminal(c.stderr) {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

func (e *engines) openAll(c *console, g guests) error {
	if err := e.own(c.command, g); err != nil {
		return err
	}
	s, dir := &e.settings, e.settings.DataDir
	var err error
	if e.db, err = db.Open(c.ctx, s.Database.URL, dir); err != nil {
		return err
	}
	if e.erased, err = suppression.Open(c.ctx, e.db); err != nil {
		return err
	}
	if e.lake, err = lake.Open(c.ctx, s.lakeURL()); err != nil {
		return err
	}
	if e.models, err = lake.Open(c.ctx, s.modelsURL()); err != nil {
		return err
	}
	e.registry = registry.New(e.models, e.log)
	if e.broker, err = broker.Open(c.ctx, s.Broker, dir, e.log); err != nil {
		return err
	}
	for _, topic := range e.topics() {
		var partitions *broker.PartitionsError
		switch err := e.broker.EnsureTopics(c.ctx, topic); {
		case errors.As(err, &partitions):
			e.log.Warn("a topic stays as it is", "reason", err)
		case err != nil:
			return err
		}
	}
	if e.warehouse, err = warehouse.Open(c.ctx, s.Warehouse, dir, e.log); err != nil {
		return err
	}
	e.quality = quality.NewChecker(e.warehouse.Conn(), s.Features.Quality, e.metrics)
	return e.warehouse.Migrate(c.ctx)
}

// own takes the data folder when an embedded engine needs it.
func (e *engines) own(command string, g guests) error {
	s := &e.settings
	embedded := map[string]*string{}
	for role, url := range map[string]*string{"broker": &s.Broker.URL, "warehouse": &s.Warehouse.URL} {
		if isEmbedded(*url) {
			embedded[role] = url
		}
	}
	if len(embedded) == 0 {
		return os.MkdirAll(s.DataDir, 0o755)
	}
	dir, err := datadir.Open(s.DataDir, "marquee "+command)
	var held *datadir.HeldError
	if !errors.As(err, &held) || g == alone {
		e.dir = dir
		return err
	}
	for role, url := range embedded {
		shared := held.Owner.Engines[role]
		if shared == "" {
			return err
		}
		*url = shared
	}
	e.log.Info("working beside a running service", "pid", held.Owner.PID, "serves", held.Owner.Address)
	return nil
}

func isEmbedded(url string) bool { return len(url) >= 9 && url[:9] == "embedded:" }

// share lets other commands on this data folder use the engines that are embedded here.
func (e *engines) share() error {
	if e.dir == nil {
		return nil
	}
	shared := map[string]string{}
	if e.broker.Embedded() {
		shared["broker"] = e.broker.URL()
	}
	if e.warehouse.Embedded() {
		shared["warehouse"] = e.warehouse.DSN()
	}
	return e.dir.Share(shared)
}

// topics are the log's topics. What they hold is a contract; how long, a setting.
func (e *engines) topics() []broker.TopicSpec {
	// One partition: the catalogue's revisions are one order.
	changes := broker.TopicSpec{
		Name: catalogv1.TopicTitleChanges, Partitions: 1, ReplicationFactor: e.settings.Ingest.Replication,
		Configs: map[string]string{"cleanup.policy": "compact"},
	}
	kept := e.settings.Serving.Served
	answers := broker.TopicSpec{
		Name: servingv1.TopicServed, Partitions: int32(kept.Partitions), ReplicationFactor: e.settings.Ingest.Replication,
		Configs: map[string]string{"cleanup.policy": "delete", "retention.ms": strconv.FormatInt(kept.Retention.Milliseconds(), 10)},
	}
	return append(e.settings.Ingest.Topics(), changes, answers)
}

// NewClient opens a client of the broker.
func (e *engines) NewClient(opts ...kgo.Opt) (*kgo.Client, error) { return e.broker.NewClient(opts...) }

// scratch is a local folder for files that need not survive.
func (e *engines) scratch(name string) string {
	return filepath.Join(e.settings.DataDir, "scratch", name)
}

// Close closes what was opened, last first.
func (e *engines) Close() error {
	closers := []func() error{}
	add := func(opened bool, what string, f func() error) {
		if opened {
			closers = append(closers, func() error {
				if err := f(); err != nil {
					return fmt.Errorf("close the %s: %w", what, err)
				}
				return nil
			})
		}
	}
	add(e.dir != nil, "data folder", func() error { return e.dir.Close() })
	add(e.db != nil, "database", func() error { return e.db.Close() })
	add(e.lake != nil, "lake", func() error { return e.lake.Close() })
	add(e.models != nil, "model store", func() error { return e.models.Close() })
	add(e.broker != nil, "broker", func() error { return e.broker.Close() })
	add(e.warehouse != nil, "warehouse", func() error { return e.warehouse.Close() })
	var errs []error
	for _, f := range slices.Backward(closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
