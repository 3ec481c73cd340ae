package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"marquee/internal/crashpoint"
	"marquee/internal/datadir"
	"marquee/internal/testkit/kafka"
	"marquee/internal/testkit/postgres"
)

const (
	topic = "watch-events"
	group = "marquee-ingest"
)

// settings make ranges small and many, and waiting for the dead short.
func settings() []string {
	return []string{
		"--log-level", "info", "--set", "drain=5s", "--set", "ingest.flush_interval=40ms", "--set", "ingest.batch_events=150",
		"--set", "ingest.session_timeout=3s", "--set", "ingest.revoke_timeout=1s", "--set", "ingest.sink_timeout=5s",
		"--set", "ingest.publish_timeout=2s", "--set", "telemetry.log_format=text",
	}
}

// world is engines, the services on them, and what was acknowledged since they were made.
type world struct {
	opts Options
	dir  string
	// services take events in and move them; the first is the one that faults befall.
	services []*process
	// holder is the process whose child the warehouse is.
	holder *process
	// engines are the arguments that lead commands to the engines.
	engines  []string
	database string
	kafka    *kafka.Server
	postgres *postgres.Server
	drop     func() error

	sent       sent
	runs       int
	recoveries int
}

// newEmbedded makes a world of one process.
func newEmbedded(ctx context.Context, opts Options, dir string) (*world, error) {
	data := filepath.Join(dir, "data")
	p, err := newProcess("the service", opts.Binary, data, append(settings(), "--modules", "ingest")...)
	if err != nil {
		return nil, err
	}
	w := &world{opts: opts, dir: dir, services: []*process{p}, holder: p, database: "sqlite:" + filepath.Join(data, "marquee.db")}
	w.engines = []string{"--data-dir", data}
	w.drop = func() error { return nil }
	return w, w.up(ctx)
}

// newCluster makes a world of two services on Kafka and PostgreSQL, with the warehouse in a third process.
func newCluster(ctx context.Context, opts Options, dir string, k *kafka.Server, pg *postgres.Server) (*world, error) {
	name := "world_" + strings.ToLower(strings.ReplaceAll(filepath.Base(dir), "-", "_"))
	if err := pg.Exec("CREATE DATABASE " + name); err != nil {
		return nil, err
	}
	w := &world{opts: opts, dir: dir, database: pg.URL(name), kafka: k, postgres: pg}
	w.drop = func() error {
		return errors.Join(dropTopics(k), pg.Exec("DROP DATABASE "+name+" WITH (FORCE)"))
	}
	var err error
	// The warehouse's process runs no module that follows the log; its own database is nobody else's.
	w.holder, err = newProcess("the warehouse's service", opts.Binary, filepath.Join(dir, "warehouse"),
		append(settings(), "--modules", "catalog", "--broker", k.URL())...)
	if err != nil {
		return nil, err
	}
	if err := w.holder.up(ctx); err != nil {
		return nil, err
	}
	owner, held, err := datadir.Peek(w.holder.dir)
	if err != nil || !held || owner.Engines["warehouse"] == "" {
		return nil, errors.Join(fmt.Errorf("the warehouse's service does not say where its warehouse is"), err)
	}
	w.engines = []string{
		"--broker", k.URL(), "--database", w.database, "--warehouse", owner.Engines["warehouse"], "--lake", "file://" + filepath.Join(dir, "lake"),
	}
	for _, name := range []string{"a", "b"} {
		p, err := newProcess("service "+name, opts.Binary, filepath.Join(dir, name), append(append(settings(), "--modules", "ingest"), w.engines...)...)
		if err != nil {
			return nil, err
		}
		w.services = append(w.services, p)
	}
	w.engines = append(w.engines, "--data-dir", filepath.Join(dir, "commands"))
	return w, w.up(ctx)
}

// dropTopics leaves the next world a Kafka without events.
func dropTopics(k *kafka.Server) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Addr()))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), upTimeout)
	defer cancel()
	admin := kadm.NewClient(client)
	if _, err := admin.DeleteTopics(ctx, topic, topic+".dead", "title-changes"); err != nil {
		return fmt.Errorf("delete the topics of a world: %w", err)
	}
	for {
		topics, err := admin.ListTopics(ctx)
		if err == nil && !topics.Has(topic) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the topics of a world do not go: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// up starts the services that are down and waits until all are ready.
func (w *world) up(ctx context.Context) error {
	for _, p := range w.services {
		if !p.running() {
			if err := p.start(nil, w.env()...); err != nil {
				return err
			}
		}
	}
	for _, p := range w.services {
		if err := p.awaitUp(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) env() []string {
	if w.opts.OutOfOrder {
		return []string{crashpoint.EnvOutOfOrder + "=1"}
	}
	return nil
}

func (w *world) urls() []string {
	urls := make([]string, len(w.services))
	for i, p := range w.services {
		urls[i] = p.url()
	}
	return urls
}

// done is what a run came to.
type done struct {
	acknowledged, duplicates, retries int64
	recoveries                        int
}

// run sends a load while the fault happens, waits for recovery, and compares.
func (w *world) run(ctx context.Context, fault Fault, random *rand.Rand) (done, error) {
	w.runs++
	w.recoveries = 0
	before := w.totals()
	err := w.runFault(ctx, fault, random)
	after := w.totals()
	return done{
		after.acknowledged - before.acknowledged, after.duplicates - before.duplicates, after.retries - before.retries, w.recoveries,
	}, err
}

func (w *world) totals() done {
	w.sent.mu.Lock()
	defer w.sent.mu.Unlock()
	return done{acknowledged: w.sent.acknowledged, duplicates: w.sent.duplicates, retries: w.sent.retries}
}

func (w *world) runFault(ctx context.Context, fault Fault, random *rand.Rand) error {
	if err := w.prepare(ctx, fault, random); err != nil {
		return err
	}
	seed := random.Uint64()
	loaded := make(chan error, 1)
	happened := make(chan struct{})
	go func() { loaded <- w.load(ctx, seed, fault.Kind == Point, happened) }()
	err := w.inject(ctx, fault, random)
	close(happened)
	if lerr := <-loaded; lerr != nil {
		err = errors.Join(err, fmt.Errorf("send events: %w", lerr))
	}
	if err != nil {
		return err
	}
	stored, err := count(ctx, w.opts.Binary, w.engines)
	if err != nil {
		return err
	}
	return compare(&w.sent, stored)
}

// load sends a load, and where the fault waits for work to do, more of it until it has happened: a service that joined late may
// be given its partitions only when the others have done with the first.
func (w *world) load(ctx context.Context, seed uint64, untilThen bool, happened <-chan struct{}) error {
	for {
		if err := send(ctx, w.urls(), seed, &w.sent); err != nil || !untilThen {
			return err
		}
		select {
		case <-happened:
			return nil
		default:
			seed++
		}
	}
}

// close ends the world's processes and, unless it is to be looked at, removes what it stored.
func (w *world) close(keep bool) error {
	var errs []error
	for _, p := range append(w.services, w.holder) {
		if p.running() {
			errs = append(errs, p.kill())
		}
	}
	errs = append(errs, w.drop())
	if !keep {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}
