// Command benchserving measures how fast recommendations and home pages are answered, on the real binary as a process of its own, by
// a load generator that has to share the machine's processors with it. It ends with one line of JSON.
//
// Simulated viewers watch, their events are imported, a model is trained and promoted, and the service is started on the result
// with whatever the release holds. There is no cache of answers; every profile is folded in at every request. Meanwhile events
// arrive at a steady rate. Then, for Recommend of 20 titles (30% of the requests with a filter in CEL) and for HomePage of 10 rows of 20:
//
//   - peak: eight connections ask again as soon as they are answered. Rate and latency are those of the keys that end in _8.
//   - paced: requests at a fixed rate, measured from when each was due, whatever became of those before it, so that a slow answer
//     does not hide the wait of those behind it (coordinated omission).
//   - freshness: from the acknowledgement of a play to the first answer that knows of it; and, asked with min_position, whether the
//     very next answer does.
//
// With -large a second, larger world is measured as well, with -overload what is left at twice the peak.
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
	"time"
)

// options are what a run is made of.
type options struct {
	binary string
	dir    string
	quick  bool
	large  bool
	// overload asks for twice the peak for this long; 0 leaves it out.
	overload time.Duration
	length   time.Duration
	events   int
	probes   int
}

func parse(args []string, getenv func(string) string) (options, error) {
	o := options{quick: getenv("QUICK") == "1"}
	f := flag.NewFlagSet("benchserving", flag.ContinueOnError)
	f.StringVar(&o.binary, "marquee", "bin/marquee", "the binary to measure")
	f.StringVar(&o.dir, "dir", "", "folder of the worlds, kept for the next run; a temporary one, removed at the end, when empty")
	f.BoolVar(&o.large, "large", false, "measure 200,000 titles and profiles as well")
	f.DurationVar(&o.overload, "overload", 0, "ask for twice the peak for so long")
	f.DurationVar(&o.length, "length", 0, "length of a phase; 0: 15 s, 5 s when QUICK=1")
	f.IntVar(&o.events, "events", 500, "events a second that arrive meanwhile")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("no arguments are taken, %q was given", f.Args())
	}
	if o.length == 0 {
		o.length = 15 * time.Second
		if o.quick {
			o.length = 5 * time.Second
		}
	}
	o.probes = 200
	if o.quick {
		o.probes = 50
	}
	return o, nil
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
		fmt.Fprintln(os.Stderr, "benchserving:", err)
		os.Exit(1)
	}
}

// bench measures every size and prints the result.
func bench(ctx context.Context, o options) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "marquee-bench-serving-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	r := &run{options: o, began: time.Now()}
	var out result
	out.LoadBefore = loadAverage()
	if out.figures, err = r.size(ctx, small()); err != nil {
		return err
	}
	if o.large {
		figures, err := r.size(ctx, large())
		if err != nil {
			return err
		}
		out.Large = &figures
		out.LargeRatio = ratio(out.RecommendRPS, figures.RecommendRPS)
		out.LargeHomeRatio = ratio(out.HomeRPS, figures.HomeRPS)
	}
	out.LoadAfter = loadAverage()
	if err := out.table(os.Stdout); err != nil {
		return err
	}
	line, err := json.Marshal(out)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

// run is one run in progress.
type run struct {
	options
	began time.Time
}

// size makes a world where it is not there yet, serves it and measures.
func (r *run) size(ctx context.Context, w worldSize) (f figures, err error) {
	dir := filepath.Join(r.dir, w.name)
	if err := r.prepare(ctx, dir, w); err != nil {
		return f, fmt.Errorf("make the %s world: %w", w.name, err)
	}
	r.say("starting the service on %d titles and %d profiles", w.titles, w.viewers)
	s, err := startService(ctx, r.binary, filepath.Join(dir, "data"), filepath.Join(dir, "serve.log"))
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	m, err := newMeasurement(ctx, r, s, w)
	if err != nil {
		return f, err
	}
	return m.all(ctx)
}

// say tells a person what is being done; the result alone goes to standard output.
func (r *run) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}
