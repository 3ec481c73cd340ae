package nightly

import (
	"context"
	"errors"

	"marquee/training/model"
	"marquee/training/registry"
)

// incumbentRelease is the promoted release as a run first met it.
type incumbentRelease struct {
	// ID is empty when there is none yet.
	ID string `json:"id"`
	// Recipe is nil when the release does not say how it was made; Why then says why it is not known.
	Recipe *Recipe `json:"recipe"`
	Why    string  `json:"why,omitempty"`
	Size   size    `json:"size"`
}

// size is how much a release was trained on.
type size struct {
	Profiles     int   `json:"profiles"`
	Interactions int64 `json:"interactions"`
}

// incumbent notes the current release when the run begins, so that a run that goes on after its own promotion still
// compares with the release it set out to replace. When another release was put in use meanwhile, the evaluation is of
// no use any more and is forgotten.
func (p *Pipeline) incumbent(ctx context.Context, j *journal) (*incumbentRelease, error) {
	current, err := p.Registry.CurrentID(ctx)
	if err != nil {
		return nil, err
	}
	switch stale, err := j.outdated(ctx, current); {
	case err != nil:
		return nil, err
	case stale:
		p.Log.Info("another release was put in use since this run was interrupted, it is evaluated anew", "release", current)
		if err := j.drop(ctx, stepIncumbent, stepEvaluate); err != nil {
			return nil, err
		}
	}
	return step(ctx, j, stepIncumbent, func(ctx context.Context) (*incumbentRelease, error) {
		return p.describe(ctx, current)
	})
}

// outdated says whether a release other than the one noted, and than the run's own, is in use, and the run is not over.
func (j *journal) outdated(ctx context.Context, current string) (bool, error) {
	noted, ok, err := recorded[*incumbentRelease](ctx, j, stepIncumbent)
	if err != nil || !ok || noted.ID == current {
		return false, err
	}
	if _, promoted, err := recorded[Verdict](ctx, j, stepPromote); err != nil || promoted {
		return false, err
	}
	own, ok, err := recorded[*trained](ctx, j, stepTrain)
	return !ok || own.Bundle != current, err
}

// describe reads what the gate needs to know of a release. One that cannot be read must not keep its successor out.
func (p *Pipeline) describe(ctx context.Context, id string) (*incumbentRelease, error) {
	out := &incumbentRelease{ID: id}
	if id == "" {
		return out, nil
	}
	m, err := p.Registry.Manifest(ctx, id)
	if errors.Is(err, registry.ErrUnknown) || errors.Is(err, model.ErrCorrupt) || errors.Is(err, model.ErrVersion) {
		p.Log.Warn("the release in use cannot be read", "release", id, "error", err)
		out.Why = "it cannot be read"
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	out.Size = size{Profiles: m.Profiles, Interactions: m.Interactions}
	r, err := recipeOf(m)
	if err == nil {
		err = r.ALS.Validate()
	}
	if err != nil {
		p.Log.Warn("the release in use has no recipe to train again by", "release", id, "error", err)
		out.Why = "it carries no recipe to train again by"
		return out, nil
	}
	out.Recipe = &r
	return out, nil
}
