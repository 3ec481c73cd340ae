package nightly

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"marquee/ann"
	"marquee/training/als"
	"marquee/training/dataset"
	"marquee/training/model"
	"marquee/training/model/content"
	"marquee/training/registry"
)

// trained is a release that was published and not yet promoted.
type trained struct {
	Bundle string `json:"bundle"`
	Size   size   `json:"size"`
	// Beginning is what training began from.
	Beginning Beginning `json:"beginning"`
}

// release returns the run's published release, training it unless an earlier run of the same did. One that was pruned
// from the registry or damaged since is made again, unless its promotion is past and another is in use: then nobody asks for it.
func (p *Pipeline) release(ctx context.Context, j *journal, whole Snapshot, e *evaluation, q *model.Quality, before *incumbentRelease,
	r rankerOf,
) (*trained, error) {
	earlier, ok, err := recorded[*trained](ctx, j, stepTrain)
	if err != nil {
		return nil, err
	}
	_, promoted, err := recorded[Verdict](ctx, j, stepPromote)
	if err != nil {
		return nil, err
	}
	if ok {
		lost, err := p.lost(ctx, earlier.Bundle, promoted)
		if err != nil {
			return nil, err
		}
		if lost {
			if err := j.drop(ctx, stepTrain, stepPromote); err != nil {
				return nil, err
			}
		}
	}
	return step(ctx, j, stepTrain, func(ctx context.Context) (*trained, error) { return p.train(ctx, whole, e, q, before.ID, r) })
}

// lost reports whether a recorded release is no longer to be had although it is needed.
func (p *Pipeline) lost(ctx context.Context, bundle string, promoted bool) (bool, error) {
	err := p.Registry.Verify(ctx, bundle)
	if err == nil {
		return false, nil
	}
	if !errors.Is(err, registry.ErrUnknown) && !errors.Is(err, model.ErrCorrupt) {
		return false, err
	}
	if promoted {
		current, cerr := p.Registry.CurrentID(ctx)
		if cerr != nil || current != bundle {
			return false, cerr
		}
	}
	p.Log.Warn("the release of an earlier run of the same is made again", "release", bundle, "reason", err)
	return true, nil
}

// rankerOf makes the ranker of a release of x; nil where it is to have none.
type rankerOf func(ctx context.Context, x *dataset.Interactions) (*model.Ranker, error)

// train makes the release of the whole data and publishes it.
func (p *Pipeline) train(ctx context.Context, whole Snapshot, e *evaluation, q *model.Quality, before string, r rankerOf) (_ *trained, err error) {
	p.report("train")
	x, err := dataset.Load(ctx, p.Lake, whole.ID)
	if err != nil {
		return nil, err
	}
	// A folder of the lease holder's own: what a run that died left in it goes.
	staging := filepath.Join(p.Staging, "nightly")
	if err := os.RemoveAll(staging); err != nil {
		return nil, fmt.Errorf("clear the staging folder: %w", err)
	}
	defer func() {
		if rmErr := os.RemoveAll(staging); rmErr != nil {
			err = errors.Join(err, fmt.Errorf("clear the staging folder: %w", rmErr))
		}
	}()
	described, err := p.described(ctx)
	if err != nil {
		return nil, err
	}
	start, err := p.warmStart(ctx, before, x, described)
	if err != nil {
		return nil, err
	}
	var towers *model.Towers
	if e.Towers != nil && e.Towers.Released {
		cfg := p.Recipe.Towers
		cfg.Epochs = start.epochs(cfg.Epochs, warmTowers, start.Towers, x.Titles.Len())
		pair, err := p.trainTowers(ctx, "train towers", x, described, cfg, start.towers)
		if err != nil {
			return nil, err
		}
		if towers, err = pair.released(); err != nil {
			return nil, err
		}
	}
	ranks, err := r(ctx, x)
	if err != nil {
		return nil, err
	}
	dir, m, err := BuildRelease(ctx, x, p.Recipe, ReleaseOptions{
		Staging: staging, Snapshot: whole, Version: p.Version, HalfLife: p.Config.PopularityHalfLife, Metrics: e.ownMetrics(), Quality: q,
		Described: described, Ranker: ranks, Towers: towers, Start: start,
		Index:    p.Config.Index,
		Progress: p.alsProgress("train"),
	})
	if err != nil {
		return nil, err
	}
	p.report("publish")
	if err := p.Registry.PublishDir(ctx, dir); err != nil {
		return nil, err
	}
	return &trained{Bundle: m.ID, Size: size{Profiles: m.Profiles, Interactions: m.Interactions}, Beginning: start.Beginning}, nil
}

// ReleaseOptions are what a release carries besides the model.
type ReleaseOptions struct {
	// Staging is the local folder the bundle is made in.
	Staging  string
	Snapshot Snapshot
	Version  string
	// HalfLife is of the decayed popularity.
	HalfLife time.Duration
	Metrics  map[string]map[string]float64
	// Quality is what was found of the data, where that was asked.
	Quality  *model.Quality
	Progress func(als.Progress)
	// Described is what is known of titles, those that nobody has watched included. It, Ranker, Towers and Start may be nil.
	Described *content.Model
	Ranker    *model.Ranker
	Towers    *model.Towers
	Start     *WarmStart
	// Index is Config.Index.
	Index string
}

// BuildRelease trains on all of x and writes the bundle into the staging folder. It returns the bundle's folder. The same
// data, catalogue, recipe and metrics give the same bundle id.
func BuildRelease(ctx context.Context, x *dataset.Interactions, r Recipe, o ReleaseOptions) (string, model.Manifest, error) {
	begin := als.Options{Progress: o.Progress}
	var from *model.Start
	if s := o.Start; s != nil && s.Warm {
		begin.WarmItems, from = s.factors, &model.Start{From: s.From, Titles: s.Titles, Towers: s.Towers}
	}
	cfg := r.ALS
	if o.Start != nil {
		cfg.Epochs = o.Start.epochs(cfg.Epochs, warmALS, o.Start.Titles, x.Titles.Len())
	}
	m, err := als.Train(ctx, Matrix(x), cfg, begin)
	if err != nil {
		return "", model.Manifest{}, err
	}
	hyper, err := r.hyperparameters()
	if err != nil {
		return "", model.Manifest{}, err
	}
	return model.Write(ctx, o.Staging, model.Release{
		Manifest: model.Manifest{
			AsOf: o.Snapshot.AsOf, Created: time.Now().UTC(), Seed: r.ALS.Seed, CodeVersion: o.Version, Dim: m.Dim,
			Snapshot: model.Snapshot{Set: dataset.InteractionSet, ID: o.Snapshot.ID, FeatureSetHash: o.Snapshot.Hash},
			Profiles: x.Profiles.Len(), Interactions: int64(x.Len()),
			Params: m.Params, Hyperparameters: hyper, Metrics: o.Metrics, Quality: o.Quality, Start: from,
		},
		TitleIDs:   x.Titles.IDs(),
		Popularity: x.Popularity(),
		Trending:   x.DecayedPopularity(o.Snapshot.AsOf.UnixMicro(), o.HalfLife),
		Factors:    m.Items,
		Gram:       m.Gram,
		Content:    o.Described,
		Ranker:     o.Ranker,
		Towers:     o.Towers,
		Index:      ann.Options{},
		BuildIndex: IndexBuilder(o.Index),
		Probes:     probes(m),
	})
}
