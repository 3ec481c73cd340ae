package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"marquee/training/als"
)

type options struct {
	python, data, sets  string
	quick               bool
	threads, iterations int
	// Of scale: the sizes, or what one size takes.
	sizes, solver string
	one, dim      int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.python, "python", "", "an interpreter that has implicit (make bench-als makes one)")
	flag.StringVar(&o.data, "data", "../shared/data", "folder of public data sets")
	flag.StringVar(&o.sets, "sets", "", "comma-separated sets, of gowalla, ml-1m, zipf-1m and zipf-10m; empty: gowalla, ml-1m and zipf-10m, or zipf-1m with -quick")
	flag.BoolVar(&o.quick, "quick", false, "fewer iterations and a smaller synthetic set")
	flag.IntVar(&o.threads, "threads", 2, "threads of each side")
	flag.IntVar(&o.iterations, "iterations", 5, "iterations of each side, 3 with -quick")
	flag.StringVar(&o.sizes, "scale", "", "comma-separated numbers of synthetic interactions: measure how time and memory grow, and nothing else")
	flag.IntVar(&o.dim, "dim", 64, "dimension of the factors with -scale")
	flag.IntVar(&o.one, "one", 0, "measure one size only, and print JSON (what -scale runs)")
	flag.StringVar(&o.solver, "solver", als.SolverCG, "solver with -one")
	flag.Parse()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "benchals:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, w io.Writer) (err error) {
	switch {
	case o.iterations < 1 || o.threads < 1:
		return errors.New("-iterations and -threads must be 1 or more")
	case o.one > 0:
		return o.scaleOne(ctx, w)
	case o.sizes != "":
		return o.scale(ctx, w)
	}
	if o.python == "" {
		return errors.New("-python is missing: an interpreter that has implicit (make bench-als makes one)")
	}
	names := "gowalla,ml-1m,zipf-10m"
	if o.quick {
		o.iterations, names = 3, "gowalla,ml-1m,zipf-1m"
	}
	if o.sets != "" {
		names = o.sets
	}
	dir, err := os.MkdirTemp("", "benchals-")
	if err != nil {
		return fmt.Errorf("a folder to hand the matrix over in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	_, _ = fmt.Fprintf(w, "%d threads, confidence %d, regularization %d, median of %d iterations\n", o.threads, 1+alpha, regularization, o.iterations)
	_, _ = fmt.Fprintf(w, "%-10s %4s %-9s %11s %11s %7s %9s %13s %13s\n", "set", "dim", "solver", "marquee s", "implicit s", "ratio", "cpu ratio", "marquee loss", "implicit loss")
	var all []*measured
	for name := range strings.SplitSeq(names, ",") {
		m, err := load(o.data, name)
		if err != nil {
			return err
		}
		for _, dim := range []int{64, 128} {
			for _, solver := range []string{als.SolverCG, als.SolverCholesky} {
				r, err := o.compare(ctx, dir, name, m, dim, solver)
				if err != nil {
					return err
				}
				_, _ = fmt.Fprintf(w, "%-10s %4d %-9s %11.3f %11.3f %7.2f %9.2f %13.6g %13.6g\n", r.Set, r.Dim, r.Solver, r.Ours, r.Theirs, r.Ratio, r.CPURatio, r.OurLoss, r.TheirLoss)
				all = append(all, r)
			}
		}
	}
	return json.NewEncoder(w).Encode(summarise(all))
}

// summary is the last line of output.
type summary struct {
	CG       float64 `json:"cg_ratio"`
	Cholesky float64 `json:"cholesky_ratio"`
	// ExactByCG is implicit's time with conjugate gradients by ours with the exact solver, at d=64, the least of all sets.
	ExactByCG float64     `json:"exact_to_their_cg_64"`
	Measured  []*measured `json:"measured"`
}

func summarise(all []*measured) summary {
	ratios := map[string][]float64{}
	least := 0.0
	for _, r := range all {
		ratios[r.Solver] = append(ratios[r.Solver], r.Ratio)
		for _, other := range all {
			if r.Solver == als.SolverCholesky && other.Solver == als.SolverCG && r.Dim == 64 && other.Dim == 64 && r.Set == other.Set {
				if q := other.Theirs / r.Ours; least == 0 || q < least {
					least = q
				}
			}
		}
	}
	return summary{CG: geometricMean(ratios[als.SolverCG]), Cholesky: geometricMean(ratios[als.SolverCholesky]), ExactByCG: least, Measured: all}
}
