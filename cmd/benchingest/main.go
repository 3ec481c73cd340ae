// Command benchingest measures the way of watch events from RecordEvents into the warehouse and the lake, on the real binary as
// a process of its own, with everything that makes the load on the same machine. It ends with one line of JSON.
//
// In one run, on one data folder:
//
//   - record: callers send what simulated viewers do, in batches of 100 events, as fast as they are answered. The clock stops when
//     every acknowledged event is counted in both sinks.
//   - paced: the same at a fixed rate, for latency: acknowledgement from when a batch was due, and from there to both sinks.
//   - insert: the blocks the service wrote, inserted by bare clickhouse-go into a table of the same definition.
//   - import: `marquee import movielens` beside the service, counted in both sinks, against a bare synced produce of the very
//     records it made to the same broker.
//   - top-up: until there are ten million events; resident memory is sampled from start to end.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	ingestv1 "marquee/ingest/v1"
)

// options are what a run is made of.
type options struct {
	binary  string
	broker  string
	modules string
	dir     string
	clients int
	rate    int
	quick   bool
	// unsynced goes on where the broker does not sync, and says so in the result.
	unsynced bool
	only     string

	record, paced time.Duration
	imported      int
	blocks        int
	total         int64
	rounds        int
}

func parse(args []string, getenv func(string) string) (options, error) {
	o := options{broker: getenv("BROKER"), quick: getenv("QUICK") == "1"}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.binary, "marquee", "bin/marquee", "the binary to measure")
	f.StringVar(&o.modules, "modules", "ingest", "modules to serve")
	f.StringVar(&o.dir, "dir", "", "data folder; a temporary one, removed at the end, when empty")
	f.IntVar(&o.clients, "clients", 64, "callers that send batches side by side")
	f.IntVar(&o.rate, "rate", 0, "events a second of the paced phase; 0: 50,000, or four fifths of what was sustained if that is less")
	f.BoolVar(&o.unsynced, "unsynced", false, "go on where the broker does not sync every write")
	f.StringVar(&o.only, "only", "", "phases to run, separated by commas: record, paced, import, insert, topup; all when empty")
	record := f.Duration("record", 0, "length of the record phase; 0: two minutes, 20 s when QUICK=1")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("no arguments are taken, %q was given", f.Args())
	}
	o.record, o.paced, o.imported, o.blocks, o.total, o.rounds = 2*time.Minute, time.Minute, 1_500_000, 40, 10_000_000, 3
	if o.quick {
		o.record, o.paced, o.imported, o.blocks, o.total, o.rounds = 20*time.Second, 10*time.Second, 400_000, 20, 0, 3
	}
	if *record > 0 {
		o.record = *record
	}
	return o, nil
}

// runs says whether a phase is to run.
func (o options) runs(phase string) bool {
	return o.only == "" || strings.Contains(","+o.only+",", ","+phase+",")
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o, err := parse(os.Args[1:], os.Getenv)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = bench(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench runs every phase and prints the result.
func bench(ctx context.Context, o options) (err error) {
	dir := o.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "marquee-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	r := &run{options: o, dir: dir, result: result{LoadBefore: loadAverage(), Broker: "embedded", Modules: o.modules}}
	if o.broker != "" {
		r.result.Broker = "kafka"
	}
	if err := r.all(ctx); err != nil {
		return errors.Join(err, r.close())
	}
	if err := r.close(); err != nil {
		return err
	}
	r.result.LoadAfter = loadAverage()
	line, err := json.Marshal(r.result)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

// run is one run in progress.
type run struct {
	options
	dir      string
	service  *service
	sinks    *sinks
	memory   *memory
	stopMem  func()
	started  time.Time
	result   result
	acked    int64
	imports  int64
	followed *follower
	callers  []*caller
}

func (r *run) all(ctx context.Context) error {
	var err error
	r.started = time.Now()
	r.say("simulating viewers")
	if r.callers, err = newCallers(ctx, r.clients); err != nil {
		return err
	}
	if r.service, err = startService(ctx, r.options, filepath.Join(r.dir, "data"), filepath.Join(r.dir, "serve.log")); err != nil {
		return err
	}
	r.memory = newMemory(r.service.pid())
	r.stopMem = r.memory.sample()
	if r.sinks, err = openSinks(ctx, r.service); err != nil {
		return err
	}
	if err := r.emptyLog(ctx); err != nil {
		return err
	}
	if err := r.sinks.empty(ctx); err != nil {
		return err
	}
	for _, phase := range []struct {
		name string
		run  func(context.Context) error
	}{{"record", r.recordPhase}, {"paced", r.pacedPhase}, {"insert", r.insertPhase}, {"import", r.importPhase}, {"topup", r.topUp}} {
		if !r.runs(phase.name) {
			continue
		}
		r.memory.phase(phase.name)
		if err := phase.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", phase.name, err)
		}
		r.say("%s: %s; %d events", phase.name, r.memory.last(), r.acked+r.imports)
	}
	r.memory.phase("verify")
	return r.verify(ctx)
}

// emptyLog makes sure that the broker brings no events from before the first measurement.
func (r *run) emptyLog(ctx context.Context) (err error) {
	b, err := r.openBroker(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	client, err := b.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, ingestv1.TopicWatchEvents)
	if err != nil {
		return fmt.Errorf("look what the broker holds: %w", err)
	}
	records := int64(0)
	ends.Each(func(o kadm.ListedOffset) { records += max(o.Offset, 0) })
	if records > 0 {
		return fmt.Errorf("the broker had %d records of %s already: measure on an empty one", records, ingestv1.TopicWatchEvents)
	}
	return nil
}

func (r *run) close() error {
	var errs []error
	if r.stopMem != nil {
		r.stopMem()
		r.result.Memory = r.memory.peaks()
		for _, p := range r.result.Memory {
			r.result.RSSMax, r.result.PSSMax = max(r.result.RSSMax, p.RSS), max(r.result.PSSMax, p.PSS)
		}
	}
	if r.sinks != nil {
		errs = append(errs, r.sinks.close())
	}
	if r.service != nil {
		errs = append(errs, r.service.stop())
	}
	return errors.Join(errs...)
}

// say tells a person what is being done; the result alone goes to standard output's last line.
func (r *run) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(r.started).Seconds(), fmt.Sprintf(format, args...))
}
