package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"marquee/eval/benchmark"
	"marquee/eval/metric"
	"marquee/eval/metric/judge"
	"marquee/eval/split"
	"marquee/training/dataset"
	"marquee/training/model/content"
	"marquee/training/nightly"
	"marquee/training/ranker"
)

type evalColdCommand struct {
	AsOf          asOf   `help:"An RFC 3339 instant, or max-event for the time of the last event; the wall clock when not given." placeholder:"T"`
	ReleasedAfter int    `help:"Leave out titles released after this year; the newest tenth when not given." placeholder:"YEAR"`
	Format        string `default:"text" enum:"text,markdown,latex" help:"Table format: text, markdown or latex."`
	JSON          bool   `help:"Print JSON."`
}

// Run measures what the catalogue alone says of new titles: the titles released after a year are left out of the history, and profiles
// are judged by which of those they watched.
func (e evalColdCommand) Run(c *console) (err error) {
	eng, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	b := eng.builder()
	at, err := e.AsOf.instant(func() (time.Time, error) { return b.MaxEvent(c.ctx) })
	if err != nil {
		return err
	}
	whole, err := snapshots{b}.BuildAsOf(c.ctx, at)
	if err != nil {
		return err
	}
	x, err := dataset.Load(c.ctx, eng.lake, whole.ID)
	if err != nil {
		return err
	}
	catalogue, err := catalogueTitles(c.ctx, eng.warehouse.Conn())
	if err != nil {
		return err
	}
	study, err := measureCold(c.ctx, coldLog(x), ranker.Described(x.Titles, catalogue), e.ReleasedAfter)
	if err != nil {
		return err
	}
	if e.JSON {
		return printJSON(c.stdout, study)
	}
	return printTables(c, e.Format, studyTable(study))
}

// coldLog is who watched what, without what was abandoned or disliked.
func coldLog(x *dataset.Interactions) *split.Log {
	m := nightly.Matrix(x)
	l := &split.Log{Users: m.Rows, Titles: m.Cols}
	for u := range m.Rows {
		for i := m.Indptr[u]; i < m.Indptr[u+1]; i++ {
			if v := m.Values[i]; v > 0 {
				l.User, l.Title = append(l.User, uint32(u)), append(l.Title, m.Indices[i])
				l.At, l.Value = append(l.At, x.FirstAt[i]), append(l.Value, v)
			}
		}
	}
	return l
}

// measureCold judges by the titles released after a year; 0 takes the newest tenth of those whose year is known.
func measureCold(ctx context.Context, l *split.Log, titles []content.Title, after int) (*benchmark.Study, error) {
	released := make([]int64, len(titles))
	var years []int
	for i, t := range titles {
		if t.Year > 0 {
			years = append(years, t.Year)
		}
		released[i] = int64(t.Year)
	}
	if len(years) == 0 {
		return nil, errors.New("the catalogue knows no title's year of release")
	}
	if after == 0 {
		slices.Sort(years)
		after = years[len(years)*9/10-min(1, len(years)*9/10)]
	}
	s, err := l.ColdTitles(released, int64(after), dataset.MinTrain)
	if err != nil {
		return nil, fmt.Errorf("leave out the titles released after %d: %w", after, err)
	}
	vectors, err := content.Build(titles, content.DefaultWeights())
	if err != nil {
		return nil, err
	}
	data := &benchmark.Benchmark{Format: fmt.Sprintf("released-after-%d", after), Fit: s.Fit, Holdout: s.Holdout, Cutoffs: []int{10, 20}}
	return benchmark.RunStudy(ctx, data, coldModels(vectors), []string{"random", "popular", "popular_alike"}, "ndcg@10",
		benchmark.Options{Seeds: []uint64{1}, Resamples: 2000, Ties: metric.Expected})
}

// coldModels are what can be said of titles nobody watched: nothing, that nobody watched them, how popular older titles like
// them are, where a trained tower puts them, and how like they are to what a profile watched.
func coldModels(vectors *content.Model) []benchmark.Model {
	return []benchmark.Model{
		{Name: "random", Seeded: true, Fit: fitRandom},
		{Name: "popular", Fit: fitPopular},
		{Name: "popular_alike", Fit: func(_ context.Context, b *benchmark.Benchmark, _ uint64) (judge.Scorer, error) {
			watched := make([]float32, b.Fit.Cols)
			for _, t := range b.Fit.Indices {
				watched[t]++
			}
			score := make([]float32, b.Fit.Cols)
			for t, n := range watched {
				vectors.Add(score, n, vectors.Vector(uint32(t)))
			}
			return judge.Constant(score), nil
		}},
		{Name: "title_tower", Seeded: true, Fit: fitTitleTower(vectors)},
		{Name: "content", Fit: func(_ context.Context, b *benchmark.Benchmark, _ uint64) (judge.Scorer, error) {
			return judge.Func(func(user uint32, scores []float32) error {
				clear(scores)
				history, strength := b.Holdout.Train.Row(int(user))
				vectors.Add(scores, 1, taste(vectors, history, strength))
				return nil
			}), nil
		}},
	}
}

// taste is the sum of the vectors of a history, each times its strength.
func taste(m *content.Model, history []uint32, strength []float32) content.Vector {
	sum := map[uint32]float32{}
	for i, h := range history {
		v := m.Vector(h)
		for k, term := range v.Terms {
			sum[term] += strength[i] * v.Weights[k]
		}
	}
	var out content.Vector
	for term := range sum {
		out.Terms = append(out.Terms, term)
	}
	slices.SortFunc(out.Terms, cmp.Compare)
	for _, term := range out.Terms {
		out.Weights = append(out.Weights, sum[term])
	}
	return out
}
