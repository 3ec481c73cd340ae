package model

import (
	"errors"
	"fmt"
	"sync/atomic"

	"marquee/ann"
	"marquee/internal/vec"
	"marquee/training/foldin"
	"marquee/training/model/content"
)

// Bundle is an open release. It never changes and may be used from any number of goroutines while a reference is held: its
// tables lie in mapped files, which the last Release unmaps. Slices it returns end with the reference; title ids do not.
type Bundle struct {
	manifest     Manifest
	ids          []string
	rows         map[string]uint32
	popularity   []float32
	trending     []float32
	byPopularity []uint32
	byTrending   []uint32
	factors      foldin.Factors
	solver       *foldin.Solver
	retrieve     ann.Index
	similar      ann.Index
	content      *content.Model
	ranker       *ranked
	towers       *towers

	mappings []*mapping
	indexes  []*ann.File
	refs     atomic.Int64
}

// Interaction is one title of a profile's history: its row and the strength of the watch, below 0 for one begun and
// abandoned.
type Interaction struct {
	Row      uint32
	Strength float32
}

// Scratch is the working memory of one goroutine's FoldIn and Explain. It fits the bundle that made it, and any other of
// the same dimension.
type Scratch struct {
	dim      int
	solve    *foldin.Scratch
	rows     []uint32
	strength []float32
}

// Manifest describes the bundle. Its maps must not be changed.
func (b *Bundle) Manifest() Manifest { return b.manifest }

// ID is the bundle's name.
func (b *Bundle) ID() string { return b.manifest.ID }

// Len is the number of titles.
func (b *Bundle) Len() int { return b.manifest.Titles }

// Dim is the length of the titles' and profiles' vectors.
func (b *Bundle) Dim() int { return b.manifest.Dim }

// TitleID returns a row's title id, which stays valid after the bundle is released. The row must be below Len.
func (b *Bundle) TitleID(row uint32) string { return b.ids[row] }

// Row returns a title's row, and whether the bundle knows the title.
func (b *Bundle) Row(titleID string) (uint32, bool) {
	row, ok := b.rows[titleID]
	return row, ok
}

// Factors returns the vector of a row below Len.
func (b *Bundle) Factors(row uint32) []float32 { return b.factors.Row(int(row)) }

// Popularity returns how much a title was watched, all time and decayed to the bundle's as_of.
func (b *Bundle) Popularity(row uint32) (allTime, trending float32) {
	return b.popularity[row], b.trending[row]
}

// MostPopular returns all rows, the most watched of all time first.
func (b *Bundle) MostPopular() []uint32 { return b.byPopularity }

// MostTrending returns all rows, by decayed watches.
func (b *Bundle) MostTrending() []uint32 { return b.byTrending }

// Retrieve is the index by inner product, to be asked with a profile's vector. Ids are rows.
func (b *Bundle) Retrieve() ann.Index { return b.retrieve }

// Similar is the index by cosine, to be asked with a title's vector. Ids are rows.
func (b *Bundle) Similar() ann.Index { return b.similar }

// Content is what the catalogue said of its titles when the release was made, those that nobody had watched included; nil where the
// release was made without a catalogue. Its vectors end with the reference.
func (b *Bundle) Content() *content.Model { return b.content }

// NewScratch returns working memory for FoldIn and Explain.
func (b *Bundle) NewScratch() *Scratch {
	return &Scratch{dim: b.Dim(), solve: b.solver.NewScratch()}
}

func (s *Scratch) set(history []Interaction) {
	s.rows, s.strength = s.rows[:0], s.strength[:0]
	for _, h := range history {
		s.rows, s.strength = append(s.rows, h.Row), append(s.strength, h.Strength)
	}
}

// FoldIn writes to dst (length Dim) the vector of a profile with this history, in which each title should appear once. A
// history without a positive strength gives the zero vector. Errors wrap foldin.ErrInput (a row not in the bundle, a
// strength that is not finite) or foldin.ErrSingular.
func (b *Bundle) FoldIn(dst []float32, history []Interaction, s *Scratch) error {
	if s.dim != b.Dim() {
		return fmt.Errorf("%w: scratch of dimension %d for a bundle of %d", foldin.ErrInput, s.dim, b.Dim())
	}
	s.set(history)
	if err := b.solver.Solve(dst, s.rows, s.strength, s.solve); err != nil {
		return fmt.Errorf("fold in profile: %w", err)
	}
	return nil
}

// Explain writes to dst[i] what history[i] contributes to the score of a title for the profile just folded in with s
// from that history. The contributions sum to the score.
func (b *Bundle) Explain(dst []float32, title uint32, history []Interaction, s *Scratch) error {
	if int(title) >= b.Len() {
		return fmt.Errorf("%w: explain row %d of %d", foldin.ErrInput, title, b.Len())
	}
	s.set(history)
	if err := b.solver.Explain(dst, b.Factors(title), s.rows, s.strength, s.solve); err != nil {
		return fmt.Errorf("explain title: %w", err)
	}
	return nil
}

// Removal writes to dst (length Dim) what the scores of a profile, just folded in with s, would miss without one title of its history:
// the product of dst with a title's vector. See foldin.Solver.Removal.
func (b *Bundle) Removal(dst, profile []float32, h Interaction, s *Scratch) error {
	if err := b.solver.Removal(dst, profile, h.Row, h.Strength, s.solve); err != nil {
		return fmt.Errorf("explain by a title: %w", err)
	}
	return nil
}

// ScoreAll writes to dst (length Len) every title's score for a profile vector of length Dim.
func (b *Bundle) ScoreAll(dst, profile []float32) { vec.Gemv(dst, b.factors.Data, profile) }

// Score returns one title's score for a profile vector.
func (b *Bundle) Score(row uint32, profile []float32) float32 {
	return vec.Dot(b.Factors(row), profile)
}

// Acquire takes another reference and reports whether it could: it cannot once the last one has been released.
func (b *Bundle) Acquire() bool {
	for {
		n := b.refs.Load()
		if n <= 0 {
			return false
		}
		if b.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release ends one reference; with the last one the files are unmapped. To release more often than was acquired is a
// mistake that panics.
func (b *Bundle) Release() error {
	switch n := b.refs.Add(-1); {
	case n > 0:
		return nil
	case n == 0:
		return b.unmap()
	default:
		panic("model: bundle released more often than acquired")
	}
}

func (b *Bundle) unmap() error {
	errs := []error{b.ranker.close(), b.towers.close()}
	for _, f := range b.indexes {
		errs = append(errs, f.Close())
	}
	for _, m := range b.mappings {
		errs = append(errs, m.close())
	}
	b.indexes, b.mappings = nil, nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close model bundle %s: %w", b.manifest.ID, err)
	}
	return nil
}
