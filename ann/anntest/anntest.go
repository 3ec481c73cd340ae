// Package anntest is the suite that every index behind ann.Index passes, whoever made its graph.
package anntest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"marquee/ann"
)

const (
	dim = 12
	n   = 600
	k   = 10
)

// Run runs the suite on what build makes. Whatever an index finds must be there, eligible, found once, in order and with
// its score, as many as asked for; exact searches must be exact. How much a walk finds is for ann.CheckRecall.
func Run(t *testing.T, build ann.Builder, opts ann.Options) {
	for _, metric := range []ann.Metric{ann.InnerProduct, ann.Cosine, ann.L2} {
		opts := opts
		opts.Metric = metric
		t.Run(metric.String(), func(t *testing.T) {
			s := newSuite(metric)
			ix, err := build(context.Background(), s.vectors, dim, opts)
			if err != nil {
				t.Fatal(err)
			}
			t.Run("index", func(t *testing.T) { s.index(t, ix) })
			t.Run("errors", func(t *testing.T) { s.errors(t, ix) })
			t.Run("file", func(t *testing.T) { s.file(t, ix) })
			t.Run("live", func(t *testing.T) { s.live(t, build, opts) })
		})
	}
}

// suite is vectors by id, those of a table of n vectors at first, and how they are ranked.
type suite struct {
	metric  ann.Metric
	r       *rand.Rand
	vectors []float32
	byID    map[uint32][]float32
}

func newSuite(metric ann.Metric) *suite {
	s := &suite{metric: metric, r: rand.New(rand.NewPCG(7, uint64(metric))), byID: map[uint32][]float32{}}
	s.vectors = s.draw(n)
	copy(s.vectors[5*dim:6*dim], make([]float32, dim))   // a title nobody has watched
	copy(s.vectors[8*dim:9*dim], s.vectors[7*dim:8*dim]) // and one that is another
	for id := range n {
		s.byID[uint32(id)] = s.vectors[id*dim : (id+1)*dim]
	}
	return s
}

func (s *suite) draw(n int) []float32 {
	v := make([]float32, n*dim)
	for i := range v {
		v[i] = float32(s.r.NormFloat64())
	}
	return v
}

func (s *suite) score(a, b []float32) float64 {
	var dot, aa, bb, dist float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot, aa, bb, dist = dot+x*y, aa+x*x, bb+y*y, dist+(x-y)*(x-y)
	}
	switch {
	case s.metric == ann.InnerProduct:
		return dot
	case s.metric == ann.L2:
		return -dist
	case aa == 0 || bb == 0:
		return 0
	}
	return dot / math.Sqrt(aa*bb)
}

// truth is the scores of the k nearest, the nearest first.
func (s *suite) truth(query []float32, k int, filter ann.Bitmap) []float64 {
	var scores []float64
	for id, v := range s.byID {
		if filter == nil || filter.Has(id) {
			scores = append(scores, s.score(query, v))
		}
	}
	slices.SortFunc(scores, func(a, b float64) int { return cmp.Compare(b, a) })
	return scores[:min(k, len(scores))]
}

// searcher is what an ann.Index and an ann.Live have in common.
type searcher interface {
	Search(query []float32, k int, opts ann.SearchOptions, dst []ann.Neighbor) ([]ann.Neighbor, ann.Plan, error)
	SearchBatch(ctx context.Context, queries []float32, k int, opts ann.SearchOptions, dst [][]ann.Neighbor) ([][]ann.Neighbor, error)
}

// check searches alone and in a batch.
func (s *suite) check(t *testing.T, ix searcher, opts ann.SearchOptions) {
	t.Helper()
	queries := s.draw(6)
	batch, err := ix.SearchBatch(context.Background(), queries, k, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range batch {
		q := queries[i*dim : (i+1)*dim]
		one, plan, err := ix.Search(q, k, opts, nil)
		if err != nil {
			t.Fatal(err)
		}
		exact := plan.Strategy == ann.Exact && opts.Float32
		for _, found := range [][]ann.Neighbor{one, batch[i]} {
			if err := s.wrong(q, found, opts.Filter, exact); err != nil {
				t.Fatalf("%v: %v", plan, err)
			}
		}
	}
}

// wrong says what is wrong with what was found.
func (s *suite) wrong(query []float32, found []ann.Neighbor, filter ann.Bitmap, exact bool) error {
	want := s.truth(query, k, filter)
	if len(found) != len(want) {
		return fmt.Errorf("%d found, want %d", len(found), len(want))
	}
	seen := map[uint32]bool{}
	for i, f := range found {
		v, ok := s.byID[f.ID]
		switch {
		case !ok || filter != nil && !filter.Has(f.ID):
			return fmt.Errorf("id %d is deleted or filtered", f.ID)
		case seen[f.ID]:
			return fmt.Errorf("id %d is there twice", f.ID)
		case i > 0 && (f.Score > found[i-1].Score || f.Score == found[i-1].Score && f.ID < found[i-1].ID):
			return fmt.Errorf("%v after %v", f, found[i-1])
		case math.Abs(s.score(query, v)-float64(f.Score)) > 1e-4:
			return fmt.Errorf("id %d scores %v, want %v", f.ID, f.Score, s.score(query, v))
		case exact && math.Abs(want[i]-float64(f.Score)) > 1e-4:
			return fmt.Errorf("an exact search has %v in place %d, want %v", f.Score, i, want[i])
		}
		seen[f.ID] = true
	}
	return nil
}

func (s *suite) filter(share float64) ann.Bitmap {
	f := ann.NewBitmap(n)
	for id := range uint32(n) {
		if s.r.Float64() < share {
			f.Set(id)
		}
	}
	return f
}

func (s *suite) index(t *testing.T, ix ann.Index) {
	if ix.Len() != n || ix.Dim() != dim || ix.Metric() != s.metric || ix.Info().Len != n || ix.Info().Dim != dim {
		t.Fatalf("%d vectors of dimension %d by %v: %+v", ix.Len(), ix.Dim(), ix.Metric(), ix.Info())
	}
	for _, share := range []float64{0, .01, .3, .95, 1} {
		f := s.filter(share)
		for _, opts := range []ann.SearchOptions{{}, {EF: 20}, {Force: ann.Exact}, {Force: ann.Exact, Float32: true}} {
			s.check(t, ix, opts)
			opts.Filter = f
			s.check(t, ix, opts)
		}
	}
	v := make([]float32, dim)
	for id := range uint32(n) {
		if err := ix.Vector(id, v); err != nil || s.metric != ann.Cosine && !slices.Equal(v, s.byID[id]) {
			t.Fatalf("vector %d is %v, %v; want %v", id, v, err, s.byID[id])
		}
	}
}

func (s *suite) errors(t *testing.T, ix ann.Index) {
	q := s.draw(1)
	for name, f := range map[string]func() error{
		"short query": func() error { _, _, err := ix.Search(q[1:], k, ann.SearchOptions{}, nil); return err },
		"NaN": func() error {
			_, _, err := ix.Search(append([]float32{float32(math.NaN())}, q[1:]...), k, ann.SearchOptions{}, nil)
			return err
		},
		"no k": func() error { _, _, err := ix.Search(q, 0, ann.SearchOptions{}, nil); return err },
		"small filter": func() error {
			_, _, err := ix.Search(q, k, ann.SearchOptions{Filter: ann.NewBitmap(1)}, nil)
			return err
		},
		"plan": func() error { _, err := ix.Plan(0, ann.SearchOptions{}); return err },
		"batch": func() error {
			_, err := ix.SearchBatch(context.Background(), q[1:], k, ann.SearchOptions{}, nil)
			return err
		},
		"id": func() error { return ix.Vector(n, q) },
		"ended": func() error {
			ctx, stop := context.WithCancel(context.Background())
			stop()
			_, err := ix.SearchBatch(ctx, q, k, ann.SearchOptions{}, nil)
			return err
		},
	} {
		if f() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func (s *suite) file(t *testing.T, ix ann.Index) {
	var b bytes.Buffer
	if _, err := ix.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	again, err := ann.Load(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	s.check(t, again, ann.SearchOptions{Force: ann.Exact, Float32: true})
}

// live changes an index again and again.
func (s *suite) live(t *testing.T, build ann.Builder, opts ann.Options) {
	l, err := ann.NewLive(context.Background(), s.vectors, dim, opts, build)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 6 {
		for range 40 {
			c := ann.Change{ID: s.r.Uint32N(n + 50)}
			delete(s.byID, c.ID)
			if s.r.IntN(2) == 0 {
				c.Vector = s.draw(1)
				s.byID[c.ID] = c.Vector
			}
			if err := l.Apply(c); err != nil {
				t.Fatal(err)
			}
		}
		if round%3 == 2 {
			if err := l.Compact(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		for _, opts := range []ann.SearchOptions{{}, {Filter: s.filter(.3)}, {Force: ann.Exact, Float32: true}} {
			s.check(t, l, opts)
		}
	}
}
