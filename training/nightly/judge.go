package nightly

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"marquee/eval/metric/judge"
	"marquee/training/als"
	"marquee/training/dataset"
	"marquee/training/ranker"
	"marquee/training/twotower"
)

// evaluation is the recorded result of the evaluate step.
type evaluation struct {
	CutAt       time.Time                     `json:"cut_at"`
	Users       int                           `json:"users"`
	Metrics     map[string]map[string]float64 `json:"metrics"`
	Comparisons []Comparison                  `json:"comparisons"`
	Ranker      *RankerVerdict                `json:"ranker,omitempty"`
	Towers      *TowersVerdict                `json:"towers,omitempty"`
}

func (e *evaluation) summary(whole Snapshot, incumbent *incumbentRelease) *Summary {
	return &Summary{
		Incumbent: incumbent.ID, AsOf: whole.AsOf, Protocol: Protocol, CutAt: e.CutAt, Users: e.Users,
		Metrics: e.Metrics, Comparisons: e.Comparisons, Ranker: e.Ranker, Towers: e.Towers,
	}
}

// ownMetrics are those that a release carries: of it and of what every release is measured beside. The incumbent's stay
// out, so that the same data by the same recipe is the same release, whatever it was made to replace.
func (e *evaluation) ownMetrics() map[string]map[string]float64 {
	own := maps.Clone(e.Metrics)
	delete(own, modelIncumbent)
	return own
}

// sameRecipe is the note to a comparison with an incumbent that needed no measuring.
const sameRecipe = "the incumbent is of the same recipe: trained on the same events it is the same model"

// evaluate trains the recipe on what had happened by the cut and measures it on what came after, beside popularity and
// beside the incumbent's recipe trained on the very same events. The incumbent itself cannot be measured fairly: it was
// trained on the events it would be judged by. Training is deterministic, so an incumbent of the same recipe has the
// candidate's numbers.
func (p *Pipeline) evaluate(ctx context.Context, whole, train Snapshot, incumbent *incumbentRelease, l *lessons) (*evaluation, error) {
	p.report("evaluate")
	newest, err := p.history().Between(ctx, train, whole)
	if err != nil {
		return nil, err
	}
	split := newest.Split
	h := holdout(split)
	e := &evaluation{CutAt: time.UnixMicro(split.CutAt).UTC(), Users: len(h.Users), Metrics: map[string]map[string]float64{}}
	// First what is cheap and finds out a split that is no good.
	popular, err := e.measure(ctx, modelPopular, h, judge.Constant(split.Train.Popularity()))
	if err != nil {
		return nil, err
	}
	decayed, err := e.measure(ctx, modelPopularDecayed, h, judge.Constant(split.Train.DecayedPopularity(split.CutAt, p.Config.PopularityHalfLife)))
	if err != nil {
		return nil, err
	}
	candidate, fitted, err := p.retrain(ctx, e, modelALS, h, split, p.Recipe)
	if err != nil {
		return nil, err
	}
	if p.Recipe.Towers != (twotower.Config{}) {
		if err := p.judgeTowers(ctx, e, split, h, popular, candidate); err != nil {
			return nil, err
		}
	}
	if p.Recipe.Ranker != (ranker.Config{}) {
		if err := l.learn(ctx, newest, whole, fitted); err != nil {
			return nil, err
		}
		if err := e.judgeRanker(ctx, l, h, candidate); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(e.compare(candidate, popular, modelPopular, ""), e.compare(candidate, decayed, modelPopularDecayed, "")); err != nil {
		return nil, err
	}
	switch r := incumbent.Recipe; {
	case r == nil:
		return e, nil
	case r.comparable().ALS == p.Recipe.comparable().ALS:
		e.Metrics[modelIncumbent] = candidate.Metrics
		return e, e.compare(candidate, candidate, modelIncumbent, sameRecipe)
	default:
		before, _, err := p.retrain(ctx, e, modelIncumbent, h, split, *r)
		if err != nil {
			return nil, fmt.Errorf("the incumbent's recipe: %w", err)
		}
		return e, e.compare(candidate, before, modelIncumbent, "")
	}
}

// retrain fits a recipe to the split's train side and measures it.
func (p *Pipeline) retrain(ctx context.Context, e *evaluation, name string, h *judge.Holdout, s *dataset.Split, r Recipe) (*Result, *als.Model, error) {
	m, err := als.Train(ctx, Matrix(s.Train), r.ALS, als.Options{Progress: p.alsProgress("evaluate " + name)})
	if err != nil {
		return nil, nil, err
	}
	result, err := e.measure(ctx, name, h, judge.Factors{Dim: m.Dim, Users: m.Users, Titles: m.Items})
	return result, m, err
}

func (e *evaluation) measure(ctx context.Context, name string, h *judge.Holdout, s judge.Scorer) (*Result, error) {
	r, err := Evaluate(ctx, h, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	e.Metrics[name] = r.Metrics
	return r, nil
}

func (e *evaluation) compare(candidate, other *Result, against, note string) error {
	c, err := compare(candidate, other, against)
	if err != nil {
		return err
	}
	c.Note = note
	e.Comparisons = append(e.Comparisons, c)
	return nil
}

func holdout(s *dataset.Split) *judge.Holdout {
	h := &judge.Holdout{Train: s.Train.ByProfile, Users: s.Profiles, Relevant: make([][]uint32, len(s.Profiles))}
	for i, u := range s.Profiles {
		h.Relevant[i], _ = s.Test.Row(int(u))
	}
	return h
}
