package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"marquee/eval/benchmark"
	"marquee/eval/metric"
	"marquee/eval/metric/judge"
	"marquee/training/als"
	"marquee/training/dataset"
	"marquee/training/ease"
	"marquee/training/knn"
	"marquee/training/nightly"
	"marquee/training/sasrec"
	"marquee/training/twotower"
)

type evalOfflineCommand struct {
	AsOf    asOf     `help:"An RFC 3339 instant, or max-event for the time of the last event; the wall clock when not given." placeholder:"T"`
	Cut     float64  `default:"0.9" help:"Share of the events, in order of time, that come before the cut."`
	Models  []string `name:"model" default:"random,popular,popular_decayed,knn,userknn,als" help:"Models to measure." placeholder:"NAME"`
	Format  string   `default:"text" enum:"text,markdown,latex" help:"Table format: text, markdown or latex."`
	Slice   []string `help:"Take the metrics within groups as well: history, popularity, age (titles by their first event before the cut), profile:COLUMN (a column of events, what the profile has most) or title:COLUMN." placeholder:"NAME"`
	PerUser string   `help:"Write the results user by user to this Parquet file." placeholder:"FILE"`
	JSON    bool     `help:"Print JSON."`
}

// Run measures models on the deployment's own history, cut at one instant for everybody.
func (o evalOfflineCommand) Run(c *console) (err error) {
	if !(o.Cut > 0 && o.Cut < 1) {
		return fmt.Errorf("--cut must be between 0 and 1, is %g", o.Cut)
	}
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	models, err := o.models(e)
	if err != nil {
		return err
	}
	split, err := o.split(c, e)
	if err != nil {
		return err
	}
	data := offlineBenchmark(split, fmt.Sprintf("gt-%g", o.Cut*100))
	var list []benchmark.Model
	for _, m := range models {
		list = append(list, benchmark.Model{Name: m.name, Seeded: true, Fit: func(ctx context.Context, b *benchmark.Benchmark, seed uint64) (judge.Scorer, error) {
			return m.fit(ctx, split, b, seed)
		}})
	}
	groups, err := o.slices(c.ctx, e, split, data)
	if err != nil {
		return err
	}
	genres, err := titleGenres(c.ctx, e, split.Train.Titles)
	if err != nil {
		return err
	}
	study, err := benchmark.RunStudy(c.ctx, data, list, o.references(), "ndcg@10", benchmark.Options{
		Seeds: []uint64{1}, Resamples: 2000, Slices: groups, Attributes: genres, Progress: func(what string) { e.log.Info("measuring", "model", what) },
	})
	if err != nil {
		return err
	}
	study.CutAt = time.UnixMicro(split.CutAt).UTC()
	var runs []benchmark.Measured
	for _, r := range study.Results {
		runs = append(runs, r.Measured)
	}
	if o.PerUser != "" {
		if err := writePerUser(o.PerUser, runs, split.Train.Profiles.ID); err != nil {
			return err
		}
	}
	if o.JSON {
		return printJSON(c.stdout, study)
	}
	return printTables(c, o.Format, studyTable(study), listTable(runs, 10), groupTable(runs, middle(10)))
}

// references are what every model is held against: the bars that are easily taken for granted, and beside the hybrid all it stands on.
func (o evalOfflineCommand) references() []string {
	if slices.Contains(o.Models, "hybrid") || slices.Contains(o.Models, "hybrid_plays") {
		return hybridSources()
	}
	return []string{"popular", "popular_decayed", "knn"}
}

// split builds the history as of the instant and as of the cut: what trains knows nothing of what came after.
func (o evalOfflineCommand) split(c *console, e *engines) (*dataset.Split, error) {
	b := e.builder()
	at, err := o.AsOf.instant(func() (time.Time, error) { return b.MaxEvent(c.ctx) })
	if err != nil {
		return nil, err
	}
	cut, err := b.EventTime(c.ctx, at, o.Cut)
	if err != nil {
		return nil, err
	}
	whole, err := snapshots{b}.BuildAsOf(c.ctx, at)
	if err != nil {
		return nil, err
	}
	train, err := snapshots{b}.BuildAsOf(c.ctx, cut)
	if err != nil {
		return nil, err
	}
	x, err := dataset.Load(c.ctx, e.lake, whole.ID)
	if err != nil {
		return nil, err
	}
	t, err := dataset.Load(c.ctx, e.lake, train.ID)
	if err != nil {
		return nil, err
	}
	return dataset.SplitAt(x, t, dataset.MinTrain)
}

func offlineBenchmark(s *dataset.Split, protocol string) *benchmark.Benchmark {
	m := nightly.Matrix(s.Train)
	h := &judge.Holdout{Train: m, Users: s.Profiles}
	for _, u := range s.Profiles {
		relevant, _ := s.Test.Row(int(u))
		h.Relevant = append(h.Relevant, relevant)
	}
	return &benchmark.Benchmark{Format: protocol, Fit: m, Sequences: sequences(s.Train), Holdout: h, Cutoffs: []int{10, 20}}
}

// sequences are each profile's titles in the order of their last events, of equals by row.
func sequences(x *dataset.Interactions) [][]uint32 {
	out := make([][]uint32, x.ByProfile.Rows)
	for p := range out {
		lo, hi := x.ByProfile.Indptr[p], x.ByProfile.Indptr[p+1]
		order := make([]int64, hi-lo)
		for i := range order {
			order[i] = lo + int64(i)
		}
		slices.SortStableFunc(order, func(a, b int64) int { return cmp.Compare(x.LastAt[a], x.LastAt[b]) })
		out[p] = make([]uint32, len(order))
		for i, at := range order {
			out[p][i] = x.ByProfile.Indices[at]
		}
	}
	return out
}

// offlineModel is a model that may use what a lake knows besides who met what: when.
type offlineModel struct {
	name string
	fit  func(ctx context.Context, s *dataset.Split, b *benchmark.Benchmark, seed uint64) (judge.Scorer, error)
}

func (o evalOfflineCommand) models(e *engines) ([]offlineModel, error) {
	plain := func(m benchmark.Model) func(context.Context, *dataset.Split, *benchmark.Benchmark, uint64) (judge.Scorer, error) {
		return func(ctx context.Context, _ *dataset.Split, b *benchmark.Benchmark, seed uint64) (judge.Scorer, error) {
			return m.Fit(ctx, b, seed)
		}
	}
	known := []offlineModel{
		{"random", plain(benchmark.Model{Fit: fitRandom})},
		{"popular", func(_ context.Context, s *dataset.Split, _ *benchmark.Benchmark, _ uint64) (judge.Scorer, error) {
			return judge.Constant(s.Train.Popularity()), nil
		}},
		{"popular_decayed", fitDecayed},
		{"knn", plain(benchmark.Model{Fit: fitNeighbours(knn.DefaultConfig())})},
		{"userknn", plain(benchmark.Model{Fit: fitUsers(knn.DefaultUserConfig())})},
		{"ease", plain(benchmark.Model{Fit: fitEASE(ease.DefaultConfig())})},
		{"sasrec", plain(benchmark.Model{Fit: fitSASRec(sasrec.DefaultConfig(), "")})},
		{"twotower", plain(benchmark.Model{Fit: fitTwoTower(twotower.DefaultConfig(), "")})},
		{"als_recent", plain(benchmark.Model{Fit: fitALS(als.Preset{Config: e.settings.Training.ALS, Recency: als.Recency{HalfLife: 12, Floor: 0.05}})})},
		{"als", plain(benchmark.Model{Fit: fitALS(als.Preset{Config: e.settings.Training.ALS})})},
	}
	known = append(known, offlineModel{"hybrid", hybrid{e, known, false}.fit}, offlineModel{"hybrid_plays", hybrid{e, known, true}.fit})
	var out []offlineModel
	for _, name := range o.Models {
		i := slices.IndexFunc(known, func(m offlineModel) bool { return m.name == name })
		if i < 0 {
			var names []string
			for _, k := range known {
				names = append(names, k.name)
			}
			return nil, fmt.Errorf("there is no model %q; there are %s", name, strings.Join(names, ", "))
		}
		out = append(out, known[i])
	}
	return out, nil
}

// fitDecayed weighs events by age with the half-life that does best on the last tenth of what trains.
func fitDecayed(ctx context.Context, s *dataset.Split, _ *benchmark.Benchmark, _ uint64) (judge.Scorer, error) {
	const day = 24 * time.Hour
	inner, err := dataset.SplitGlobalTime(s.Train, 0.9, dataset.MinTrain)
	if err != nil {
		return nil, fmt.Errorf("cut a validation from what trains: %w", err)
	}
	best, bestNDCG := 30*day, -1.0
	for _, halfLife := range []time.Duration{day, 3 * day, 7 * day, 14 * day, 30 * day, 90 * day, 365 * day} {
		r, err := judge.Judge(ctx, offlineBenchmark(inner, "").Holdout, judge.Constant(inner.Train.DecayedPopularity(inner.CutAt, halfLife)),
			judge.Options{Cutoffs: []int{10}, Ties: metric.Worst})
		if err != nil {
			return nil, fmt.Errorf("choose a half-life: %w", err)
		}
		if ndcg := r.Means["ndcg@10"]; ndcg > bestNDCG {
			best, bestNDCG = halfLife, ndcg
		}
	}
	return judge.Constant(s.Train.DecayedPopularity(s.CutAt, best)), nil
}
