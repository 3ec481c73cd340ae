package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"marquee/eval/benchmark"
	"marquee/eval/tune"
)

// searchedModels can be measured with the preset auto.
func searchedModels() []string { return []string{"als", "ease", "knn", "userknn"} }

// searched chooses the model's hyper-parameters on a validation cut from the train side, within the budget. It knows nothing of the
// data set; the test side has no say.
func (b evalBenchmarkCommand) searched(c *console, data *benchmark.Benchmark) (benchmark.Model, map[string]float64, error) {
	if !slices.Contains(searchedModels(), b.Model) {
		return benchmark.Model{}, nil, fmt.Errorf("there is no preset auto of %s; it searches for %s", b.Model, strings.Join(searchedModels(), ", "))
	}
	if b.Budget <= 0 {
		return benchmark.Model{}, nil, errors.New("--budget must be above 0")
	}
	began := time.Now()
	t := evalTuneCommand{Model: b.Model, Memory: b.Memory, Seed: 1}
	o := tune.Options{Budget: b.Budget, Seed: t.Seed, Reserve: lastTraining}
	if b.Model != "als" {
		// A search in one piece may overrun its budget by half, and the last training comes after.
		o.Budget = b.Budget / 2
	}
	trials, err := t.search(c, data, o)
	if len(trials) > 0 {
		fmt.Fprintf(c.stderr, "best of %d trials in %v: ndcg %.4f on validation with %s, round %d\n",
			len(trials), time.Since(began).Round(time.Second), trials[0].Score, paramText(trials[0].Params), trials[0].Round)
	}
	if err != nil {
		return benchmark.Model{}, nil, err
	}
	best := trials[0]
	m := benchmark.Model{Name: b.Model, Fit: fitterOf(b.Model, best.Params, gibibytes(b.Memory))}
	if b.Model == "als" {
		p := alsParams(best.Params)
		p.Dim, p.Epochs = int(best.Params["dim"]), best.Round
		m.Seeded, m.Fit = true, fitALS(p)
		best.Params["epochs"] = float64(best.Round)
	}
	return m, best.Params, nil
}

// lastTraining is how many times as long as a trial is kept of the budget: the last training sees more data than a trial and is
// measured on every user.
const lastTraining = 1.5
