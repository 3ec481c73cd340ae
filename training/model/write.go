package model

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"marquee/ann"
	"marquee/training/foldin"
	"marquee/training/model/content"
)

// Release is what Write makes a bundle of.
type Release struct {
	// Manifest describes the run. ID, FormatVersion, Titles, Dim, Described, Terms and Files are filled in by Write, and Created where it
	// is zero.
	Manifest Manifest
	// TitleIDs are the titles' ids by row, unique, 1 to 64 bytes each.
	TitleIDs []string
	// Popularity and Trending rank titles for a profile without a history: all-time and decayed watches, 0 or more.
	Popularity, Trending []float32
	// Factors are len(TitleIDs) x Dim.
	Factors []float32
	// Gram is the Gramian of Factors, Dim x Dim; where nil it is computed.
	Gram []float64
	// Content, where not nil, is what the catalogue says of titles.
	Content *content.Model
	// Ranker, where not nil, puts candidates in order.
	Ranker *Ranker
	// Towers, where not nil, are a second source of candidates, and know titles that nobody has watched.
	Towers *Towers
	// Index tunes all indexes; its Metric is ignored.
	Index ann.Options
	// BuildIndex makes them; nil means ann.Build.
	BuildIndex ann.Builder
	// Probes are vectors of profiles, Dim values each. Write searches both indexes with them, lets their walks keep as many
	// candidates as it takes (ann.Calibrate), and refuses to write a bundle of which one finds fewer than ann.RecallGate of
	// the ten nearest titles whatever it keeps (ann.ErrRecall). What they find is in the manifest.
	// Without probes nothing is measured.
	Probes []float32
}

// Write makes a bundle in the folder parent/ID and returns that path and its manifest. The folder appears complete and
// synced to disk or not at all. The id follows from the content, so writing the same release twice is the same bundle:
// the second call leaves the first one's folder as it is.
func Write(ctx context.Context, parent string, r Release) (string, Manifest, error) {
	path, m, err := write(ctx, parent, r)
	if err != nil {
		return "", Manifest{}, fmt.Errorf("write model bundle: %w", err)
	}
	return path, m, nil
}

func write(ctx context.Context, parent string, r Release) (string, Manifest, error) {
	if err := r.complete(); err != nil {
		return "", Manifest{}, err
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", Manifest{}, err
	}
	tmp, err := os.MkdirTemp(parent, ".writing-*")
	if err != nil {
		return "", Manifest{}, err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // gone after the rename; otherwise the first error is what matters
	m := r.Manifest
	if m.Files, err = r.writeFiles(ctx, tmp); err != nil {
		return "", Manifest{}, err
	}
	m.Recall = r.Manifest.Recall
	return finish(tmp, parent, m)
}

// finish names the bundle whose files are in tmp, writes its manifest and puts it in its place.
func finish(tmp, parent string, m Manifest) (string, Manifest, error) {
	var err error
	if m.ID, err = m.makeID(); err != nil {
		return "", Manifest{}, err
	}
	if err := m.validate(); err != nil {
		return "", Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return "", Manifest{}, fmt.Errorf("encode manifest: %w", err)
	}
	if _, err := writeFile(filepath.Join(tmp, ManifestFile), func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
		return "", Manifest{}, err
	}
	return place(tmp, parent, m)
}

// place renames the finished folder to its name, unless that bundle is already there.
func place(tmp, parent string, m Manifest) (string, Manifest, error) {
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", Manifest{}, err
	}
	if err := syncDir(tmp); err != nil {
		return "", Manifest{}, err
	}
	path := filepath.Join(parent, m.ID)
	err := os.Rename(tmp, path)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, errNotEmpty) {
		there, err := ReadManifest(path)
		if err != nil {
			return "", Manifest{}, fmt.Errorf("a damaged bundle stands where this one belongs, remove it: %w", err)
		}
		return path, there, nil
	}
	if err != nil {
		return "", Manifest{}, err
	}
	return path, m, syncDir(parent)
}

// complete checks the parts against each other and fills in what follows from them.
func (r *Release) complete() error {
	n := len(r.TitleIDs)
	if n == 0 || len(r.Factors) == 0 || len(r.Factors)%n != 0 {
		return fmt.Errorf("%d titles and %d factor values do not make a table of vectors", n, len(r.Factors))
	}
	if len(r.Popularity) != n || len(r.Trending) != n {
		return fmt.Errorf("%d titles but %d and %d popularities", n, len(r.Popularity), len(r.Trending))
	}
	seen := make(map[string]struct{}, n)
	for i, id := range r.TitleIDs {
		if err := checkTitle(id, r.Popularity[i], r.Trending[i]); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
		if _, ok := seen[id]; ok {
			return fmt.Errorf("row %d: title %q is given twice", i, id)
		}
		seen[id] = struct{}{}
	}
	for i, v := range r.Factors {
		if v-v != 0 {
			return fmt.Errorf("row %d has the factor %v, want finite numbers", i/(len(r.Factors)/n), v)
		}
	}
	r.Manifest.FormatVersion, r.Manifest.Titles, r.Manifest.Dim = FormatVersion, n, len(r.Factors)/n
	r.Manifest.Described, r.Manifest.Terms = 0, 0
	if r.Content != nil {
		r.Manifest.Described, r.Manifest.Terms = r.Content.Len(), len(r.Content.Table().Terms)
	}
	if r.Manifest.Created.IsZero() {
		r.Manifest.Created = time.Now()
	}
	r.Manifest.Recall = nil
	if err := errors.Join(r.completeRanker(), r.completeTowers()); err != nil {
		return err
	}
	r.Manifest.Created, r.Manifest.AsOf = r.Manifest.Created.UTC(), r.Manifest.AsOf.UTC()
	if r.Gram == nil {
		r.Gram = foldin.Gramian(r.factors(), 1)
	}
	if d := r.Manifest.Dim; len(r.Gram) != d*d {
		return fmt.Errorf("gramian has %d values, want %d x %d", len(r.Gram), d, d)
	}
	return nil
}

func checkTitle(id string, popularity, trending float32) error {
	if len(id) < 1 || len(id) > 64 {
		return fmt.Errorf("title id %q must have 1 to 64 bytes", id)
	}
	for _, v := range []float32{popularity, trending} {
		if !(v >= 0 && v <= math.MaxFloat32) {
			return fmt.Errorf("title %q has popularity %v, want a finite number, 0 or more", id, v)
		}
	}
	return nil
}

func (r *Release) factors() foldin.Factors {
	d := r.Manifest.Dim
	return foldin.Factors{Data: r.Factors, Rows: len(r.TitleIDs), Dim: d, Stride: d}
}

func (r *Release) writeFiles(ctx context.Context, dir string) (map[string]File, error) {
	rows, d := len(r.TitleIDs), r.Manifest.Dim
	parts := []part{
		{TitlesFile, func(w io.Writer) error { return writeTitles(w, *r) }},
		{FactorsFile, func(w io.Writer) error { return writeRows(w, "factors", rows, d, flat32(r.Factors)) }},
		{GramianFile, func(w io.Writer) error { return writeRows(w, "gramian", d, d, flat64(r.Gram)) }},
		{RetrieveFile, func(w io.Writer) error { return r.writeIndex(ctx, w, r.index(ann.InnerProduct)) }},
		{SimilarFile, func(w io.Writer) error { return r.writeIndex(ctx, w, r.index(ann.Cosine)) }},
	}
	if r.Content != nil {
		t := r.Content.Table()
		parts = append(parts, part{ContentFile, func(w io.Writer) error { return writeContent(w, t) }},
			part{TermsFile, func(w io.Writer) error { return writeTerms(w, t) }})
	}
	parts = append(parts, r.rankerParts()...)
	parts = append(parts, r.towerParts(ctx)...)
	files := map[string]File{}
	for _, p := range parts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f, err := writeFile(filepath.Join(dir, p.name), p.write)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		files[p.name] = f
	}
	return files, nil
}

// index is what a search index is made of.
type index struct {
	vectors []float32
	dim     int
	metric  ann.Metric
	probes  []float32
	// name is what its recall is called in the manifest.
	name string
}

func (r *Release) index(metric ann.Metric) index {
	return index{r.Factors, r.Manifest.Dim, metric, r.Probes, metric.String()}
}

func (r *Release) writeIndex(ctx context.Context, w io.Writer, of index) error {
	opts, build := r.Index, r.BuildIndex
	opts.Metric = of.metric
	if build == nil {
		build = ann.Build
	}
	index, err := build(ctx, of.vectors, of.dim, opts)
	if err != nil {
		return err
	}
	if len(of.probes) > 0 {
		var recall float64
		if index, recall, err = ann.Calibrate(ctx, index, of.probes); err != nil {
			return err
		}
		if r.Manifest.Recall == nil {
			r.Manifest.Recall = map[string]float64{}
		}
		r.Manifest.Recall[of.name] = recall
	}
	_, err = index.WriteTo(w)
	return err
}

// writeFile writes one synced file and returns its size and checksum.
func writeFile(path string, write func(io.Writer) error) (_ File, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return File{}, err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	sum := sha256.New()
	count := &counter{}
	buf := bufio.NewWriterSize(io.MultiWriter(f, sum, count), 256<<10)
	if err := write(buf); err != nil {
		return File{}, err
	}
	if err := buf.Flush(); err != nil {
		return File{}, err
	}
	return File{Bytes: count.n, SHA256: hex.EncodeToString(sum.Sum(nil))}, f.Sync()
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
