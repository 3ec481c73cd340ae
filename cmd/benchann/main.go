package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"marquee/ann"
)

type options struct {
	python, data, only string
	open               string
	quick, memoryOnly  bool
	queries, rounds    int
	threads            int
	targets            []float64
	setNames           []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.python, "python", "python3", "interpreter with hnswlib, faiss and numpy")
	flag.StringVar(&o.data, "data", "../shared/data", "folder of public data sets, for gowalla")
	flag.StringVar(&o.only, "sets", "", "comma-separated sets to run, of 100k, 1m, 128, gowalla, lengths, l2, cosine, 50k, 30k128; empty means the first four, the last two and gowalla with -quick")
	flag.BoolVar(&o.quick, "quick", false, "smaller sets, fewer rounds, and no faiss")
	flag.BoolVar(&o.memoryOnly, "memory", false, "measure the memory of loaded indexes and the time to open them, not searches; of 1m unless -sets says otherwise")
	flag.StringVar(&o.open, "open", "", "open this index file and print the time and memory it takes, which -memory has another process do")
	flag.IntVar(&o.threads, "build-threads", runtime.GOMAXPROCS(0), "threads that build")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "benchann takes no arguments")
		os.Exit(2)
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "benchann:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.open != "" {
		return printFootprint(o.open)
	}
	o.queries, o.rounds, o.targets = 2000, 15, []float64{.95, .99}
	o.setNames = []string{"100k", "gowalla", "128", "1m"}
	if o.quick {
		o.queries, o.rounds, o.setNames = 1000, 9, []string{"50k", "gowalla", "30k128"}
	}
	if o.memoryOnly {
		o.setNames, o.queries = []string{"1m"}, 64
	}
	if o.only != "" {
		o.setNames = strings.Split(o.only, ",")
	}
	dir, err := os.MkdirTemp("", "benchann-")
	if err != nil {
		return fmt.Errorf("a folder to hand vectors over in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := startPeer(ctx, o.python, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	fmt.Printf("hnswlib %s (%s), faiss %s; M %d, efConstruction %d, recall@%d, one thread, CPU time, %d queries, %d rounds\n\n",
		p.Version.HNSWLib, p.Version.SIMD, p.Version.Faiss, m, efConstruction, k, o.queries, o.rounds)
	var all []result
	for _, name := range o.setNames {
		s, err := o.load(ctx, name)
		if err != nil {
			return err
		}
		if o.memoryOnly {
			if err := o.memory(ctx, p, s); err != nil {
				return err
			}
			continue
		}
		results, err := o.compare(ctx, p, s)
		if err != nil {
			return err
		}
		all = append(all, results...)
	}
	if o.memoryOnly {
		return nil
	}
	o.table(all)
	return o.summary(all)
}

func (o options) load(ctx context.Context, name string) (*set, error) {
	switch name {
	case "100k":
		return clustered("100k x 64", ann.InnerProduct, 100_000, 64, o.queries), nil
	case "1m":
		return clustered("1M x 64", ann.InnerProduct, 1_000_000, 64, o.queries), nil
	case "128":
		return clustered("100k x 128", ann.InnerProduct, 100_000, 128, o.queries), nil
	case "50k":
		return clustered("50k x 64", ann.InnerProduct, 50_000, 64, o.queries), nil
	case "30k128":
		return clustered("30k x 128", ann.InnerProduct, 30_000, 128, o.queries), nil
	case "lengths":
		return zipfLengths(clustered("100k x 64, Zipf lengths", ann.InnerProduct, 100_000, 64, o.queries)), nil
	case "l2":
		return clustered("100k x 64, L2", ann.L2, 100_000, 64, o.queries), nil
	case "cosine":
		return clustered("100k x 64, cosine", ann.Cosine, 100_000, 64, o.queries), nil
	case "gowalla":
		return gowalla(ctx, o.data, o.queries)
	}
	return nil, fmt.Errorf("no set %q: there are 100k, 1m, 128, gowalla, lengths, l2, cosine, 50k and 30k128", name)
}

func (o options) compare(ctx context.Context, p *peer, s *set) ([]result, error) {
	progress := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
	}
	truth, err := p.load(s)
	if err != nil {
		return nil, err
	}
	var ix ann.Index
	var queries []float32
	engines := []engine{
		python{p, "hnswlib"},
		&marquee{index: &ix, queries: &queries, float32: true},
		&marquee{index: &ix, queries: &queries},
	}
	if !o.quick {
		engines = append(engines, python{p, "faiss"})
	}
	if len(s.vectors)/s.dim <= maxCoder {
		engines = append(engines, &coder{marquee{float32: true}})
	}
	return measure(ctx, s, truth, engines, o.targets, o.threads, o.rounds, progress)
}

// table prints a row for each set and engine. The first engine of a set is what the others are compared with.
func (o options) table(all []result) {
	fmt.Printf("%-24s %-16s %8s %6s %7s", "set", "engine", "build s", "ratio", "ef 64")
	for _, t := range o.targets {
		fmt.Printf(" | %7s %5s %9s %6s", fmt.Sprintf("@%.2f", t), "ef", "queries/s", "ratio")
	}
	fmt.Println()
	var base result
	for _, r := range all {
		if r.set != base.set {
			base = r
		}
		fmt.Printf("%-24s %-16s", r.set, r.engine)
		if r.build > 0 {
			fmt.Printf(" %8.1f %6.2f", r.build.Seconds(), r.build.Seconds()/base.build.Seconds())
		} else {
			fmt.Printf(" %8s %6s", "", "")
		}
		fmt.Printf(" %7.4f", r.at64)
		for j, p := range r.points {
			if p.ef == 0 {
				fmt.Printf(" | %7.4f %5s %9s %6s", p.best, "never", "", "")
				continue
			}
			fmt.Printf(" | %7.4f %5d %9.0f %6.2f", p.recall, p.ef, p.qps(), p.ratio(base.points[j]))
		}
		fmt.Println()
	}
	fmt.Println()
}

// summary prints the geometric means over the sets as one line of JSON.
func (o options) summary(all []result) error {
	ratios := map[string][]float64{}
	var base result
	for _, r := range all {
		if r.set != base.set {
			base = r
			continue
		}
		short := map[string]string{"marquee float32": "f32", "marquee int8": "int8"}[r.engine]
		if short == "" {
			continue
		}
		if r.build > 0 {
			ratios["build_cpu_ratio"] = append(ratios["build_cpu_ratio"], r.build.Seconds()/base.build.Seconds())
		}
		for j, t := range o.targets {
			if r.points[j].ef == 0 || base.points[j].ef == 0 {
				return fmt.Errorf("%s on %s: recall %.2f is not reached by both it and %s", r.engine, r.set, t, base.engine)
			}
			key := fmt.Sprintf("%s_qps_ratio@%s", short, strings.TrimPrefix(fmt.Sprintf("%.2f", t), "0"))
			ratios[key] = append(ratios[key], r.points[j].ratio(base.points[j]))
		}
	}
	out := map[string]float64{}
	for key, v := range ratios {
		out[key] = float64(int(geometricMean(v)*1000+.5)) / 1000
	}
	line, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("print the summary: %w", err)
	}
	fmt.Println(string(line))
	return nil
}
