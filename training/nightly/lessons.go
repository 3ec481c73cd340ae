package nightly

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"

	"gonum.org/v1/gonum/stat"

	"marquee/eval/metric"
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
	p *Pipeline
	// shown is what profiles were shown until the newest window's end; nil where that is not known, or too little.
	shown *dataset.Slates
	// moment is that of the newest window.
	moment   *ranker.Moment
	examples []*ranker.Examples // the newest first; none where there is nothing to learn from
	learnt   bool
}

// learn makes the examples of one window more than is asked for, where history reaches that far back. newest is the evaluation's, until
// its end, and fitted the recipe's model of what was known before it.
func (l *lessons) learn(ctx context.Context, newest *Window, until Snapshot, fitted *als.Model) error {
	if l.learnt {
		return nil
	}
	l.learnt = true
	p := l.p
	h := p.history()
	end, err := h.Now(ctx, until)
	if err != nil {
		return err
	}
	if l.shown, err = h.Slates(ctx, end, p.Recipe.Ranker.Clicks); err != nil {
		return err
	}
	if l.shown == nil && p.Config.Ranker != RankerAlways {
		return nil
	}
	var catalogue []content.Title
	if p.Catalogue != nil {
		if catalogue, err = p.Catalogue.Titles(ctx); err != nil {
			return err
		}
	}
	w := newest
	for n := 0; n <= p.Recipe.Ranker.Windows && w != nil; n++ {
		p.report(fmt.Sprintf("window %d", n+1))
		moment, err := p.moment(ctx, w.Split, catalogue, fitted, l.shown)
		if err != nil {
			return err
		}
		x, err := w.Episode(moment, l.shown).Examples(ctx, p.Recipe.Ranker)
		if err != nil {
			return err
		}
		if n == 0 {
			l.moment = moment
		}
		fitted = nil
		l.examples = append(l.examples, x)
		if n < p.Recipe.Ranker.Windows {
			if w, err = h.Before(ctx, w); err != nil {
				return err
			}
		}
	}
	return h.Forget(ctx)
}

func (p *Pipeline) history() *History {
	return &History{Features: p.Features, Lake: p.Lake, Quantile: p.Config.HoldoutQuantile}
}

// moment is what was known at a split's cut, with the sources that a release has as models of it. fitted, where not nil, is the recipe's
// model of it.
func (p *Pipeline) moment(ctx context.Context, s *dataset.Split, catalogue []content.Title, fitted *als.Model, shown *dataset.Slates) (*ranker.Moment, error) {
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
	var sources []ranker.Source
	for _, name := range model.RankerSources() {
		sources = append(sources, ranker.Source{Name: name, Scorer: by[name]})
	}
	return ranker.NewMoment(s, columns, sources, shown)
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
	// Against is the ranker held against the vectors alone by what was played, where there was enough to train one.
	Against *Comparison `json:"against,omitempty"`
	// Clicks is, where it was learnt from what was shown, what its order of the newest window's slates is worth.
	Clicks *ClickComparison `json:"clicks,omitempty"`
	Report *ranker.Report   `json:"report,omitempty"`
	// Reason says why the release has a ranker or has none.
	Reason string `json:"reason"`
}

// ClickComparison is what orders of slates are worth by the clicks on them as they were shown, in clicks a slate, each click counting as
// much more as its title would be noticed in the new place than it was in its own.
type ClickComparison struct {
	Profiles int     `json:"profiles"`
	Ranker   float64 `json:"ranker"`
	ALS      float64 `json:"als"`
	Shown    float64 `json:"shown"`
	// Difference is the ranker's less that of als, with its paired-bootstrap interval over profiles.
	Difference metric.Interval `json:"difference"`
}

// judgeRanker trains a ranker on the windows before the evaluation's and measures it there, beside what the vectors alone did.
func (e *evaluation) judgeRanker(ctx context.Context, l *lessons, h *judge.Holdout, alone *Result) error {
	v := &RankerVerdict{Windows: max(0, len(l.examples)-1)}
	e.Ranker = v
	if len(l.examples) == 0 {
		v.Reason = fmt.Sprintf("no ranker: fewer than %d clicks are known on what was shown (training.ranker.clicks); with training.nightly.ranker %s it would learn from plays alone",
			l.p.Recipe.Ranker.Clicks, RankerAlways)
		return nil
	}
	if v.Windows < 1 {
		v.Reason = "no ranker: history does not reach back to a window to learn from"
		return nil
	}
	m, report, err := ranker.Train(ctx, ranking.Names(model.RankerSources()), l.examples[1:], l.p.Recipe.Ranker)
	if errors.Is(err, ranker.ErrData) {
		v.Reason = "no ranker: " + err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	v.Report = report
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
	v.Against = &c
	plays := fmt.Sprintf("NDCG@10 %+.4f against als alone, %g%% interval %+.4f to %+.4f", c.Difference.Mean, 100*c.Difference.Level, c.Difference.Low, c.Difference.High)
	v.Released, v.Reason = c.Difference.Mean > 0, plays
	if l.shown != nil {
		if v.Clicks, err = clickComparison(m, l.examples[0]); err != nil {
			return err
		}
		// What viewers click of what they are shown is what they want; what they played is what they want of what they were shown.
		d := v.Clicks.Difference
		v.Released = d.Low > 0
		v.Reason = fmt.Sprintf("clicks a slate %+.4f against als alone, %g%% interval %+.4f to %+.4f; %s", d.Mean, 100*d.Level, d.Low, d.High, plays)
	}
	if !v.Released {
		v.Reason = "no ranker: " + v.Reason
	}
	return nil
}

func clickComparison(m *ranker.Model, x *ranker.Examples) (*ClickComparison, error) {
	v, err := m.Value(x, model.SourceALS+"_score")
	if err != nil {
		return nil, err
	}
	if len(v.Profiles) == 0 {
		return nil, errors.New("the newest window shows nothing to judge the ranker by")
	}
	c := &ClickComparison{Profiles: len(v.Profiles), Ranker: stat.Mean(v.Ranker, nil), ALS: stat.Mean(v.Source, nil), Shown: stat.Mean(v.Shown, nil)}
	c.Difference, err = metric.PairedBootstrap(v.Ranker, v.Source, bootstrapResamples, confidence, bootstrapSeed)
	return c, err
}

// ranker is the release's, where the evaluation said that it is to have one. A run that goes on with an evaluation that was recorded
// makes its examples now.
func (p *Pipeline) ranker(ctx context.Context, l *lessons, whole, train Snapshot, e *evaluation, x *dataset.Interactions) (*model.Ranker, error) {
	if e.Ranker == nil || !e.Ranker.Released {
		return nil, nil
	}
	if !l.learnt {
		newest, err := p.history().Between(ctx, train, whole)
		if err != nil {
			return nil, err
		}
		if err := l.learn(ctx, newest, whole, nil); err != nil {
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
	if l.shown != nil {
		out.Response = l.shown.Under(x.Profiles, x.Titles).Response(x.AsOf)
	}
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
