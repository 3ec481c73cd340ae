// Package registry keeps releases in a lake and says which one is in use.
//
//	bundles/ID/...   a bundle's files; it exists once its manifest.json does, which is written last and deleted first
//	current.json     the release in use, those before it, and the fencing token of who promoted it
//
// Changing the release in use is the replacement of one file, so a crash leaves the old one or the new one. Whoever
// promotes holds a lease and passes its fencing token: a writer that was paused and superseded is refused. The registry
// itself does not exclude two writers with the same token; that is the lease's work.
package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"marquee/internal/lake"
	"marquee/training/model"
)

// Errors to be matched with errors.Is.
var (
	// ErrUnknown is a release that the registry does not have.
	ErrUnknown = errors.New("no such release")
	// ErrFenced is a change by a writer whose lease has passed to another.
	ErrFenced = errors.New("superseded by a later writer")
	// ErrNoRollback is a rollback where no earlier release is left.
	ErrNoRollback = errors.New("there is no earlier release to roll back to")
)

const bundlePrefix = "bundles/"

// unfinishedAge is how old the files of a bundle without a manifest must be before Prune takes them for a dead writer's.
const unfinishedAge = 24 * time.Hour

// Store is what the registry needs of a lake; *lake.Lake is one.
type Store interface {
	WriteFile(ctx context.Context, key string, write func(io.Writer) error) (lake.FileInfo, error)
	ReadFile(ctx context.Context, key string) ([]byte, error)
	ReaderAt(ctx context.Context, key string) (r io.ReaderAt, size int64, release func() error, err error)
	List(ctx context.Context, prefix string) iter.Seq2[lake.Object, error]
	Delete(ctx context.Context, key string) error
	Verify(ctx context.Context, want lake.FileInfo) error
	// Dir returns the folder that holds the files, where there is one.
	Dir() (string, bool)
}

var _ Store = (*lake.Lake)(nil)

// Registry is a set of releases. It holds no state besides the store's and is safe for concurrent use, with the one
// exception named above.
type Registry struct {
	store Store
	log   *slog.Logger
}

// New returns the registry in a store.
func New(store Store, log *slog.Logger) *Registry { return &Registry{store: store, log: log} }

func key(id, name string) string { return bundlePrefix + id + "/" + name }

// Publish stores the bundle in the local folder dir under its own id, without putting it in use. It is verified first. A
// release that is there already stays as it is; one whose publishing was cut short is completed, and a damaged one replaced.
func (r *Registry) Publish(ctx context.Context, dir string) (string, error) {
	m, err := model.Verify(dir)
	if err != nil {
		return "", fmt.Errorf("publish: %w", err)
	}
	if err := r.upload(ctx, dir, m); err != nil {
		return "", fmt.Errorf("publish release %s: %w", m.ID, err)
	}
	return m.ID, nil
}

func (r *Registry) upload(ctx context.Context, dir string, m model.Manifest) error {
	switch err := r.Verify(ctx, m.ID); {
	case err == nil:
		r.log.Info("release is already published", "release", m.ID)
		return nil
	case errors.Is(err, model.ErrCorrupt):
		r.log.Warn("a damaged release is published again", "release", m.ID, "error", err)
	case !errors.Is(err, ErrUnknown):
		return err
	}
	for name, want := range m.Files {
		info, err := r.store.WriteFile(ctx, key(m.ID, name), copyFrom(filepath.Join(dir, name)))
		if err != nil {
			return err
		}
		if info.SHA256 != want.SHA256 || info.Bytes != want.Bytes {
			return fmt.Errorf("%w: %s changed while it was published", model.ErrCorrupt, name)
		}
	}
	if _, err := r.store.WriteFile(ctx, key(m.ID, model.ManifestFile), copyFrom(filepath.Join(dir, model.ManifestFile))); err != nil {
		return err
	}
	r.log.Info("release published", "release", m.ID, "titles", m.Titles, "as_of", m.AsOf)
	return nil
}

func copyFrom(path string) func(io.Writer) error {
	return func(w io.Writer) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		return errors.Join(err, f.Close())
	}
}

// Manifest describes a release. An id that is not in the registry is an ErrUnknown.
func (r *Registry) Manifest(ctx context.Context, id string) (model.Manifest, error) {
	_, m, err := r.manifest(ctx, id)
	return m, err
}

func (r *Registry) manifest(ctx context.Context, id string) ([]byte, model.Manifest, error) {
	if !model.ValidID(id) {
		return nil, model.Manifest{}, fmt.Errorf("%w: %q is not the id of one", ErrUnknown, id)
	}
	text, err := r.store.ReadFile(ctx, key(id, model.ManifestFile))
	if lake.IsNotExist(err) {
		return nil, model.Manifest{}, fmt.Errorf("%w: %s", ErrUnknown, id)
	}
	if err != nil {
		return nil, model.Manifest{}, err
	}
	m, err := model.DecodeManifest(text)
	if err != nil {
		return nil, model.Manifest{}, fmt.Errorf("release %s: %w", id, err)
	}
	if m.ID != id {
		return nil, model.Manifest{}, fmt.Errorf("release %s: %w: it calls itself %s", id, model.ErrCorrupt, m.ID)
	}
	return text, m, nil
}

// List returns the manifests of all releases, the latest created first. Releases of a format this program does not read, and damaged
// ones, are logged and left out.
func (r *Registry) List(ctx context.Context) ([]model.Manifest, error) {
	var out []model.Manifest
	bundles, err := r.bundles(ctx)
	if err != nil {
		return nil, err
	}
	for id, b := range bundles {
		if !b.complete {
			continue
		}
		m, err := r.Manifest(ctx, id)
		switch {
		case errors.Is(err, model.ErrCorrupt) || errors.Is(err, model.ErrVersion) || errors.Is(err, ErrUnknown):
			r.log.Warn("release cannot be read", "release", id, "error", err)
		case err != nil:
			return nil, err
		default:
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b model.Manifest) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	return out, nil
}

// stored is what the store holds of one bundle.
type stored struct {
	files    []lake.Object
	complete bool // has a manifest
}

func (r *Registry) bundles(ctx context.Context) (map[string]*stored, error) {
	out := map[string]*stored{}
	for o, err := range r.store.List(ctx, bundlePrefix) {
		if err != nil {
			return nil, fmt.Errorf("list releases: %w", err)
		}
		id, name, ok := strings.Cut(strings.TrimPrefix(o.Key, bundlePrefix), "/")
		if !ok || !model.ValidID(id) {
			continue
		}
		b := out[id]
		if b == nil {
			b = &stored{}
			out[id] = b
		}
		b.files = append(b.files, o)
		b.complete = b.complete || name == model.ManifestFile
	}
	return out, nil
}

// Verify reads a release in full and holds every file against its manifest. Errors wrap ErrUnknown, model.ErrCorrupt or
// model.ErrVersion, or are the store's.
func (r *Registry) Verify(ctx context.Context, id string) error {
	m, err := r.Manifest(ctx, id)
	if err != nil {
		return err
	}
	for name, f := range m.Files {
		err := r.store.Verify(ctx, lake.FileInfo{Key: key(id, name), Bytes: f.Bytes, SHA256: f.SHA256})
		if lake.IsNotExist(err) || errors.Is(err, lake.ErrCorrupt) {
			return fmt.Errorf("release %s: %w: %w", id, model.ErrCorrupt, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// check makes sure that every file of a release is there with its size.
func (r *Registry) check(ctx context.Context, id string) error {
	m, err := r.Manifest(ctx, id)
	if err != nil {
		return err
	}
	sizes := map[string]int64{}
	for o, err := range r.store.List(ctx, bundlePrefix+id+"/") {
		if err != nil {
			return err
		}
		sizes[o.Key] = o.Bytes
	}
	for name, f := range m.Files {
		if got, ok := sizes[key(id, name)]; !ok || got != f.Bytes {
			return fmt.Errorf("release %s: %w: %s has %d bytes, its manifest says %d", id, model.ErrCorrupt, name, got, f.Bytes)
		}
	}
	return nil
}

// Fetch returns a local folder with the release: the store's own where it is a folder, else a copy under cacheDir, downloaded and
// verified once.
func (r *Registry) Fetch(ctx context.Context, id, cacheDir string) (string, error) {
	text, m, err := r.manifest(ctx, id)
	if err != nil {
		return "", err
	}
	if dir, ok := r.store.Dir(); ok {
		return filepath.Join(dir, filepath.FromSlash(bundlePrefix), id), nil
	}
	target := filepath.Join(cacheDir, id)
	if have, err := os.ReadFile(filepath.Join(target, model.ManifestFile)); err == nil && bytes.Equal(have, text) {
		if _, err := model.Verify(target); err == nil {
			return target, nil
		}
	}
	if err := r.download(ctx, text, m, cacheDir, target); err != nil {
		return "", fmt.Errorf("fetch release %s: %w", id, err)
	}
	return target, nil
}

func (r *Registry) download(ctx context.Context, text []byte, m model.Manifest, cacheDir, target string) error {
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(cacheDir, ".fetching-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // gone after the rename; otherwise the first error is what matters
	for name := range m.Files {
		if err := r.downloadFile(ctx, key(m.ID, name), filepath.Join(tmp, name)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(tmp, model.ManifestFile), text, 0o644); err != nil {
		return err
	}
	if _, err := model.Verify(tmp); err != nil {
		return err
	}
	// What stands there is a damaged copy; a bundle mapped from it keeps its files.
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	return os.Rename(tmp, target)
}

func (r *Registry) downloadFile(ctx context.Context, from, to string) error {
	src, size, release, err := r.store.ReaderAt(ctx, from)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return errors.Join(err, release())
	}
	_, err = io.Copy(f, io.NewSectionReader(src, 0, size))
	return errors.Join(err, f.Close(), release())
}
