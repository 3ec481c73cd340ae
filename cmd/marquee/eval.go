package main

import (
	"fmt"
	"slices"
	"time"

	"marquee/eval/benchmark"
	"marquee/eval/metric"
)

type evalCommands struct {
	Tune      evalTuneCommand      `cmd:"" help:"Search hyper-parameters on a validation cut from a published split's train side."`
	Offline   evalOfflineCommand   `cmd:"" help:"Measure models on this deployment's own history, beside popularity and item-kNN."`
	Benchmark evalBenchmarkCommand `cmd:"" help:"Measure a model on a published split."`
	Cold      evalColdCommand      `cmd:"" help:"Measure what the catalogue says of titles nobody has watched, on titles left out by year of release."`
	Value     evalValueCommand     `cmd:"" help:"Measure what a simulated log's viewers would truly make of what models show them."`
}

type evalBenchmarkCommand struct {
	Format      string        `required:"" enum:"lightgcn,ncf,sasrec" help:"Layout of the split: lightgcn, ncf or sasrec."`
	Data        string        `required:"" type:"existingdir" help:"Folder of the split." placeholder:"DIR"`
	Model       string        `required:"" help:"random, popular, knn, userknn, ease, als, twotower or sasrec." placeholder:"NAME"`
	Preset      string        `default:"default" help:"Hyper-parameters: default, one of the model's presets, or auto, which searches them on a validation cut from the train side." placeholder:"NAME"`
	Budget      time.Duration `default:"20m" help:"Wall-clock time that auto may take, the last training included."`
	Seeds       int           `default:"1" help:"Measure under so many seeds, from 1." placeholder:"N"`
	Ties        string        `default:"worst" enum:"worst,expected,best" help:"Where relevant titles stand among equal scores: worst, expected or best."`
	Memory      float64       `default:"4" help:"GiB that a model's own matrix may take; ease needs 4 bytes for each pair of titles." placeholder:"GIB"`
	Checkpoints string        `type:"existingdir" help:"Folder that twotower and sasrec keep a checkpoint a seed in after each epoch; the same command given again goes on from there." placeholder:"DIR"`
	Curve       []int         `help:"Instead of measuring on the test side: train with each of these numbers of epochs, and show quality on a validation cut from the train side beside processor time; of als, twotower and sasrec." placeholder:"N,..."`
	NoBaselines bool          `help:"Leave out popularity and item-kNN, which are measured beside every model."`
	Slice       []string      `help:"Take the metrics within groups as well: history (users by titles known of them) or popularity (titles)." placeholder:"NAME"`
	Table       string        `default:"text" enum:"text,markdown,latex" help:"Table format: text, markdown or latex."`
	PerUser     string        `help:"Write the results user by user to this Parquet file." placeholder:"FILE"`
	JSON        string        `help:"Write the result as JSON to this file; - for standard output." placeholder:"OUT"`
}

// Run fits the model to the split's train side and measures it.
func (b evalBenchmarkCommand) Run(c *console) error {
	if b.Seeds < 1 {
		return fmt.Errorf("--seeds must be 1 or more, is %d", b.Seeds)
	}
	if !(b.Memory > 0 && b.Memory < 1<<20) {
		return fmt.Errorf("--memory must be above 0 GiB, is %g", b.Memory)
	}
	var model benchmark.Model
	var err error
	if b.Preset != "auto" {
		if model, err = benchmarkModel(b.Model, b.Preset, modelLimits{memory: gibibytes(b.Memory), checkpoints: b.Checkpoints}); err != nil {
			return err
		}
	}
	data, err := benchmark.Load(b.Format, b.Data)
	if err != nil {
		return err
	}
	if len(b.Curve) > 0 {
		return b.curve(c, data)
	}
	var chosen map[string]float64
	if b.Preset == "auto" {
		if model, chosen, err = b.searched(c, data); err != nil {
			return err
		}
	}
	opts := benchmark.Options{
		Ties:      map[string]metric.Ties{"worst": metric.Worst, "expected": metric.Expected, "best": metric.Best}[b.Ties],
		Resamples: 2000,
		Progress:  func(what string) { fmt.Fprintln(c.stderr, "measuring", what) },
	}
	if opts.Slices, err = holdoutSlices(b.Slice, data.Holdout); err != nil {
		return err
	}
	for seed := range b.Seeds {
		opts.Seeds = append(opts.Seeds, uint64(seed+1))
	}
	if !b.NoBaselines {
		for _, name := range []string{"popular", "knn"} {
			base, err := benchmarkModel(name, "default", modelLimits{})
			if err != nil {
				return err
			}
			opts.Baselines = append(opts.Baselines, base)
		}
	}
	report, err := benchmark.Run(c.ctx, data, model, opts)
	if err != nil {
		return err
	}
	report.Hyperparameters = chosen
	if b.PerUser != "" {
		if err := writePerUser(b.PerUser, slices.Concat(report.Results, report.Baselines), nil); err != nil {
			return err
		}
	}
	if b.JSON == "-" {
		return printJSON(c.stdout, report)
	}
	if b.JSON != "" {
		if err := writeJSON(b.JSON, report); err != nil {
			return err
		}
	}
	measured, k := slices.Concat(report.Results, report.Baselines), data.Cutoffs[len(data.Cutoffs)/2]
	return printTables(c, b.Table, benchmarkTable(report, data.Cutoffs), listTable(measured, k), groupTable(measured, middle(k)))
}

// gibibytes is so many GiB in bytes.
func gibibytes(n float64) int64 { return int64(n * (1 << 30)) }
