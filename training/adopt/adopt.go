// Package adopt takes models that were made elsewhere into a release: an ONNX file takes the place of the release's user's tower, title
// tower or ranker. Before that it is checked: that it takes and gives what its role does, in batches of any size, for this release's number
// of titles, terms and features; and that it computes here what it computed where it was made, on samples.
package adopt

import (
	"context"
	"errors"
	"fmt"
	"io"

	"marquee/ann"
	"marquee/internal/ort"
	"marquee/training/model"
)

// ErrRefused is wrapped by every error about the model or its samples.
var ErrRefused = errors.New("the model is refused")

// Tolerance is how far what a model gives may be from what its samples say.
const Tolerance = 1e-4

// Request says which model is to take whose place.
type Request struct {
	// Role is model.UserTowerRole, model.TitleTowerRole or model.RankerRole.
	Role string
	// Model is the ONNX file's content.
	Model []byte
	// Samples are JSON lines: objects with a value for each input and output, as of one viewer, title or candidate.
	Samples io.Reader
	// Release is the folder of the release that it is put into a copy of, Staging where that is made.
	Release, Staging string
	// Index and BuildIndex make the index of a title tower's vectors; see model.Release.
	Index      ann.Options
	BuildIndex ann.Builder
	// Judge, where given, measures the release with the model in it before that is kept; what it returns is in the manifest. An error refuses
	// the model.
	Judge func(ctx context.Context, b *model.Bundle) (map[string]map[string]float64, error)
}

// Report is what was found.
type Report struct {
	// Samples is how many agreed, Worst the largest difference among them.
	Samples int     `json:"samples"`
	Worst   float64 `json:"worst"`
}

// Take checks the model and makes the release with it in the staging folder.
func Take(ctx context.Context, r Request) (dir string, m model.Manifest, report Report, err error) {
	before, err := model.Open(r.Release)
	if err != nil {
		return "", m, report, err
	}
	defer func() { err = errors.Join(err, before.Release()) }()
	spec, err := specOf(before, r.Role)
	if err != nil {
		return "", m, report, err
	}
	if err := ort.Load(); err != nil {
		return "", m, report, fmt.Errorf("run the model: %w", err)
	}
	session, err := spec.Open(r.Model)
	if err != nil {
		return "", m, report, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	if report, err = compare(ctx, session, r.Samples); err != nil {
		return "", m, report, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	with := model.Replacement{Role: r.Role, Model: r.Model, Index: r.Index, BuildIndex: r.BuildIndex}
	if r.Role == model.TitleTowerRole {
		if with.Vectors, err = before.Titles(ctx, r.Model); err != nil {
			return "", m, report, fmt.Errorf("%w: make the vectors of the release's %d titles: %w", ErrRefused, before.Len(), err)
		}
		if with.Probes, err = viewers(ctx, before); err != nil {
			return "", m, report, err
		}
	}
	if dir, m, err = model.Replace(ctx, r.Staging, r.Release, with); err != nil {
		return "", m, report, err
	}
	if err := r.tried(ctx, dir, &with); err != nil {
		return "", m, report, err
	}
	if with.Metrics == nil {
		return dir, m, report, nil
	}
	dir, m, err = model.Replace(ctx, r.Staging, r.Release, with)
	return dir, m, report, err
}

// tried opens the release as serving will, which asks the model for titles of this release, and judges it.
func (r Request) tried(ctx context.Context, dir string, with *model.Replacement) (err error) {
	after, err := model.Open(dir)
	if err != nil {
		return fmt.Errorf("%w: the release with it cannot be opened: %w", ErrRefused, err)
	}
	defer func() { err = errors.Join(err, after.Release()) }()
	if r.Judge == nil {
		return nil
	}
	if with.Metrics, err = r.Judge(ctx, after); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// specOf is what a model of that role must be in this release.
func specOf(b *model.Bundle, role string) (model.Spec, error) {
	m := b.Manifest()
	switch role {
	case model.UserTowerRole, model.TitleTowerRole:
		if m.Towers == nil {
			return model.Spec{}, fmt.Errorf("release %s has no towers, so there is none for a %s to replace: let a night train some (training.nightly.towers)", m.ID, role)
		}
		if role == model.UserTowerRole {
			return model.UserTowerSpec(m.Towers.Dim), nil
		}
		return model.TitleTowerSpec(m.Towers.Dim), nil
	case model.RankerRole:
		if m.Ranker == nil {
			return model.Spec{}, fmt.Errorf("release %s has no ranker to replace: let a night train one (training.nightly.ranker)", m.ID)
		}
		return model.RankerSpec(len(m.Ranker.Features)), nil
	}
	return model.Spec{}, fmt.Errorf("there is no role %q: they are %s, %s and %s", role, model.UserTowerRole, model.TitleTowerRole, model.RankerRole)
}

// maxViewers is how many viewers' vectors an index is tried with.
const maxViewers = 200

// viewers are the vectors of viewers who each watched one title.
func viewers(ctx context.Context, b *model.Bundle) ([]float32, error) {
	var histories [][]model.Watch
	step := max(1, b.Len()/maxViewers)
	for row := 0; row < b.Len() && len(histories) < maxViewers; row += step {
		histories = append(histories, []model.Watch{{Row: uint32(row), Strength: 1, Days: -1}})
	}
	out := make([]float32, len(histories)*b.TowerDim())
	if err := b.UserTower(ctx, out, &model.TowerScratch{}, histories...); err != nil {
		return nil, err
	}
	return out, nil
}
