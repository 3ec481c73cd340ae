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

	"marquee/internal/db"
	"marquee/internal/lake"
	"marquee/training/als"
	"marquee/training/dataset"
	"marquee/training/model"
	"marquee/training/model/content"
	"marquee/training/ranker"
	"marquee/training/twotower"
)

// The names of models in results, as the JSON carries them.
const (
	modelALS            = "als"
	modelPopular        = "popular"
	modelPopularDecayed = "popular_decayed"
	modelIncumbent      = "incumbent"
	modelHybrid         = "hybrid"
	modelTowers         = "towers"
)

// leaseName is what keeps two runs apart, in whatever processes they are.
const leaseName = "nightly"

// Snapshot is a built feature snapshot.
type Snapshot struct {
	ID   string    `json:"id"`
	AsOf time.Time `json:"as_of"`
	// Hash is of the SQL that the interactions were built by.
	Hash string `json:"hash"`
	// New: it was not there before.
	New bool `json:"-"`
}

// FeatureBuilder builds feature snapshots; building one that is there already is cheap.
type FeatureBuilder interface {
	// BuildAsOf builds every set as of an instant.
	BuildAsOf(ctx context.Context, asOf time.Time) (Snapshot, error)
	// BuildInteractions builds the set that models are trained on, and no other.
	BuildInteractions(ctx context.Context, asOf time.Time) (Snapshot, error)
	// EventTime is the instant by which the share q of the events up to asOf had happened.
	EventTime(ctx context.Context, asOf time.Time, q float64) (time.Time, error)
	// PruneSnapshots removes the oldest snapshots but keep of them and the pinned.
	PruneSnapshots(ctx context.Context, keep int, pinned ...string) error
	// RemoveSnapshots removes these; those that are gone already are no error.
	RemoveSnapshots(ctx context.Context, ids ...string) error
}

// QualityGate judges the events before they are trained on.
type QualityGate interface {
	// CheckQuality judges the events up to asOf. A check that fails is no error.
	CheckQuality(ctx context.Context, asOf time.Time) (*model.Quality, error)
}

// Registry keeps releases.
type Registry interface {
	// CurrentID is the promoted release; empty when there is none yet.
	CurrentID(ctx context.Context) (string, error)
	Manifest(ctx context.Context, id string) (model.Manifest, error)
	// Verify reads a release in full. Errors wrap registry.ErrUnknown or model.ErrCorrupt.
	Verify(ctx context.Context, id string) error
	// FetchDir returns a folder with a release: the store's own, or a copy in cacheDir.
	FetchDir(ctx context.Context, id, cacheDir string) (string, error)
	// PublishDir stores the bundle in dir under its own id; one that is there already, and whole, stays.
	PublishDir(ctx context.Context, dir string) error
	// PromoteID makes a release current, unless a higher fencing token already promoted.
	PromoteID(ctx context.Context, id, reason string, token int64) error
	PruneReleases(ctx context.Context, keep int) error
}

// Catalogue says what is known of titles besides who watched them.
type Catalogue interface {
	// Titles are all titles, in an order of their own that does not change.
	Titles(ctx context.Context) ([]content.Title, error)
}

// Pipeline is what a run needs.
type Pipeline struct {
	Config   Config
	Recipe   Recipe
	DB       *db.DB
	Lake     *lake.Lake
	Features FeatureBuilder
	// Quality, when given, must pass or be overruled before anything is built.
	Quality QualityGate
	// Accept overrules checks of Quality.
	Accept   Acceptance
	Registry Registry
	// Catalogue, when given, is described in the release, so that titles nobody has watched are found by what they are.
	Catalogue Catalogue
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
	// Promoted: the release is in use now that the run has ended.
	Promoted bool   `json:"promoted"`
	Bundle   string `json:"bundle"`
	// Incumbent is the release that was in use when the run began, empty when there was none.
	Incumbent string                        `json:"incumbent,omitempty"`
	AsOf      time.Time                     `json:"as_of"`
	Protocol  string                        `json:"protocol"`
	CutAt     time.Time                     `json:"cut_at"`
	Users     int                           `json:"users"`
	Metrics   map[string]map[string]float64 `json:"metrics"`
	// Comparisons has one against the incumbent unless there was none, or it carries no recipe to train again.
	Comparisons []Comparison `json:"comparisons"`
	// Ranker says what was found of the ranker over all sources; nil where none is to be trained.
	Ranker *RankerVerdict `json:"ranker,omitempty"`
	// Towers says what was found of the two towers; nil where none are to be trained.
	Towers *TowersVerdict `json:"towers,omitempty"`
	// Beginning says what the release's training began from.
	Beginning Beginning `json:"beginning"`
	Gate      Verdict   `json:"gate"`
	// Quality is what was found of the data, and who overruled what.
	Quality *model.Quality `json:"quality,omitempty"`
	// Resumed names the steps whose results an earlier run had recorded.
	Resumed []string `json:"resumed,omitempty"`
}

// Run makes one nightly run as of an instant. A zero instant is the wall clock's, or that of the last run if it had none
// either and was interrupted within the last hours: then Run goes on with it. A second run at the same time, in any
// process, fails with db.ErrLeaseHeld. A run that loses its lease fails with db.ErrLeaseLost and has then changed nothing
// since. There are both a summary and an error where the data were refused, a *QualityError, and where the release was made and
// only the tidying failed.
func (p *Pipeline) Run(ctx context.Context, asOf time.Time) (*Summary, error) {
	if p.Config.Ranker == RankerOff {
		p.Recipe.Ranker = ranker.Config{}
	}
	if !p.Config.Towers {
		p.Recipe.Towers = twotower.Config{}
	}
	if err := errors.Join(p.Config.Validate(), p.Recipe.Validate()); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name this machine: %w", err)
	}
	lease, err := p.DB.AcquireLease(ctx, leaseName, fmt.Sprintf("%s, process %d", host, os.Getpid()), p.Config.LeaseTTL)
	if err != nil {
		return nil, err
	}
	s, err := p.hold(lease, asOf)
	if err != nil && ctx.Err() == nil && lease.Context().Err() != nil {
		err = errors.Join(err, context.Cause(lease.Context()))
	}
	return s, errors.Join(err, lease.Release(context.WithoutCancel(ctx)))
}

// hold makes the run that a lease is held for.
func (p *Pipeline) hold(lease *db.Lease, asOf time.Time) (*Summary, error) {
	ctx := lease.Context()
	b, err := p.begin(ctx, lease, asOf)
	if err != nil {
		return nil, err
	}
	s, err := p.run(ctx, lease, b)
	// What was stopped or fenced off is interrupted; what failed would fail again, and had better begin with newer data.
	if ctx.Err() == nil && !errors.Is(err, db.ErrLeaseLost) {
		err = errors.Join(err, b.end(ctx))
	}
	return s, err
}

func (p *Pipeline) run(ctx context.Context, lease *db.Lease, b *begun) (*Summary, error) {
	if err := p.checkQuality(ctx, b); err != nil {
		var refused *QualityError
		if errors.As(err, &refused) {
			return refused.summary(b), err
		}
		return nil, err
	}
	whole, train, kept, err := p.features(ctx, b)
	if err != nil {
		return nil, err
	}
	key, err := p.runKey(whole, train)
	if err != nil {
		return nil, err
	}
	j := &journal{db: p.DB, lease: lease, run: key}
	if kept {
		j.resumed = append(j.resumed, "features")
	}
	incumbent, err := p.incumbent(ctx, j)
	if err != nil {
		return nil, err
	}
	l := &lessons{p: p}
	e, err := step(ctx, j, stepEvaluate, func(ctx context.Context) (*evaluation, error) {
		return p.evaluate(ctx, whole, train, incumbent, l)
	})
	if err != nil {
		return nil, err
	}
	s := e.summary(whole, incumbent)
	s.Quality = b.quality
	release, err := p.release(ctx, j, whole, e, b.quality, incumbent, func(ctx context.Context, x *dataset.Interactions) (*model.Ranker, error) {
		return p.ranker(ctx, l, whole, train, e, x)
	})
	if err != nil {
		return nil, err
	}
	s.Bundle, s.Beginning = release.Bundle, release.Beginning
	if err := p.conclude(ctx, j, s, decide(e.Comparisons, release.Size, incumbent, p.Config.MaxLoss)); err != nil {
		return nil, err
	}
	s.Resumed = j.resumed
	if err := p.tidy(ctx, j, whole, train); err != nil {
		return s, fmt.Errorf("tidy up after release %s: %w", s.Bundle, err)
	}
	return s, nil
}

// conclude promotes the release if the verdict is that, unless an earlier run of the same did, and says what came of it.
func (p *Pipeline) conclude(ctx context.Context, j *journal, s *Summary, v Verdict) error {
	earlier, done, err := recorded[Verdict](ctx, j, stepPromote)
	if err != nil {
		return err
	}
	switch {
	case done:
		v = earlier
		j.resumed = append(j.resumed, stepPromote)
	case v.Pass:
		p.report(stepPromote)
		// The fencing token stops a run whose successor has promoted; the check that is part of recording, one whose
		// successor has not got that far.
		if err := j.record(ctx, stepPromote, v, func(ctx context.Context) error {
			return p.Registry.PromoteID(ctx, s.Bundle, "nightly: "+v.Reasons[0], j.lease.Token())
		}); err != nil {
			return err
		}
	}
	s.Gate = v
	current, err := p.Registry.CurrentID(ctx)
	if err != nil {
		return err
	}
	s.Promoted = v.Pass && current == s.Bundle
	if v.Pass && !s.Promoted {
		s.Gate.Reasons = append(s.Gate.Reasons, fmt.Sprintf("an earlier run of the same promoted it, and release %s has been put in use since", current))
	}
	return nil
}

func (p *Pipeline) report(step string) {
	p.Log.Info("nightly step", "step", step)
	if p.Progress != nil {
		p.Progress(step, 0, 0)
	}
}

// runKey names the run by all that decides its release and how that is measured. The gate is not part of it: it decides anew
// each time, by the settings and the incumbent of that time.
func (p *Pipeline) runKey(whole, train Snapshot) (string, error) {
	b, err := json.Marshal(map[string]any{
		"whole": whole.ID, "train": train.ID, "recipe": p.Recipe.comparable(), "version": p.Version, "protocol": Protocol,
		"holdout": p.Config.HoldoutQuantile, "half_life": p.Config.PopularityHalfLife, "warm": p.Config.WarmStart, "ranker": p.Config.Ranker,
	})
	if err != nil {
		return "", fmt.Errorf("name the run: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16]), nil
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
	if err := j.lease.Check(ctx, p.DB); err != nil {
		return err
	}
	ids := make([]string, len(pinned))
	for i, s := range pinned {
		ids[i] = s.ID
	}
	return errors.Join(
		p.Registry.PruneReleases(ctx, p.Config.KeepReleases),
		p.Features.PruneSnapshots(ctx, p.Config.KeepSnapshots, ids...),
		j.forget(ctx, time.Now().AddDate(0, 0, -30)))
}
