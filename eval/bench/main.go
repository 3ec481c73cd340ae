// Command bench measures how fast a model is judged on a published split: every title ranked for every user, what the user has in
// training masked, the first twenty measured. Beside it, in the same run and on the same vectors, numpy ranks and ranx
// measures. Each side is a process of its own, the two in turn; medians and their ratio are printed, and one line of JSON last.
//
// The clock of either side starts when vectors and split are in memory, and stops when the means are known. The means must agree: a
// side that computes something else is no comparison.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"marquee/eval/benchmark"
)

type options struct {
	data, python        string
	dim, k, rounds, cpu int
	handover            string // the folder of a side's vectors: this process is that side
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, parse()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse() options {
	var o options
	flag.StringVar(&o.data, "data", "../shared/data/gowalla", "folder of a split in the lightgcn layout")
	flag.StringVar(&o.python, "python", "", "an interpreter that has numpy, pandas and ranx")
	flag.IntVar(&o.dim, "dim", 64, "numbers in a vector")
	flag.IntVar(&o.k, "k", 20, "length of list")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each side is run")
	flag.IntVar(&o.cpu, "threads", 2, "threads of each side")
	flag.StringVar(&o.handover, "side", "", "be the measured side, on the vectors in this folder")
	flag.Parse()
	return o
}

func run(ctx context.Context, o options) error {
	if o.dim < 1 || o.k < 1 || o.rounds < 1 || o.cpu < 1 {
		return errors.New("-dim, -k, -rounds and -threads must be 1 or more")
	}
	b, err := benchmark.Load("lightgcn", o.data)
	if err != nil {
		return err
	}
	if o.handover != "" {
		return side(ctx, o, b)
	}
	if o.python == "" {
		return errors.New("-python is missing: an interpreter that has numpy, pandas and ranx (make bench-eval makes one)")
	}
	dir, err := os.MkdirTemp("", "bench-eval-")
	if err != nil {
		return fmt.Errorf("make a folder for the vectors: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	o.handover = dir
	if err := write(o, b); err != nil {
		return fmt.Errorf("hand over vectors and split: %w", err)
	}
	r, err := compare(ctx, o)
	if err != nil {
		return err
	}
	r.Users, r.Titles = len(b.Holdout.Users), b.Holdout.Train.Cols
	r.print(os.Stdout)
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	fmt.Println(string(line))
	return nil
}
