// Command crashrun builds marquee with crash points and runs the crash harness on it. `make crash` calls it. It ends with a
// summary and one line of JSON, and exits 1 when an acknowledged event was lost or counted twice.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"marquee/internal/testkit/crash"
	"marquee/internal/testkit/kafka"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		stop()
		os.Exit(1)
	}
}

var errBreach = errors.New("an acknowledged event was lost or counted twice, or a recovery did not end")

func run(ctx context.Context) error {
	opts := crash.Options{Out: os.Stdout}
	flag.IntVar(&opts.Runs, "runs", 100, "how many `runs`")
	flag.Uint64Var(&opts.Seed, "seed", 0, "the seed of everything random; 0 for a new one")
	flag.StringVar(&opts.Layout, "layout", "", "only this layout: embedded or cluster")
	flag.StringVar(&opts.Fault, "fault", "", "only this fault, or this kind of fault")
	flag.BoolVar(&opts.OutOfOrder, "out-of-order", false, "make the service break its order on purpose; the harness must notice")
	keep := flag.String("dir", "", "scratch `folder`; by default a new one, removed unless a run failed")
	flag.Parse()
	if opts.Seed == 0 {
		opts.Seed = rand.Uint64()
	}
	fmt.Printf("seed %d\n", opts.Seed)
	switch err := kafka.Ready(kafka.Cache(".")); {
	case err == nil:
		opts.KafkaCache = kafka.Cache(".")
	case opts.Layout == crash.Cluster || os.Getenv("CI") == "true":
		return err
	default:
		fmt.Printf("LEFT OUT: the cluster of Kafka and PostgreSQL: %v\n", err)
	}
	dir, err := scratch(*keep)
	if err != nil {
		return err
	}
	opts.Dir, opts.Binary = dir, filepath.Join(dir, "marquee")
	if err := crash.Build(ctx, opts.Binary); err != nil {
		return err
	}
	report, err := crash.Run(ctx, opts)
	if err := errors.Join(err, report.Print(os.Stdout)); err != nil {
		return err
	}
	if len(report.Failures) > 0 {
		return fmt.Errorf("%w; what is left of it is in %s", errBreach, dir)
	}
	if *keep != "" {
		return nil
	}
	return os.RemoveAll(dir)
}

func scratch(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "marquee-crash-")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return abs, os.MkdirAll(abs, 0o755)
}
