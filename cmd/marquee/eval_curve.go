package main

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"marquee/eval/benchmark"
	"marquee/eval/metric/judge"
	"marquee/eval/report"
)

// validationSeed decides which titles a curve's validation cut holds out, the same ones of every model and length.
const validationSeed = 1

// curve trains the model anew for each number of epochs, with a schedule of that length, and measures quality on a validation cut from the train side
// beside the processor time that training took. The test side has no part in it.
func (b evalBenchmarkCommand) curve(c *console, data *benchmark.Benchmark) error {
	if !slices.Contains([]string{"als", "twotower", "sasrec"}, b.Model) {
		return fmt.Errorf("--curve is of models that train in epochs, als, twotower and sasrec, not of %s", b.Model)
	}
	if slices.Min(b.Curve) < 1 {
		return fmt.Errorf("--curve must be numbers of epochs of 1 or more, is %v", b.Curve)
	}
	v, err := data.Validation(validationSeed)
	if err != nil {
		return err
	}
	k := data.Cutoffs[len(data.Cutoffs)/2]
	recall, ndcg := fmt.Sprintf("recall@%d", k), fmt.Sprintf("ndcg@%d", k)
	t := report.Table{
		Title:  fmt.Sprintf("%s, validation cut from what trains: %d users judged, %d interactions to learn from", data.Format, len(v.Holdout.Users), v.Fit.NNZ()),
		Header: []string{"model", "epochs", "processor time", "clock", recall, ndcg},
	}
	for _, epochs := range b.Curve {
		model, err := benchmarkModel(b.Model, b.Preset, modelLimits{memory: gibibytes(b.Memory), epochs: epochs})
		if err != nil {
			return err
		}
		fmt.Fprintf(c.stderr, "measuring %s after %d epochs\n", b.Model, epochs)
		began, used := time.Now(), processorTime()
		scorer, err := model.Fit(c.ctx, v, 1)
		if err != nil {
			return fmt.Errorf("fit %s with %d epochs: %w", b.Model, epochs, err)
		}
		clock, used := time.Since(began), processorTime()-used
		result, err := judge.Judge(c.ctx, v.Holdout, scorer, judge.Options{Cutoffs: data.Cutoffs})
		if err != nil {
			return fmt.Errorf("judge %s with %d epochs: %w", b.Model, epochs, err)
		}
		t.Rows = append(t.Rows, []string{
			b.Model, strconv.Itoa(epochs), fmt.Sprintf("%.0fs", used.Seconds()), fmt.Sprintf("%.0fs", clock.Seconds()),
			fmt.Sprintf("%.4f", result.Means[recall]), fmt.Sprintf("%.4f", result.Means[ndcg]),
		})
	}
	return printTables(c, b.Table, t)
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil { // Only of a bad address.
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
