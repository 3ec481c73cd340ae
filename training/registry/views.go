package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"marquee/training/model"
)

// Writer is the registry as one author sees it, such as the nightly run.
type Writer struct {
	registry *Registry
	by       string
}

// As returns the registry for an author who signs changes with the given name.
func (r *Registry) As(by string) *Writer { return &Writer{registry: r, by: by} }

// CurrentID is the release in use, empty while there is none.
func (w *Writer) CurrentID(ctx context.Context) (string, error) {
	c, err := w.registry.Current(ctx)
	return c.ID, err
}

// Manifest describes a release.
func (w *Writer) Manifest(ctx context.Context, id string) (model.Manifest, error) {
	return w.registry.Manifest(ctx, id)
}

// Verify reads a release in full, see Registry.Verify.
func (w *Writer) Verify(ctx context.Context, id string) error { return w.registry.Verify(ctx, id) }

// FetchDir returns a folder with a release, see Registry.Fetch.
func (w *Writer) FetchDir(ctx context.Context, id, cacheDir string) (string, error) {
	return w.registry.Fetch(ctx, id, cacheDir)
}

// PublishDir stores the bundle in dir, see Registry.Publish.
func (w *Writer) PublishDir(ctx context.Context, dir string) error {
	_, err := w.registry.Publish(ctx, dir)
	return err
}

// PromoteID puts a release in use, see Registry.Promote.
func (w *Writer) PromoteID(ctx context.Context, id, reason string, token int64) error {
	_, err := w.registry.Promote(ctx, id, Author{By: w.by, Reason: reason, Token: token})
	return err
}

// PruneReleases deletes all but the keep latest releases, see Registry.Prune.
func (w *Writer) PruneReleases(ctx context.Context, keep int) error {
	_, err := w.registry.Prune(ctx, keep)
	return err
}

// Source is the registry as serving sees it. It is for one process, and one caller of Open at a time.
type Source struct {
	registry *Registry
	cacheDir string
}

// Source returns the registry for a reader that keeps copies of releases in cacheDir, where the store is not a folder itself. The
// folder is the reader's own.
func (r *Registry) Source(cacheDir string) *Source { return &Source{registry: r, cacheDir: cacheDir} }

// Current names the release in use, empty while there is none.
func (s *Source) Current(ctx context.Context) (string, error) {
	c, err := s.registry.Current(ctx)
	return c.ID, err
}

// Open fetches and opens a release; the caller ends the reference it gets. Copies of other releases are deleted from the
// cache, save the one that a rollback goes back to; what is mapped from them stays readable.
func (s *Source) Open(ctx context.Context, id string) (*model.Bundle, error) {
	dir, err := s.registry.Fetch(ctx, id, s.cacheDir)
	if err != nil {
		return nil, err
	}
	b, err := model.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := s.clean(ctx, id); err != nil {
		s.registry.log.Warn("old releases stay in the cache", "folder", s.cacheDir, "error", err)
	}
	return b, nil
}

func (s *Source) clean(ctx context.Context, id string) error {
	if _, ok := s.registry.store.Dir(); ok {
		return nil
	}
	entries, err := os.ReadDir(s.cacheDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the cache: %w", err)
	}
	c, err := s.registry.Current(ctx)
	if err != nil {
		return err
	}
	keep := map[string]bool{id: true, c.ID: true}
	if len(c.Previous) > 0 {
		keep[c.Previous[0]] = true
	}
	var errs []error
	for _, e := range entries {
		if !keep[e.Name()] && model.ValidID(e.Name()) {
			errs = append(errs, os.RemoveAll(filepath.Join(s.cacheDir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
