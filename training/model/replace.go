package model

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"marquee/ann"
)

// Replacement is a model that takes the place of a release's own.
type Replacement struct {
	// Role is UserTowerRole, TitleTowerRole or RankerRole.
	Role  string
	Model []byte
	// Vectors, of a title tower, are all titles' by it, and Probes viewers' that the index of them is searched with.
	Vectors, Probes []float32
	Index           ann.Options
	BuildIndex      ann.Builder
	// Metrics are what was measured of it, by model; what was measured of the model it replaces is left out.
	Metrics map[string]map[string]float64
}

// Roles of models that can be replaced.
const (
	UserTowerRole  = "user-tower"
	TitleTowerRole = "title-tower"
	RankerRole     = "ranker"
)

// Replace makes a bundle in the folder parent/ID of the one in the folder from, with one model replaced, and returns that path and its
// manifest. The other files are copied as they are.
func Replace(ctx context.Context, parent, from string, with Replacement) (_ string, _ Manifest, err error) {
	m, err := Verify(from)
	if err != nil {
		return "", Manifest{}, err
	}
	parts, err := with.parts(ctx, &m)
	if err != nil {
		return "", Manifest{}, err
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", Manifest{}, fmt.Errorf("write model bundle: %w", err)
	}
	tmp, err := os.MkdirTemp(parent, ".writing-*")
	if err != nil {
		return "", Manifest{}, fmt.Errorf("write model bundle: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // gone after the rename; otherwise the first error is what matters
	files := map[string]File{}
	for name := range m.Files {
		if _, replaced := parts[name]; !replaced {
			parts[name] = copied(filepath.Join(from, name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if files[name], err = writeFile(filepath.Join(tmp, name), parts[name]); err != nil {
			return "", Manifest{}, fmt.Errorf("write model bundle: %s: %w", name, err)
		}
	}
	m.Files, m.Created = files, time.Now().UTC()
	path, m, err := finish(tmp, parent, m)
	if err != nil {
		return "", Manifest{}, fmt.Errorf("write model bundle: %w", err)
	}
	return path, m, nil
}

func copied(path string) func(io.Writer) error {
	return func(w io.Writer) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		return errors.Join(err, f.Close())
	}
}

// parts are the files that are replaced; the manifest is told.
func (r Replacement) parts(ctx context.Context, m *Manifest) (map[string]func(io.Writer) error, error) {
	model := func(w io.Writer) error { _, err := w.Write(r.Model); return err }
	m.Recall, m.Metrics = maps.Clone(m.Recall), maps.Clone(m.Metrics)
	stale, parts := "towers", map[string]func(io.Writer) error{}
	switch r.Role {
	case UserTowerRole:
		parts[UserTowerFile] = model
	case TitleTowerRole:
		parts[TitleTowerFile] = model
	case RankerRole:
		parts[RankerFile], stale = model, "hybrid"
	default:
		return nil, fmt.Errorf("there is no role %q: they are %s, %s and %s", r.Role, UserTowerRole, TitleTowerRole, RankerRole)
	}
	switch {
	case r.Role == RankerRole && m.Ranker == nil:
		return nil, fmt.Errorf("release %s has no ranker to replace", m.ID)
	case r.Role != RankerRole && m.Towers == nil:
		return nil, fmt.Errorf("release %s has no towers to replace", m.ID)
	}
	if r.Role == TitleTowerRole {
		if len(r.Vectors) != m.Titles*m.Towers.Dim {
			return nil, fmt.Errorf("%d values are not %d titles' vectors of %d", len(r.Vectors), m.Titles, m.Towers.Dim)
		}
		whole := &Release{Manifest: Manifest{Recall: m.Recall}, Index: r.Index, BuildIndex: r.BuildIndex}
		parts[TitleVectorsFile] = func(w io.Writer) error { return writeRows(w, "vectors", m.Titles, m.Towers.Dim, flat32(r.Vectors)) }
		parts[TowersFile] = func(w io.Writer) error {
			err := whole.writeIndex(ctx, w, index{r.Vectors, m.Towers.Dim, ann.InnerProduct, r.Probes, "towers"})
			m.Recall = whole.Manifest.Recall
			return err
		}
	}
	if delete(m.Metrics, stale); m.Metrics == nil {
		m.Metrics = map[string]map[string]float64{}
	}
	maps.Copy(m.Metrics, r.Metrics)
	if !slices.Contains(m.Imported, r.Role) {
		m.Imported = append(slices.Clone(m.Imported), r.Role)
		slices.Sort(m.Imported)
	}
	m.From = m.ID
	return parts, nil
}

// Titles are the vectors of all of the release's titles by a title tower, which is asked by number and content alike. They end up in
// Replacement.Vectors.
func (b *Bundle) Titles(ctx context.Context, tower []byte) (_ []float32, err error) {
	s, err := TitleTowerSpec(b.TowerDim()).Open(tower)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	with := *b.towers
	with.title = s
	other := &Bundle{manifest: b.manifest, ids: b.ids, content: b.content, towers: &with}
	numbers, described := other.everyTitle()
	out := make([]float32, b.Len()*b.TowerDim())
	if err := other.titleVectors(ctx, out, &TowerScratch{}, numbers, described); err != nil {
		return nil, err
	}
	for i, v := range out {
		if v-v != 0 {
			return nil, fmt.Errorf("it gives %v for title %s, want finite numbers", v, b.ids[i/b.TowerDim()])
		}
	}
	return out, nil
}
