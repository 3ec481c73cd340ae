package main

import (
	"context"
	"fmt"
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
	Dim    int           `default:"64" help:"Dimension of ALS factors."`
	Budget time.Duration `default:"20m" help:"Wall-clock time to spend."`
	Trials int           `help:"Largest number of trials; the budget alone decides when not given."`
	Try    []string      `sep:"none" help:"Values to try before any other, such as unobserved_weight=0.01,regularization=0.003; may be given several times." placeholder:"NAME=VALUE,…"`
	Seed   uint64        `default:"1" help:"Decides the validation split and what is tried."`
	JSON   bool          `help:"Print JSON."`
}

// Run searches hyper-parameters on a validation cut from the split's train side. The test side is not looked at.
func (t evalTuneCommand) Run(c *console) error {
	first, err := pointsToTry(spaceOf(t.Model), t.Try)
	if err != nil {
		return err
	}
	data, err := benchmark.Load(t.Format, t.Data)
	if err != nil {
		return err
	}
	trials, err := tuneModel(c, data, t, tune.Options{Budget: t.Budget, Trials: t.Trials, Seed: t.Seed, First: first})
	if err != nil {
		return err
	}
	if t.JSON {
		return printJSON(c.stdout, trials)
	}
	var rows [][]string
	for _, x := range trials[:min(len(trials), 10)] {
		rows = append(rows, []string{fmt.Sprintf("%.4f", x.Score), fmt.Sprint(x.Round), fmt.Sprint(x.Stopped), fmt.Sprintf("%.1fs", x.Seconds), fmt.Sprint(x.Params)})
	}
	return printTable(c.stdout, []string{"ndcg", "round", "stopped", "took", "parameters"}, rows)
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

// tuneModel searches on a validation split and returns the trials, best first.
func tuneModel(c *console, data *benchmark.Benchmark, t evalTuneCommand, o tune.Options) ([]tune.Trial, error) {
	v, err := data.Validation(o.Seed)
	if err != nil {
		return nil, err
	}
	best := 0.0
	o.Done = func(x tune.Trial) {
		if best = max(best, x.Score); x.Score == best {
			fmt.Fprintf(c.stderr, "ndcg %.4f with %v, round %d (%.1fs)\n", x.Score, x.Params, x.Round, x.Seconds)
		}
	}
	objective := tuneALS(v, t.Dim)
	switch t.Model {
	case "ease":
		objective = tuneOnce(v, func(p tune.Params) fitter {
			return fitEASE(ease.Config{L2: p["l2"], MemoryLimit: gibibytes(t.Memory)})
		})
	case "knn":
		objective = tuneOnce(v, func(p tune.Params) fitter { return fitNeighbours(knnParams(p)) })
	case "userknn":
		objective = tuneOnce(v, func(p tune.Params) fitter { return fitUsers(knnParams(p)) })
	}
	return tune.Search(c.ctx, spaceOf(t.Model), objective, o)
}

// spaceOf is what is searched of a model.
func spaceOf(model string) tune.Space {
	switch model {
	case "ease":
		return tune.Space{{Name: "l2", Low: 1, High: 5000, Log: true}}
	case "als":
		return alsSpace()
	}
	return knnSpace()
}

// alsSpace covers catalogues of a thousand titles to a million: the weight of what was not watched falls with their number.
func alsSpace() tune.Space {
	return tune.Space{{Name: "unobserved_weight", Low: 1e-4, High: 1, Log: true}, {Name: "regularization", Low: 1e-6, High: 0.3, Log: true}}
}

// alsParams sets what alsSpace searches.
func alsParams(cfg als.Config, p tune.Params) als.Config {
	cfg.UnobservedWeight, cfg.Regularization, cfg.TrackLoss = p["unobserved_weight"], p["regularization"], false
	return cfg
}

// tuneRounds is how many epochs a trial may take; the search stops most of them long before.
const tuneRounds = 24

func tuneALS(v *benchmark.Benchmark, dim int) tune.Objective {
	return func(ctx context.Context, p tune.Params, report tune.Report) error {
		cfg := alsParams(als.DefaultConfig(), p)
		cfg.Dim, cfg.Epochs = dim, tuneRounds
		_, err := als.Train(ctx, v.Fit, cfg, als.Options{Check: func(epoch int, model func() (*als.Model, error)) (bool, error) {
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
