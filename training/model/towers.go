package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"

	"github.com/apache/arrow-go/v18/arrow"

	"marquee/ann"
	"marquee/internal/native"
	"marquee/internal/ort"
	"marquee/internal/vec"
	"marquee/training/model/content"
)

// Towers are the two towers of a release.
type Towers struct {
	// User and Title are ONNX models as Spec describes them.
	User, Title []byte
	// Vectors are the titles' by the title tower, titles x Dim. A title is worth the product of its vector and the viewer's.
	Vectors []float32
	Dim     int
	// MaxHistory is how many titles of a history the user's tower is to be given: of more, the latest.
	MaxHistory int
	// RecencyBuckets is the number of ages that the user's tower tells apart, where it is told of them.
	RecencyBuckets int
	// Probes are vectors of viewers, Dim values each, which the index is searched with as with Release.Probes.
	Probes []float32
	// Report says how they were trained and how well they do, for people.
	Report json.RawMessage
}

// TowersInfo is what a manifest says of a release's towers.
type TowersInfo struct {
	Dim            int             `json:"dim"`
	MaxHistory     int             `json:"max_history"`
	RecencyBuckets int             `json:"recency_buckets,omitempty"`
	Report         json.RawMessage `json:"report,omitempty"`
}

// Bounds of TowersInfo.
const (
	maxTowerDim     = 4096
	maxTowerHistory = 1 << 16
	maxRecency      = 64
)

func (i *TowersInfo) validate() error {
	if i.Dim < 1 || i.Dim > maxTowerDim || i.MaxHistory < 1 || i.MaxHistory > maxTowerHistory || i.RecencyBuckets < 0 || i.RecencyBuckets > maxRecency {
		return fmt.Errorf("towers: dim must be between 1 and %d, max_history 1 and %d, recency_buckets 0 and %d; are %d, %d, %d",
			maxTowerDim, maxTowerHistory, maxRecency, i.Dim, i.MaxHistory, i.RecencyBuckets)
	}
	return nil
}

// Watch is a title of a history as the user's tower reads it.
type Watch struct {
	// Row is the title's number in the release, Strength that of the watch, above 0.
	Row      uint32
	Strength float32
	// Days is how long ago it was; below 0 where unknown.
	Days float32
}

// TowerScratch is the working memory of one goroutine's calls of the towers.
type TowerScratch struct {
	titles, recency []int64
	numbers         []float32
	in              []ort.Tensor
	shape           [2]int64
}

// towers are those of an open bundle.
type towers struct {
	user, title *ort.Session
	vectors     []float32
	index       ann.Index
	// missing is why there are no sessions.
	missing error
}

// HasTowers reports whether the release has towers, and why they cannot be asked: nil, or an error that wraps ErrNoRuntime.
func (b *Bundle) HasTowers() (bool, error) {
	if b.towers == nil {
		return false, nil
	}
	return true, b.towers.missing
}

// TowerDim is the length of the towers' vectors; 0 where the release has none.
func (b *Bundle) TowerDim() int {
	if b.manifest.Towers == nil {
		return 0
	}
	return b.manifest.Towers.Dim
}

// TowerVector is a title's by the title tower. The row must be below Len, and the release must have towers.
func (b *Bundle) TowerVector(row uint32) []float32 {
	d := b.manifest.Towers.Dim
	return b.towers.vectors[int(row)*d : (int(row)+1)*d : (int(row)+1)*d]
}

// TowerIndex is the index of the titles' vectors by inner product, to be asked with a viewer's by UserTower. Ids are rows.
func (b *Bundle) TowerIndex() ann.Index { return b.towers.index }

// UserTower writes to dst, histories x TowerDim, the vectors of viewers, all in one run of the model. Of a history of more than
// TowersInfo.MaxHistory titles the first that many are read: it is to have the latest first. A history without titles has the zero vector. It may be called only where
// HasTowers says so.
func (b *Bundle) UserTower(ctx context.Context, dst []float32, s *TowerScratch, histories ...[]Watch) error {
	t, d := b.towers, b.TowerDim()
	switch {
	case t.missing != nil:
		return t.missing
	case len(dst) != len(histories)*d:
		return fmt.Errorf("%w: room of %d numbers for %d viewers' vectors of %d", ort.ErrShape, len(dst), len(histories), d)
	case len(histories) == 0:
		return nil
	}
	if err := b.readHistories(s, histories); err != nil {
		return err
	}
	if err := t.user.Run(ctx, s.in, []ort.Tensor{{Shape: []int64{int64(len(histories)), int64(d)}, Floats: dst}}); err != nil {
		return fmt.Errorf("ask the user's tower: %w", err)
	}
	for i, h := range histories {
		if len(h) == 0 {
			clear(dst[i*d : (i+1)*d])
		}
	}
	return nil
}

// readHistories lays the histories out as the model's inputs.
func (b *Bundle) readHistories(s *TowerScratch, histories [][]Watch) error {
	longest, most := 1, b.manifest.Towers.MaxHistory
	for _, h := range histories {
		longest = max(longest, min(len(h), most))
	}
	n := len(histories) * longest
	s.titles, s.recency, s.numbers = sized(s.titles, n), sized(s.recency, n), sized(s.numbers, n)
	for i, h := range histories {
		for j := range longest {
			at := i*longest + j
			if j >= len(h) {
				s.titles[at], s.recency[at], s.numbers[at] = -1, -1, 0
				continue
			}
			if int64(h[j].Row) >= int64(b.manifest.Titles) || !(h[j].Strength > 0) {
				return fmt.Errorf("%w: viewer %d watched title %d of %d with strength %v", ort.ErrShape, i, h[j].Row, b.manifest.Titles, h[j].Strength)
			}
			s.titles[at], s.numbers[at] = int64(h[j].Row), h[j].Strength
			s.recency[at] = b.recency(h[j].Days)
		}
	}
	s.shape = [2]int64{int64(len(histories)), int64(longest)}
	s.in = s.in[:0]
	for _, p := range b.towers.user.Inputs() {
		x := ort.Tensor{Shape: s.shape[:]}
		switch p.Name {
		case "history":
			x.Ints = s.titles
		case "recency":
			x.Ints = s.recency
		default:
			x.Floats = s.numbers
		}
		s.in = append(s.in, x)
	}
	return nil
}

// recency is the age as the user's tower counts it: 0 below one day, k below 2^k days, the last of unknown.
func (b *Bundle) recency(days float32) int64 {
	last := max(b.manifest.Towers.RecencyBuckets, 1) - 1
	switch {
	case days < 0:
		return int64(last)
	case !(days >= 1):
		return 0
	}
	return int64(min(bits.Len32(uint32(min(days, 1<<30))), last))
}

// NewTitles writes to dst, titles x TowerDim, the vectors by the title tower of titles that the release has not, from what the catalogue says
// of them as Content encodes it. Of a title of which nothing is known, and by a tower that reads nothing but numbers, it is the zero vector.
func (b *Bundle) NewTitles(ctx context.Context, dst []float32, s *TowerScratch, described []content.Vector) error {
	numbers := make([]int64, len(described))
	for i := range numbers {
		numbers[i] = -1
	}
	return b.titleVectors(ctx, dst, s, numbers, described)
}

// titleBatch is how many titles the title tower is asked of at a time.
const titleBatch = 1024

// titleVectors asks the title tower for titles by number and content.
func (b *Bundle) titleVectors(ctx context.Context, dst []float32, s *TowerScratch, numbers []int64, described []content.Vector) error {
	t, d := b.towers, b.TowerDim()
	if t.missing != nil {
		return t.missing
	}
	if len(dst) != len(described)*d {
		return fmt.Errorf("%w: room of %d numbers for %d titles' vectors of %d", ort.ErrShape, len(dst), len(described), d)
	}
	for lo := 0; lo < len(described); lo += titleBatch {
		hi := min(lo+titleBatch, len(described))
		in := titleInputs(t.title, s, numbers[lo:hi], described[lo:hi])
		if err := t.title.Run(ctx, in, []ort.Tensor{{Shape: []int64{int64(hi - lo), int64(d)}, Floats: dst[lo*d : hi*d]}}); err != nil {
			return fmt.Errorf("ask the title tower: %w", err)
		}
	}
	return nil
}

// titleInputs lays titles out as the inputs of a title tower.
func titleInputs(title *ort.Session, s *TowerScratch, numbers []int64, described []content.Vector) []ort.Tensor {
	n, most := len(numbers), 1
	for _, v := range described {
		most = max(most, len(v.Terms))
	}
	s.titles, s.numbers = sized(s.titles, n*most), sized(s.numbers, n*most)
	for i, v := range described {
		for j := range most {
			at := i*most + j
			s.titles[at], s.numbers[at] = -1, 0
			if j < len(v.Terms) {
				s.titles[at], s.numbers[at] = int64(v.Terms[j]), v.Weights[j]
			}
		}
	}
	var in []ort.Tensor
	for _, p := range title.Inputs() {
		switch p.Name {
		case "title":
			in = append(in, ort.Tensor{Shape: []int64{int64(n)}, Ints: numbers})
		case "terms":
			in = append(in, ort.Tensor{Shape: []int64{int64(n), int64(most)}, Ints: s.titles})
		default:
			in = append(in, ort.Tensor{Shape: []int64{int64(n), int64(most)}, Floats: s.numbers})
		}
	}
	return in
}

func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// completeTowers checks the towers against the release's titles.
func (r *Release) completeTowers() error {
	r.Manifest.Towers = nil
	t := r.Towers
	if t == nil {
		return nil
	}
	info := &TowersInfo{Dim: t.Dim, MaxHistory: t.MaxHistory, RecencyBuckets: t.RecencyBuckets, Report: t.Report}
	if err := info.validate(); err != nil {
		return err
	}
	if len(t.User) == 0 || len(t.Title) == 0 || len(t.Vectors) != len(r.TitleIDs)*t.Dim {
		return fmt.Errorf("towers of %d and %d bytes with %d values do not fit %d titles of dimension %d", len(t.User), len(t.Title), len(t.Vectors), len(r.TitleIDs), t.Dim)
	}
	for i, v := range t.Vectors {
		if v-v != 0 {
			return fmt.Errorf("title %d has the value %v by the title tower, want finite numbers", i/t.Dim, v)
		}
	}
	r.Manifest.Towers = info
	return nil
}

func (r *Release) towerParts(ctx context.Context) []part {
	t := r.Towers
	if t == nil {
		return nil
	}
	bytes := func(b []byte) func(io.Writer) error {
		return func(w io.Writer) error { _, err := w.Write(b); return err }
	}
	return []part{
		{UserTowerFile, bytes(t.User)}, {TitleTowerFile, bytes(t.Title)},
		{TitleVectorsFile, func(w io.Writer) error { return writeRows(w, "vectors", len(r.TitleIDs), t.Dim, flat32(t.Vectors)) }},
		{TowersFile, func(w io.Writer) error {
			return r.writeIndex(ctx, w, index{t.Vectors, t.Dim, ann.InnerProduct, t.Probes, "towers"})
		}},
	}
}

// loadTowers opens the towers and holds them against the manifest.
func (b *Bundle) loadTowers(dir string) error {
	info := b.manifest.Towers
	if info == nil {
		return nil
	}
	t, n := &towers{}, b.manifest.Titles
	b.towers = t
	data, err := b.openMapped(dir, TitleVectorsFile)
	if err != nil {
		return err
	}
	err = readBatch(data, rowsSchema("vectors", info.Dim, arrow.PrimitiveTypes.Float32), n, func(columns []arrow.Array) (err error) {
		t.vectors, err = vectors[float32](columns[0], n, info.Dim)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", TitleVectorsFile, err)
	}
	if t.index, err = b.openIndex(dir, TowersFile, info.Dim, ann.InnerProduct); err != nil {
		return err
	}
	if err := ort.Load(); errors.Is(err, native.ErrMissing) {
		t.missing = fmt.Errorf("%w: %w", ErrNoRuntime, err)
		return nil
	} else if err != nil {
		return err
	}
	for _, file := range []struct {
		name string
		to   **ort.Session
		spec Spec
	}{{UserTowerFile, &t.user, UserTowerSpec(info.Dim)}, {TitleTowerFile, &t.title, TitleTowerSpec(info.Dim)}} {
		model, err := os.ReadFile(filepath.Join(dir, file.name))
		if err != nil {
			return err
		}
		if *file.to, err = file.spec.Open(model); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrCorrupt, file.name, err)
		}
	}
	return b.checkTowers()
}

// checkTowers holds the title tower against the vectors beside it, by the first title and one that is new: that the three are of one
// training, and that the terms are those of the release.
func (b *Bundle) checkTowers() error {
	t, d := b.towers, b.TowerDim()
	last := content.Vector{Terms: []uint32{uint32(max(b.manifest.Terms, 1) - 1)}, Weights: []float32{1}}
	first := b.describes(0)
	out := make([]float32, 2*d)
	if err := b.titleVectors(context.Background(), out, &TowerScratch{}, []int64{0, -1}, []content.Vector{first, last}); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, TitleTowerFile, err)
	}
	want := t.vectors[:d]
	for i, v := range out[:d] {
		if diff := v - want[i]; !(diff < towerTolerance && diff > -towerTolerance) {
			return fmt.Errorf("%w: %s makes %v of the first title's number %d, %s has %v", ErrCorrupt, TitleTowerFile, v, i, TitleVectorsFile, want[i])
		}
	}
	user := make([]float32, d)
	if err := b.UserTower(context.Background(), user, &TowerScratch{}, []Watch{{Row: uint32(b.manifest.Titles - 1), Strength: 1, Days: -1}}); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, UserTowerFile, err)
	}
	if norm := vec.Dot(user, user); norm-norm != 0 {
		return fmt.Errorf("%w: %s makes a vector of length %v of the last title", ErrCorrupt, UserTowerFile, norm)
	}
	return nil
}

// describes is what the release's content says of a title, which may be nothing.
func (b *Bundle) describes(row uint32) content.Vector {
	if b.content != nil {
		if at, ok := b.content.Row(b.ids[row]); ok {
			return b.content.Vector(at)
		}
	}
	return content.Vector{}
}

// everyTitle are the release's titles as a title tower is asked for them.
func (b *Bundle) everyTitle() (numbers []int64, described []content.Vector) {
	for row := range uint32(b.Len()) {
		numbers, described = append(numbers, int64(row)), append(described, b.describes(row))
	}
	return numbers, described
}

// towerTolerance is how far the title tower may be from the vectors that the release has of it: what kinds of processors round
// differently.
const towerTolerance = 1e-4

func (t *towers) close() error {
	if t == nil {
		return nil
	}
	var errs []error
	for _, s := range []*ort.Session{t.user, t.title} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}
