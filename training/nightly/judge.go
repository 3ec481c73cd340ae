package nightly

import (
	"context"
	"time"

	"marquee/training/als"
	"marquee/training/dataset"
)

// evaluation is the recorded result of the evaluate step.
type evaluation struct {
	CutAt       time.Time                     `json:"cut_at"`
	Users       int                           `json:"users"`
	Metrics     map[string]map[string]float64 `json:"metrics"`
	Comparisons []Comparison                  `json:"comparisons"`
}

func (e *evaluation) summary(whole Snapshot, incumbent *incumbentRelease) *Summary {
	return &Summary{
		Incumbent: incumbent.ID, AsOf: whole.AsOf, Protocol: Protocol, CutAt: e.CutAt, Users: e.Users,
		Metrics: e.Metrics, Comparisons: e.Comparisons,
	}
}

// evaluate trains the recipe on what had happened by the cut and measures it on what came after, beside popularity and
// beside the incumbent's recipe trained on the very same events. The incumbent itself cannot be measured fairly: it was
// trained on the events it would be judged by.
func (p *Pipeline) evaluate(ctx context.Context, whole, train Snapshot, incumbent *incumbentRelease) (*evaluation, error) {
	p.report("evaluate")
	split, err := p.split(ctx, whole, train)
	if err != nil {
		return nil, err
	}
	h := holdout(split)
	if err := h.Validate(); err != nil {
		return nil, err
	}
	e := &evaluation{CutAt: time.UnixMicro(split.CutAt).UTC(), Users: len(h.Users), Metrics: map[string]map[string]float64{}}
	candidate, err := p.measure(ctx, e, modelALS, h, func() (Scorer, error) { return p.fit(ctx, p.Recipe, split) })
	if err != nil {
		return nil, err
	}
	rivals := []struct {
		name string
		make func() (Scorer, error)
	}{
		{modelPopular, func() (Scorer, error) { return constant(split.Train.Popularity()), nil }},
		{modelPopularDecayed, func() (Scorer, error) {
			return constant(split.Train.DecayedPopularity(split.CutAt, p.Config.PopularityHalfLife)), nil
		}},
	}
	if r := incumbent.Recipe; r != nil && r.comparable() != p.Recipe.comparable() {
		rivals = append(rivals, struct {
			name string
			make func() (Scorer, error)
		}{modelIncumbent, func() (Scorer, error) { return p.fit(ctx, *r, split) }})
	}
	for _, rival := range rivals {
		result, err := p.measure(ctx, e, rival.name, h, rival.make)
		if err != nil {
			return nil, err
		}
		c, err := compare(candidate, result, rival.name, p.Recipe.ALS.Seed)
		if err != nil {
			return nil, err
		}
		e.Comparisons = append(e.Comparisons, c)
	}
	return e, nil
}

func (p *Pipeline) split(ctx context.Context, whole, train Snapshot) (*dataset.Split, error) {
	x, err := dataset.Load(ctx, p.Lake, whole.ID)
	if err != nil {
		return nil, err
	}
	t, err := dataset.Load(ctx, p.Lake, train.ID)
	if err != nil {
		return nil, err
	}
	return dataset.SplitAt(x, t, dataset.MinTrain)
}

func holdout(s *dataset.Split) *Holdout {
	h := &Holdout{Train: s.Train.ByProfile, Users: s.Profiles, Relevant: make([][]uint32, len(s.Profiles))}
	for i, u := range s.Profiles {
		h.Relevant[i], _ = s.Test.Row(int(u))
	}
	return h
}

func (p *Pipeline) fit(ctx context.Context, r Recipe, s *dataset.Split) (Scorer, error) {
	m, err := als.Train(ctx, matrix(s.Train), r.ALS, als.Options{Progress: p.alsProgress("evaluate")})
	if err != nil {
		return nil, err
	}
	return factors{m}, nil
}

func (p *Pipeline) measure(ctx context.Context, e *evaluation, name string, h *Holdout, make func() (Scorer, error)) (*Result, error) {
	s, err := make()
	if err != nil {
		return nil, err
	}
	r, err := Evaluate(ctx, h, s)
	if err != nil {
		return nil, err
	}
	e.Metrics[name] = r.Metrics
	return r, nil
}
