// Package nightly retrains: it builds features, trains, evaluates beside popularity and the incumbent, decides at a gate,
// publishes and promotes. A run holds a fenced lease, so there is never a second one; its finished steps are recorded, so
// a run that was interrupted goes on where it stopped; and one that was finished is not done again.
package nightly

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"marquee/ann"
	"marquee/internal/db"
	"marquee/internal/lake"
	"marquee/training/als"
	"marquee/training/dataset"
	"marquee/training/model"
)

// The names of models in results, as the JSON carries them.
const (
	modelALS            = "als"
	modelPopular        = "popular"
	modelPopularDecayed = "popular_decayed"
	modelIncumbent      = "incumbent"
)

// leaseName is what keeps two runs apart, in whatever processes they are.
const leaseName = "nightly"

// Snapshot is a built feature snapshot.
type Snapshot struct {
	ID   string    `json:"id"`
	AsOf time.Time `json:"as_of"`
	// Hash is of the SQL that the interactions were built by.
	Hash string `json:"hash"`
}

// FeatureBuilder builds feature snapshots; building one that is there already is cheap.
type FeatureBuilder interface {
	// BuildAsOf builds every set as of an instant.
	BuildAsOf(ctx context.Context, asOf time.Time) (Snapshot, error)
	// EventTime is the instant by which the share q of the events up to asOf had happened.
	EventTime(ctx context.Context, asOf time.Time, q float64) (time.Time, error)
	// PruneSnapshots removes the oldest snapshots but keep of them and the pinned.
	PruneSnapshots(ctx context.Context, keep int, pinned ...string) error
}

// Registry keeps releases.
type Registry interface {
	// CurrentID is the promoted release; empty when there is none yet.
	CurrentID(ctx context.Context) (string, error)
	Manifest(ctx context.Context, id string) (model.Manifest, error)
	// PublishDir stores the bundle in dir under its own id; one that is there already stays.
	PublishDir(ctx context.Context, dir string) error
	// PromoteID makes a release current, unless a higher fencing token already promoted.
	PromoteID(ctx context.Context, id, reason string, token int64) error
	PruneReleases(ctx context.Context, keep int) error
}

// Pipeline is what a run needs.
type Pipeline struct {
	Config   Config
	Recipe   Recipe
	DB       *db.DB
	Lake     *lake.Lake
	Features FeatureBuilder
	Registry Registry
	// Staging is a local folder for bundles under construction.
	Staging string
	// Version is the program's, for the manifest.
	Version string
	Log     *slog.Logger
	// Progress, when given, is told of steps: done of total, 0 of 0 when a step begins.
	Progress func(step string, done, total int64)
}

// Summary is what a run did. Its JSON is part of the command's contract.
type Summary struct {
	Promoted    bool                          `json:"promoted"`
	Bundle      string                        `json:"bundle"`
	Incumbent   string                        `json:"incumbent,omitempty"`
	AsOf        time.Time                     `json:"as_of"`
	Protocol    string                        `json:"protocol"`
	CutAt       time.Time                     `json:"cut_at"`
	Users       int                           `json:"users"`
	Metrics     map[string]map[string]float64 `json:"metrics"`
	Comparisons []Comparison                  `json:"comparisons"`
	Gate        Verdict                       `json:"gate"`
	// Resumed names the steps whose results an earlier run had recorded.
	Resumed []string `json:"resumed,omitempty"`
}

// Run makes one nightly run as of an instant. A second one at the same time, in any process, fails with db.ErrLeaseHeld.
func (p *Pipeline) Run(ctx context.Context, asOf time.Time) (*Summary, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name this machine: %w", err)
	}
	lease, err := p.DB.AcquireLease(ctx, leaseName, fmt.Sprintf("%s, process %d", host, os.Getpid()), p.Config.LeaseTTL)
	if err != nil {
		return nil, err
	}
	s, err := p.run(lease.Context(), lease, asOf)
	if err != nil && ctx.Err() == nil && lease.Context().Err() != nil {
		err = errors.Join(err, context.Cause(lease.Context()))
	}
	return s, errors.Join(err, lease.Release(context.WithoutCancel(ctx)))
}

func (p *Pipeline) run(ctx context.Context, lease *db.Lease, asOf time.Time) (*Summary, error) {
	whole, train, err := p.features(ctx, asOf)
	if err != nil {
		return nil, err
	}
	key, err := p.runKey(whole, train)
	if err != nil {
		return nil, err
	}
	j := &journal{db: p.DB, lease: lease, run: key}
	incumbent, err := p.incumbent(ctx, j)
	if err != nil {
		return nil, err
	}
	e, err := step(ctx, j, "evaluate", func(ctx context.Context) (*evaluation, error) {
		return p.evaluate(ctx, whole, train, incumbent)
	})
	if err != nil {
		return nil, err
	}
	s := e.summary(whole, incumbent)
	release, err := step(ctx, j, "train", func(ctx context.Context) (*trained, error) {
		return p.train(ctx, whole, e)
	})
	if err != nil {
		return nil, err
	}
	s.Bundle = release.Bundle
	s.Gate = decide(e.Comparisons, release.Size, incumbent.Size, p.Config.MaxLoss)
	if s.Gate.Pass {
		if _, err := step(ctx, j, "promote", func(ctx context.Context) (string, error) {
			p.report("promote")
			return release.Bundle, p.Registry.PromoteID(ctx, release.Bundle, "nightly: "+s.Gate.Reasons[0], lease.Token())
		}); err != nil {
			return nil, err
		}
		s.Promoted = true
	}
	s.Resumed = j.resumed
	return s, p.tidy(ctx, j, whole, train)
}

func (p *Pipeline) report(step string) {
	p.Log.Info("nightly step", "step", step)
	if p.Progress != nil {
		p.Progress(step, 0, 0)
	}
}

// features builds the snapshot that the release is trained on, and the one as of the evaluation's cut, which knows
// nothing of what came later.
func (p *Pipeline) features(ctx context.Context, asOf time.Time) (whole, train Snapshot, err error) {
	p.report("features")
	if whole, err = p.Features.BuildAsOf(ctx, asOf); err != nil {
		return whole, train, err
	}
	cut, err := p.Features.EventTime(ctx, whole.AsOf, p.Config.HoldoutQuantile)
	if err != nil {
		return whole, train, err
	}
	train, err = p.Features.BuildAsOf(ctx, cut)
	return whole, train, err
}

// runKey names the run by all that decides its result.
func (p *Pipeline) runKey(whole, train Snapshot) (string, error) {
	b, err := json.Marshal(map[string]any{
		"whole": whole.ID, "train": train.ID, "recipe": p.Recipe.comparable(), "config": p.Config, "version": p.Version, "protocol": Protocol,
	})
	if err != nil {
		return "", fmt.Errorf("name the run: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16]), nil
}

// incumbentRelease is the promoted release as a run first met it.
type incumbentRelease struct {
	ID     string  `json:"id"`
	Recipe *Recipe `json:"recipe"`
	Size   size    `json:"size"`
}

// incumbent notes the current release when the run begins, so that a run that goes on after its own promotion still
// compares with the release it set out to replace.
func (p *Pipeline) incumbent(ctx context.Context, j *journal) (*incumbentRelease, error) {
	return step(ctx, j, "incumbent", func(ctx context.Context) (*incumbentRelease, error) {
		id, err := p.Registry.CurrentID(ctx)
		if err != nil || id == "" {
			return &incumbentRelease{}, err
		}
		m, err := p.Registry.Manifest(ctx, id)
		if err != nil {
			return nil, err
		}
		out := &incumbentRelease{ID: id, Size: size{Profiles: m.Profiles, Interactions: m.Interactions}}
		r, ok, err := recipeOf(m.Hyperparameters)
		if ok {
			out.Recipe = &r
		}
		return out, err
	})
}

// trained is a release that was published and not yet promoted.
type trained struct {
	Bundle string `json:"bundle"`
	Size   size   `json:"size"`
}

// train makes the release of the whole data and publishes it.
func (p *Pipeline) train(ctx context.Context, whole Snapshot, e *evaluation) (*trained, error) {
	p.report("train")
	x, err := dataset.Load(ctx, p.Lake, whole.ID)
	if err != nil {
		return nil, err
	}
	dir, m, err := BuildRelease(ctx, x, p.Recipe, ReleaseOptions{
		Staging: p.Staging, Snapshot: whole, Version: p.Version, HalfLife: p.Config.PopularityHalfLife, Metrics: e.Metrics,
		Progress: p.alsProgress("train"),
	})
	if err != nil {
		return nil, err
	}
	p.report("publish")
	if err := p.Registry.PublishDir(ctx, dir); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("clear the staging folder: %w", err)
	}
	return &trained{Bundle: m.ID, Size: size{Profiles: m.Profiles, Interactions: m.Interactions}}, nil
}

// ReleaseOptions are what a release carries besides the model.
type ReleaseOptions struct {
	Staging  string
	Snapshot Snapshot
	Version  string
	HalfLife time.Duration
	Metrics  map[string]map[string]float64
	Progress func(als.Progress)
}

// BuildRelease trains on all of x and writes the bundle into the staging folder. It returns the bundle's folder.
func BuildRelease(ctx context.Context, x *dataset.Interactions, r Recipe, o ReleaseOptions) (string, model.Manifest, error) {
	m, err := als.Train(ctx, matrix(x), r.ALS, als.Options{Progress: o.Progress})
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
			Params: m.Params, Hyperparameters: hyper, Metrics: o.Metrics,
		},
		TitleIDs:   x.Titles.IDs(),
		Popularity: x.Popularity(),
		Trending:   x.DecayedPopularity(o.Snapshot.AsOf.UnixMicro(), o.HalfLife),
		Factors:    m.Items,
		Gram:       m.Gram,
		Index:      ann.Options{},
	})
}

func (p *Pipeline) alsProgress(step string) func(als.Progress) {
	return func(a als.Progress) {
		p.Log.Info("als epoch", "step", step, "epoch", a.Epoch, "of", a.Epochs, "loss", a.Loss, "left", a.Left.Round(time.Second))
		if p.Progress != nil {
			p.Progress(step, int64(a.Epoch), int64(a.Epochs))
		}
	}
}

// tidy removes releases, snapshots and recorded steps that are no longer needed.
func (p *Pipeline) tidy(ctx context.Context, j *journal, pinned ...Snapshot) error {
	p.report("tidy")
	ids := make([]string, len(pinned))
	for i, s := range pinned {
		ids[i] = s.ID
	}
	return errors.Join(
		p.Registry.PruneReleases(ctx, p.Config.KeepReleases),
		p.Features.PruneSnapshots(ctx, p.Config.KeepSnapshots, ids...),
		j.forget(ctx, time.Now().AddDate(0, 0, -30)))
}
