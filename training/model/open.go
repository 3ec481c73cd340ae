package model

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"marquee/ann"
	"marquee/training/foldin"
)

// ReadManifest reads and checks the manifest of the bundle in dir.
func ReadManifest(dir string) (Manifest, error) {
	data, err := os.ReadFile(filepath.Join(dir, ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Manifest{}, fmt.Errorf("%s holds no model bundle: %w", dir, err)
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("read model bundle: %w", err)
	}
	m, err := DecodeManifest(data)
	if err != nil {
		return Manifest{}, fmt.Errorf("model bundle %s: %w", dir, err)
	}
	return m, nil
}

// Verify compares every file of the bundle in dir with its manifest. Differences wrap ErrCorrupt.
func Verify(dir string) (Manifest, error) {
	m, err := ReadManifest(dir)
	if err != nil {
		return Manifest{}, err
	}
	for name, want := range m.Files {
		if err := checkFile(filepath.Join(dir, name), want); err != nil {
			return Manifest{}, fmt.Errorf("model bundle %s: %w", m.ID, err)
		}
	}
	return m, nil
}

// Open verifies the bundle in dir and maps it into memory. The caller holds one reference and ends it with Release.
// Errors wrap ErrCorrupt or ErrVersion, or are the file system's.
func Open(dir string) (*Bundle, error) {
	m, err := Verify(dir)
	if err != nil {
		return nil, err
	}
	b := &Bundle{manifest: m}
	b.refs.Store(1)
	if err := b.load(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("open model bundle %s: %w", m.ID, err), b.unmap())
	}
	return b, nil
}

func (b *Bundle) load(dir string) error {
	if err := b.loadTitles(dir); err != nil {
		return fmt.Errorf("%s: %w", TitlesFile, err)
	}
	if err := b.loadFactors(dir); err != nil {
		return err
	}
	if err := b.loadContent(dir); err != nil {
		return err
	}
	if err := b.loadRanker(dir); err != nil {
		return err
	}
	var err error
	if b.retrieve, err = b.openIndex(dir, RetrieveFile, b.manifest.Dim, ann.InnerProduct); err != nil {
		return err
	}
	if b.similar, err = b.openIndex(dir, SimilarFile, b.manifest.Dim, ann.Cosine); err != nil {
		return err
	}
	return b.loadTowers(dir)
}

func (b *Bundle) openMapped(dir, name string) ([]byte, error) {
	m, err := mapFile(filepath.Join(dir, name), b.manifest.Files[name].Bytes)
	if err != nil {
		return nil, err
	}
	b.mappings = append(b.mappings, m)
	return m.data, nil
}

// loadTitles copies the ids, which outlive the bundle wherever answers hold them.
func (b *Bundle) loadTitles(dir string) error {
	data, err := b.openMapped(dir, TitlesFile)
	if err != nil {
		return err
	}
	n := b.manifest.Titles
	err = readBatch(data, titlesSchema(), n, func(columns []arrow.Array) error {
		ids, ok := columns[0].(*array.String)
		if !ok {
			return fmt.Errorf("%w: title_id is %v", ErrCorrupt, columns[0].DataType())
		}
		b.ids, b.rows = make([]string, n), make(map[string]uint32, n)
		for i := range n {
			id := strings.Clone(ids.Value(i))
			if _, ok := b.rows[id]; ok {
				return fmt.Errorf("%w: row %d repeats title %q", ErrCorrupt, i, id)
			}
			b.ids[i], b.rows[id] = id, uint32(i)
		}
		var err error
		if b.popularity, err = plain[float32](columns[1]); err != nil {
			return err
		}
		b.trending, err = plain[float32](columns[2])
		return err
	})
	if err != nil {
		return err
	}
	for i, id := range b.ids {
		if err := checkTitle(id, b.popularity[i], b.trending[i]); err != nil {
			return fmt.Errorf("%w: row %d: %w", ErrCorrupt, i, err)
		}
	}
	b.byPopularity, b.byTrending = order(b.popularity), order(b.trending)
	return nil
}

// order returns the rows by descending value, equal ones by row.
func order(values []float32) []uint32 {
	rows := make([]uint32, len(values))
	for i := range rows {
		rows[i] = uint32(i)
	}
	slices.SortFunc(rows, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(values[b], values[a]), cmp.Compare(a, b))
	})
	return rows
}

func (b *Bundle) loadFactors(dir string) error {
	n, d := b.manifest.Titles, b.manifest.Dim
	data, err := b.openMapped(dir, FactorsFile)
	if err != nil {
		return err
	}
	b.factors = foldin.Factors{Rows: n, Dim: d, Stride: d}
	err = readBatch(data, rowsSchema("factors", d, arrow.PrimitiveTypes.Float32), n, func(columns []arrow.Array) (err error) {
		b.factors.Data, err = vectors[float32](columns[0], n, d)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", FactorsFile, err)
	}
	if data, err = b.openMapped(dir, GramianFile); err != nil {
		return err
	}
	var gram []float64
	err = readBatch(data, rowsSchema("gramian", d, arrow.PrimitiveTypes.Float64), d, func(columns []arrow.Array) (err error) {
		gram, err = vectors[float64](columns[0], d, d)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", GramianFile, err)
	}
	b.solver, err = foldin.NewSolver(b.factors, gram, b.manifest.Params)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

func (b *Bundle) openIndex(dir, name string, dim int, metric ann.Metric) (ann.Index, error) {
	f, err := ann.Open(filepath.Join(dir, name))
	var ofSystem *fs.PathError
	if errors.As(err, &ofSystem) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	b.indexes = append(b.indexes, f)
	if f.Len() != b.manifest.Titles || f.Dim() != dim || f.Metric() != metric {
		return nil, fmt.Errorf("%w: %s holds %d vectors of dimension %d by %v, want %d of %d by %v",
			ErrCorrupt, name, f.Len(), f.Dim(), f.Metric(), b.manifest.Titles, dim, metric)
	}
	return f, nil
}
