// Package crash kills everything an acknowledged event passes through, again and again, and holds what is stored afterwards
// against what was acknowledged. It drives the real binary, built with crash points, over RPC and its command line.
//
// A run sends events while one fault happens: the service, the warehouse's process, the consumer's database or Kafka is
// killed at a random moment; the service dies at a chosen point between ledger, first sink, second sink and commit; the
// consumer's position is set back, or the ledger is replaced by an older copy of itself; or consumers come and go in the
// middle of a range. Senders repeat what was not answered, and some of what was, under the same event ids. Then:
//
//	acknowledged event ids = ids through the warehouse's reader = ids through the lake's reader
//	every column through the warehouse's reader = every column through the lake's
//
// Runs share a world (engines and what is stored in them), which is held to account as a whole after each, and is replaced
// now and then. Everything random comes from one seed.
package crash

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"marquee/internal/testkit/kafka"
	"marquee/internal/testkit/postgres"
)

// runsPerWorld bounds what a world stores, and so the time that reading all of it takes.
const runsPerWorld = 6

// runTimeout is more than any run needs that goes well.
const runTimeout = 2 * time.Minute

// Layouts are where the service's engines are.
const (
	// Embedded is one process with everything in it.
	Embedded = "embedded"
	// Cluster is two services that share Kafka, PostgreSQL, a lake and another process's warehouse.
	Cluster = "cluster"
)

// Options say what to run.
type Options struct {
	// Binary is marquee, built with the tag crashpoints.
	Binary string
	Runs   int
	// Seed decides everything random: the same seed gives the same faults, moments and events.
	Seed uint64
	// KafkaCache holds Apache Kafka's jars; empty leaves the cluster layout out.
	KafkaCache string
	// Layout and Fault, when not empty, restrict the runs to one layout and one fault.
	Layout, Fault string
	// OutOfOrder makes the service mark a range before it writes it: the runs must fail.
	OutOfOrder bool
	// Dir is a scratch folder. What failed is left in it.
	Dir string
	// Out gets a line a run.
	Out io.Writer
}

// Build builds the binary from the module that holds the working directory.
func Build(ctx context.Context, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "crashpoints", "-o", to, "marquee/cmd/marquee")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build marquee with crash points: %w\n%s", err, out)
	}
	return nil
}

// harness runs the runs.
type harness struct {
	opts   Options
	report *Report
	decks  map[string]*deck
	worlds map[string]*world

	kafka    *kafka.Server
	postgres *postgres.Server
}

// Run runs the harness. The report is valid also with an error, which says that the harness itself failed; breaches are in
// the report.
func Run(ctx context.Context, opts Options) (report *Report, err error) {
	h := &harness{
		opts: opts, report: newReport(opts.Seed), worlds: map[string]*world{},
		decks: map[string]*deck{
			Embedded: newDeck(rand.New(rand.NewPCG(opts.Seed, 1)), embeddedFaults(), opts.Fault),
			Cluster:  newDeck(rand.New(rand.NewPCG(opts.Seed, 2)), clusterFaults(), opts.Fault),
		},
	}
	defer func() { err = errors.Join(err, h.close()) }()
	began := time.Now()
	defer func() { h.report.Seconds = time.Since(began).Seconds() }()
	for i := range opts.Runs {
		layout := h.layout(i)
		if h.decks[layout].empty() {
			return h.report, fmt.Errorf("layout %s has no fault %q", layout, opts.Fault)
		}
		if err := h.one(ctx, i, layout); err != nil {
			return h.report, fmt.Errorf("run %d: %w", i, err)
		}
	}
	return h.report, nil
}

// layout is two runs in five on the cluster, if there is one.
func (h *harness) layout(run int) string {
	switch {
	case h.opts.Layout != "":
		return h.opts.Layout
	case h.opts.KafkaCache == "" || run%5%2 == 0:
		return Embedded
	default:
		return Cluster
	}
}

// one does a run. Its error is the harness's; a breach goes into the report.
func (h *harness) one(ctx context.Context, i int, layout string) error {
	w, err := h.world(ctx, layout)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(h.opts.Seed, uint64(i)+100))
	fault := h.decks[layout].deal()
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	began := time.Now()
	done, err := w.run(ctx, fault, random)
	result := RunResult{
		Run: i, Layout: layout, Fault: fault.String(), Acknowledged: done.acknowledged, Duplicates: done.duplicates,
		Retries: done.retries, Recoveries: done.recoveries, Seconds: time.Since(began).Seconds(),
	}
	if err != nil {
		result.Error = err.Error()
	}
	h.report.add(result)
	fmt.Fprintln(h.opts.Out, result)
	if err == nil && w.runs < runsPerWorld {
		return nil
	}
	delete(h.worlds, layout)
	return w.close(err != nil)
}

// world returns the layout's world, which is made when there is none.
func (h *harness) world(ctx context.Context, layout string) (*world, error) {
	if w := h.worlds[layout]; w != nil {
		return w, nil
	}
	dir, err := os.MkdirTemp(h.opts.Dir, layout+"-")
	if err != nil {
		return nil, err
	}
	var w *world
	if layout == Embedded {
		w, err = newEmbedded(ctx, h.opts, dir)
	} else if err = h.startServers(ctx); err == nil {
		w, err = newCluster(ctx, h.opts, dir, h.kafka, h.postgres)
	}
	if err != nil {
		return nil, fmt.Errorf("make a world of layout %s in %s: %w", layout, dir, err)
	}
	h.worlds[layout] = w
	return w, nil
}

// startServers starts Kafka and PostgreSQL, which all clusters share one after the other.
func (h *harness) startServers(ctx context.Context) error {
	var err error
	if h.kafka == nil {
		if h.kafka, err = kafka.Start(ctx, kafka.Options{Cache: h.opts.KafkaCache, Dir: filepath.Join(h.opts.Dir, "kafka")}); err != nil {
			return err
		}
	}
	if h.postgres == nil {
		h.postgres, err = postgres.Start(postgres.Options{Durable: true})
	}
	return err
}

func (h *harness) close() error {
	var errs []error
	for _, w := range h.worlds {
		errs = append(errs, w.close(false))
	}
	if h.kafka != nil {
		errs = append(errs, h.kafka.Close())
	}
	if h.postgres != nil {
		errs = append(errs, h.postgres.Close())
	}
	return errors.Join(errs...)
}

// deck deals faults in random order, every one once before any comes again.
type deck struct {
	random *rand.Rand
	all    []Fault
	left   []Fault
}

func newDeck(random *rand.Rand, faults []Fault, only string) *deck {
	d := &deck{random: random}
	for _, f := range faults {
		if only == "" || f.String() == only || string(f.Kind) == only {
			d.all = append(d.all, f)
		}
	}
	return d
}

func (d *deck) empty() bool { return len(d.all) == 0 }

func (d *deck) deal() Fault {
	if len(d.left) == 0 {
		d.left = slices.Clone(d.all)
		slices.SortFunc(d.left, func(a, b Fault) int { return cmp.Compare(a.String(), b.String()) })
		d.random.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	f := d.left[0]
	d.left = d.left[1:]
	return f
}
