package nightly

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"

	"marquee/eval/metric/judge"
	"marquee/internal/sparse"
	"marquee/training/als"
	"marquee/training/dataset"
	"marquee/training/foldin"
	"marquee/training/knn"
	"marquee/training/model"
	"marquee/training/model/content"
	"marquee/training/model/ranking"
	"marquee/training/ranker"
)

// lessons are what a run's ranker learns from: windows of history, one before the other, of each of which it is told what models of
// what came before would have offered. The newest window is the evaluation's, so a ranker of the others is judged by it, and one
// of all but the oldest is released.
type lessons struct {
	p         *Pipeline
	catalogue []content.Title
	// moment is that of the newest window.
	moment   *ranker.Moment
	examples []*ranker.Examples // the newest first
	built    []string           // the snapshots that were built for it alone
}

// window is one of them: what was known at its begin, and what came until its end.
type window struct {
	split *dataset.Split
	train Snapshot
}

// learn makes the examples of one window more than is asked for, where history reaches that far back. newest is the evaluation's split,
// of the snapshot train, and fitted its model.
func (l *lessons) learn(ctx context.Context, newest *dataset.Split, train Snapshot, fitted *als.Model) error {
	if l.examples != nil {
		return nil
	}
	if l.p.Catalogue != nil {
		var err error
		if l.catalogue, err = l.p.Catalogue.Titles(ctx); err != nil {
			return err
		}
	}
	w := &window{newest, train}
	for n := 0; n <= l.p.Recipe.Ranker.Windows && w != nil; n++ {
		l.p.report(fmt.Sprintf("window %d", n+1))
		moment, err := l.p.moment(ctx, w.split, l.catalogue, fitted)
		if err != nil {
			return err
		}
		x, err := (&ranker.Episode{Moment: moment, Outcomes: ranker.Outcomes(w.split)}).Examples(ctx, l.p.Recipe.Ranker)
		if err != nil {
			return err
		}
		if n == 0 {
			l.moment = moment
		}
		fitted = nil
		l.examples = append(l.examples, x)
		if n < l.p.Recipe.Ranker.Windows {
			if w, err = l.before(ctx, w); err != nil {
				return err
			}
		}
	}
	// Nobody asks for them again, and they would push out those of other nights.
	return l.p.Features.RemoveSnapshots(ctx, l.built...)
}

// minWindow is how many pairs must have been known before a window for another one before it to be looked for.
const minWindow = 1000

// before is the window that ends where w begins; nil when there was too little by then.
func (l *lessons) before(ctx context.Context, w *window) (*window, error) {
	if w.split.Train.Len() < minWindow {
		return nil, nil
	}
	cut, err := l.p.Features.EventTime(ctx, w.train.AsOf, l.p.Config.HoldoutQuantile)
	if err != nil {
		return nil, err
	}
	if !cut.Before(w.train.AsOf) {
		return nil, nil
	}
	whole, err := dataset.Load(ctx, l.p.Lake, w.train.ID)
	if err != nil {
		return nil, err
	}
	snapshot, err := l.p.Features.BuildInteractions(ctx, cut)
	if err != nil {
		return nil, err
	}
	train, err := dataset.Load(ctx, l.p.Lake, snapshot.ID)
	if err != nil {
		return nil, err
	}
	split, err := dataset.SplitAt(whole, train, dataset.MinTrain)
	if err != nil {
		return nil, err
	}
	if snapshot.New {
		l.built = append(l.built, snapshot.ID)
	}
	return &window{split, snapshot}, nil
}

// moment is what was known at a split's cut, with the sources that a release has as models of it. fitted, where not nil, is the recipe's
// model of it.
func (p *Pipeline) moment(ctx context.Context, s *dataset.Split, catalogue []content.Title, fitted *als.Model) (*ranker.Moment, error) {
	known := Matrix(s.Train)
	if fitted == nil {
		var err error
		if fitted, err = als.Train(ctx, known, p.Recipe.ALS, als.Options{}); err != nil {
			return nil, err
		}
	}
	near, err := knn.TrainItems(ctx, known, knn.DefaultConfig())
	if err != nil {
		return nil, fmt.Errorf("find the titles nearest to each: %w", err)
	}
	fold, err := foldedIn(fitted, known)
	if err != nil {
		return nil, err
	}
	columns := ranker.Titles(s.Train, ranker.Described(s.Train.Titles, catalogue), s.CutAt, p.Config.PopularityHalfLife)
	columns.Factors, columns.Dim = fitted.Items, fitted.Dim
	by := map[string]judge.Scorer{
		model.SourceALS: fold,
		model.SourceKNN: judge.Func(func(profile uint32, scores []float32) error {
			titles, strength := known.Row(int(profile))
			return near.Score(titles, strength, scores)
		}),
		model.SourcePopular:  judge.Constant(columns.Popularity),
		model.SourceTrending: judge.Constant(columns.Decayed),
	}
	m := &ranker.Moment{Now: s.CutAt, Seen: s.Train.ByProfile, At: s.Train.LastAt, Strength: s.Train.ByProfile.Values}
	for _, name := range model.RankerSources() {
		m.Sources = append(m.Sources, ranker.Source{Name: name, Scorer: by[name]})
	}
	m.Table, err = ranking.NewTable(columns, len(m.Sources))
	return m, err
}

// foldedIn scores as serving does: by the vector that a profile's history is folded into the titles' vectors to.
func foldedIn(m *als.Model, known *sparse.CSR) (judge.Scorer, error) {
	f := foldin.Factors{Data: m.Items, Rows: known.Cols, Dim: m.Dim, Stride: m.Dim}
	solver, err := foldin.NewSolver(f, m.Gram, m.Params)
	if err != nil {
		return nil, fmt.Errorf("fold profiles in: %w", err)
	}
	type desk struct {
		scratch  *foldin.Scratch
		vector   []float32
		titles   []uint32
		strength []float32
	}
	desks := sync.Pool{New: func() any { return &desk{scratch: solver.NewScratch(), vector: make([]float32, m.Dim)} }}
	return judge.Func(func(profile uint32, scores []float32) error {
		d := desks.Get().(*desk)
		defer desks.Put(d)
		titles, strength := known.Row(int(profile))
		d.titles, d.strength = d.titles[:0], d.strength[:0]
		positive := false
		for i, v := range strength {
			if v != 0 {
				d.titles, d.strength = append(d.titles, titles[i]), append(d.strength, v)
				positive = positive || v > 0
			}
		}
		if !positive {
			for i := range scores {
				scores[i] = float32(math.Inf(-1)) // it knows nothing
			}
			return nil
		}
		if err := solver.Solve(d.vector, d.titles, d.strength, d.scratch); err != nil {
			return fmt.Errorf("fold a profile in: %w", err)
		}
		return judge.Factors{Dim: m.Dim, Users: d.vector, Titles: m.Items}.Score([]uint32{0}, scores)
	}), nil
}

// RankerVerdict is what the evaluation found of the ranker.
type RankerVerdict struct {
	// Released: the release will have one.
	Released bool `json:"released"`
	// Windows is how many it was trained on.
	Windows int `json:"windows,omitempty"`
	// Against is the ranker held against the vectors alone, where there was enough to train one.
	Against *Comparison    `json:"against,omitempty"`
	Report  *ranker.Report `json:"report,omitempty"`
	// Reason says why the release has a ranker or has none.
	Reason string `json:"reason"`
}

// judgeRanker trains a ranker on the windows before the evaluation's and measures it there, beside what the vectors alone did.
func (e *evaluation) judgeRanker(ctx context.Context, l *lessons, h *judge.Holdout, alone *Result) error {
	e.Ranker = &RankerVerdict{Windows: len(l.examples) - 1}
	if e.Ranker.Windows < 1 {
		e.Ranker.Reason = "no ranker: history does not reach back to a window to learn from"
		return nil
	}
	m, report, err := ranker.Train(ctx, ranking.Names(model.RankerSources()), l.examples[1:], l.p.Recipe.Ranker)
	if errors.Is(err, ranker.ErrData) {
		e.Ranker.Reason = "no ranker: " + err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	scorer, err := m.Scorer(l.moment)
	if err != nil {
		return err
	}
	hybrid, err := e.measure(ctx, modelHybrid, h, scorer)
	if err != nil {
		return err
	}
	c, err := compare(hybrid, alone, modelALS)
	if err != nil {
		return err
	}
	e.Ranker.Against, e.Ranker.Report, e.Ranker.Released = &c, report, c.Difference.Mean > 0
	e.Ranker.Reason = fmt.Sprintf("NDCG@10 %+.4f against als alone, %g%% interval %+.4f to %+.4f", c.Difference.Mean, 100*c.Difference.Level, c.Difference.Low, c.Difference.High)
	if !e.Ranker.Released {
		e.Ranker.Reason = "no ranker: " + e.Ranker.Reason
	}
	return nil
}

// ranker is the release's, where the evaluation said that it is to have one. A run that goes on with an evaluation that was recorded
// makes its examples now.
func (p *Pipeline) ranker(ctx context.Context, l *lessons, whole, train Snapshot, e *evaluation, x *dataset.Interactions) (*model.Ranker, error) {
	if e.Ranker == nil || !e.Ranker.Released {
		return nil, nil
	}
	if l.examples == nil {
		split, err := p.split(ctx, whole, train)
		if err != nil {
			return nil, err
		}
		if err := l.learn(ctx, split, train, nil); err != nil {
			return nil, err
		}
	}
	return l.released(ctx, x)
}

// released trains the ranker of a release of x: on the newest windows.
func (l *lessons) released(ctx context.Context, x *dataset.Interactions) (*model.Ranker, error) {
	cfg := l.p.Recipe.Ranker
	m, report, err := ranker.Train(ctx, ranking.Names(model.RankerSources()), l.examples[:min(cfg.Windows, len(l.examples))], cfg)
	if err != nil {
		return nil, fmt.Errorf("train the ranker: %w", err)
	}
	out := &model.Ranker{FirstAt: ranker.FirstAt(x), Candidates: cfg.Candidates}
	if out.Order, out.Outcomes, err = m.ONNX(); err != nil {
		return nil, err
	}
	if out.Report, err = json.Marshal(report); err != nil {
		return nil, fmt.Errorf("report on the ranker: %w", err)
	}
	near, err := knn.TrainItems(ctx, Matrix(x), knn.DefaultConfig())
	if err != nil {
		return nil, fmt.Errorf("find the titles nearest to each: %w", err)
	}
	out.Near = near.Near
	return out, nil
}
