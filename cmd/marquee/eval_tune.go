package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"marquee/eval/benchmark"
	"marquee/eval/metric/judge"
	"marquee/eval/tune"
	"marquee/training/als"
	"marquee/training/ease"
	"marquee/training/knn"
)

type evalTuneCommand struct {
	Format string        `required:"" enum:"lightgcn,ncf,sasrec" help:"Layout of the split: lightgcn, ncf or sasrec."`
	Data   string        `required:"" type:"existingdir" help:"Folder of the split." placeholder:"DIR"`
	Model  string        `required:"" enum:"als,ease,knn,userknn" help:"als, ease, knn or userknn."`
	Memory float64       `default:"4" help:"GiB that the matrix of ease may take." placeholder:"GIB"`
	Preset string        `default:"auto" enum:"auto" help:"What is searched: auto, everything the model has."`
	Dim    int           `help:"Dimension of ALS factors; searched as well when not given."`
	Budget time.Duration `default:"20m" help:"Wall-clock time to spend."`
	Trials int           `help:"Largest number of trials; the budget alone decides when not given."`
	Try    []string      `sep:"none" help:"Values to try before any other, such as unobserved_weight=0.01,regularization=0.003; may be given several times." placeholder:"NAME=VALUE,…"`
	Seed   uint64        `default:"1" help:"Decides the validation split and what is tried."`
	JSON   bool          `help:"Print JSON."`
}

// Run searches hyper-parameters on a validation cut from the split's train side. The test side is not looked at.
func (t evalTuneCommand) Run(c *console) error {
	data, err := benchmark.Load(t.Format, t.Data)
	if err != nil {
		return err
	}
	first, err := pointsToTry(spaceOf(t.Model, data), t.Try)
	if err != nil {
		return err
	}
	if t.Budget <= 0 && t.Trials <= 0 {
		return errors.New("--budget must be above 0 where --trials is not given")
	}
	trials, err := t.search(c, data, tune.Options{Budget: t.Budget, Trials: t.Trials, Seed: t.Seed, First: first})
	if len(trials) == 0 {
		return err
	}
	// What was found until an interruption is shown before that is said.
	if t.JSON {
		return errors.Join(printJSON(c.stdout, trials), err)
	}
	var rows [][]string
	for _, x := range trials[:min(len(trials), 10)] {
		rows = append(rows, []string{fmt.Sprintf("%.4f", x.Score), fmt.Sprint(x.Round), fmt.Sprint(x.Stopped), fmt.Sprintf("%.1fs", x.Seconds), paramText(x.Params)})
	}
	return errors.Join(printTable(c.stdout, []string{"ndcg", "round", "stopped", "took", "parameters"}, rows), err)
}

// paramText writes parameters as --try takes them.
func paramText(p tune.Params) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		parts = append(parts, fmt.Sprintf("%s=%.4g", name, p[name]))
	}
	return strings.Join(parts, ",")
}

// pointsToTry reads points given as name=value,name=value: each names every hyper-parameter of the space.
func pointsToTry(space tune.Space, points []string) ([]tune.Params, error) {
	var out []tune.Params
	for _, point := range points {
		p := tune.Params{}
		for part := range strings.SplitSeq(point, ",") {
			name, text, _ := strings.Cut(part, "=")
			v, err := strconv.ParseFloat(text, 64)
			if err != nil || !slices.ContainsFunc(space, func(r tune.Range) bool { return r.Name == name }) {
				return nil, fmt.Errorf("--try %q: %q is not a hyper-parameter and its value; it takes %s", point, part, spaceNames(space))
			}
			p[name] = v
		}
		if len(p) != len(space) {
			return nil, fmt.Errorf("--try %q: give each of %s", point, spaceNames(space))
		}
		out = append(out, p)
	}
	return out, nil
}

func spaceNames(space tune.Space) string {
	var names []string
	for _, r := range space {
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}

// search tries on a validation split and returns the trials, best first; with an error, those made before it.
func (t evalTuneCommand) search(c *console, data *benchmark.Benchmark, o tune.Options) ([]tune.Trial, error) {
	v, err := data.Validation(t.Seed)
	if err != nil {
		return nil, err
	}
	thin(v, judgedInTrials)
	best := math.Inf(-1)
	o.Done = func(x tune.Trial) {
		if best = max(best, x.Score); x.Score == best {
			fmt.Fprintf(c.stderr, "ndcg %.4f with %s, round %d (%.1fs)\n", x.Score, paramText(x.Params), x.Round, x.Seconds)
		}
	}
	switch {
	case t.Model == "als" && t.Dim == 0:
		return tune.Climb(c.ctx, alsSpace(v), dimensions(v), tuneALS(v, 0), o)
	case t.Model == "als":
		return tune.Search(c.ctx, alsSpace(v), tuneALS(v, t.Dim), o)
	}
	return tune.Search(c.ctx, spaceOf(t.Model, v), tuneOnce(v, func(p tune.Params) fitter {
		return fitterOf(t.Model, p, gibibytes(t.Memory))
	}), o)
}

// judgedInTrials bounds the users that a trial is judged by.
const judgedInTrials = 6000

// thin leaves about n users to judge by, evenly spread.
func thin(b *benchmark.Benchmark, n int) {
	h := b.Holdout
	every := (len(h.Users) + n - 1) / n
	if every < 2 {
		return
	}
	kept := *h
	kept.Users, kept.Relevant, kept.Candidates = nil, nil, nil
	for i := 0; i < len(h.Users); i += every {
		kept.Users, kept.Relevant = append(kept.Users, h.Users[i]), append(kept.Relevant, h.Relevant[i])
		if h.Candidates != nil {
			kept.Candidates = append(kept.Candidates, h.Candidates[i])
		}
	}
	b.Holdout = &kept
}

// dimensions double until they exceed what the data could fill.
func dimensions(b *benchmark.Benchmark) tune.Ladder {
	l := tune.Ladder{Name: "dim", Values: []float64{64}}
	for d := 128; d <= 1024 && d <= min(b.Fit.Rows, b.Fit.Cols); d *= 2 {
		l.Values = append(l.Values, float64(d))
	}
	return l
}

// fitterOf is a model that is trained in one go, with parameters of its space.
func fitterOf(model string, p tune.Params, memory int64) fitter {
	switch model {
	case "ease":
		return fitEASE(ease.Config{L2: p["l2"], MemoryLimit: memory})
	case "userknn":
		return fitUsers(knnParams(p))
	}
	return fitNeighbours(knnParams(p))
}

// spaceOf is what is searched of a model.
func spaceOf(model string, b *benchmark.Benchmark) tune.Space {
	switch model {
	case "ease":
		return tune.Space{{Name: "l2", Low: 1, High: 5000, Log: true}}
	case "als":
		return alsSpace(b)
	}
	return knnSpace()
}

// alsSpace covers catalogues of a thousand titles to a million: the weight of what was not watched falls with their number. Where there is
// an order, it is also searched how fast a title's weight falls with those watched since.
func alsSpace(b *benchmark.Benchmark) tune.Space {
	s := tune.Space{{Name: "unobserved_weight", Low: 1e-4, High: 1, Log: true}, {Name: "regularization", Low: 1e-6, High: 0.3, Log: true}}
	if b.Sequences != nil {
		s = append(s, tune.Range{Name: "half_life", Low: 1, High: 1000, Log: true})
	}
	return s
}

// recencyFloor is what the oldest titles keep of their weight in a search: nearly nothing, so that the half-life alone decides.
const recencyFloor = 0.05

// alsParams sets what alsSpace searches.
func alsParams(p tune.Params) als.Preset {
	out := als.Preset{Config: als.DefaultConfig(), Recency: als.Recency{HalfLife: p["half_life"], Floor: recencyFloor}}
	out.UnobservedWeight, out.Regularization, out.TrackLoss = p["unobserved_weight"], p["regularization"], false
	// The exact solver needs the fewest epochs, and sparse rows cost it little at any dimension.
	out.Solver = als.SolverCholesky
	return out
}

// tuneRounds is how many epochs a trial may take; the search stops most of them long before.
const tuneRounds = 24

// tuneALS tries factors of the dimension, or where that is 0 of the parameter dim.
func tuneALS(v *benchmark.Benchmark, dim int) tune.Objective {
	return func(ctx context.Context, p tune.Params, report tune.Report) error {
		chosen := alsParams(p)
		chosen.Dim, chosen.Epochs = cmp.Or(dim, int(p["dim"])), tuneRounds
		fit, err := recent(chosen.Recency, v, v.Fit)
		if err != nil {
			return err
		}
		_, err = als.Train(ctx, fit, chosen.Config, als.Options{Check: func(epoch int, model func() (*als.Model, error)) (bool, error) {
			if epoch%2 == 1 {
				return true, nil
			}
			m, err := model()
			if err != nil {
				return false, err
			}
			ndcg, err := validationNDCG(ctx, v, judge.Factors{Dim: m.Dim, Users: m.Users, Titles: m.Items})
			return report(epoch, ndcg), err
		}})
		return err
	}
}

func validationNDCG(ctx context.Context, v *benchmark.Benchmark, s judge.Scorer) (float64, error) {
	k := v.Cutoffs[len(v.Cutoffs)/2]
	r, err := judge.Judge(ctx, v.Holdout, s, judge.Options{Cutoffs: []int{k}})
	if err != nil {
		return 0, err
	}
	return r.Means[fmt.Sprintf("ndcg@%d", k)], nil
}

func knnSpace() tune.Space {
	return tune.Space{
		{Name: "neighbours", Low: 20, High: 2000, Log: true, Whole: true}, {Name: "shrinkage", Low: 0.01, High: 200, Log: true},
		{Name: "asymmetry", Low: 0.2, High: 1}, {Name: "activity", Low: 0, High: 1},
	}
}

func knnParams(p tune.Params) knn.Config {
	return knn.Config{Neighbours: int(p["neighbours"]), Shrinkage: p["shrinkage"], Asymmetry: p["asymmetry"], Activity: p["activity"]}
}

// tuneOnce tries a model that is trained in one go.
func tuneOnce(v *benchmark.Benchmark, fit func(tune.Params) fitter) tune.Objective {
	return func(ctx context.Context, p tune.Params, report tune.Report) error {
		s, err := fit(p)(ctx, v, 0)
		if err != nil {
			return err
		}
		ndcg, err := validationNDCG(ctx, v, s)
		report(1, ndcg)
		return err
	}
}
