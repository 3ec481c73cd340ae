package nightly

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"marquee/internal/sparse"
	"marquee/training/als"
)

// matrixOf makes a users x titles matrix of the titles each user has seen.
func matrixOf(t testing.TB, titles int, rows ...[]uint32) *sparse.CSR {
	t.Helper()
	m := &sparse.CSR{Rows: len(rows), Cols: titles, Indptr: []int64{0}}
	for _, row := range rows {
		m.Indices = append(m.Indices, row...)
		for range row {
			m.Values = append(m.Values, 1)
		}
		m.Indptr = append(m.Indptr, int64(len(m.Indices)))
	}
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	return m
}

// table scores by a table, a row a user.
type table [][]float32

func (s table) Score(user uint32, scores []float32) error {
	copy(scores, s[user])
	return nil
}

func near(t *testing.T, name string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-12 {
		t.Errorf("%s = %.15f, want %.15f", name, got, want)
	}
}

// TestEvaluateByHand judges two of three users over 15 titles.
//
// User 0 has seen 0 and 1, which score highest and are masked. Of the rest, in order of score, 2 3 4 ... 11 make the list;
// relevant are 2, at position 0, and 4, at position 2, and 14, not in it: DCG = 1 + 1/log2(4) = 1.5, IDCG = 1 + 1/log2(3) + 1/2.
//
// User 2 has seen nothing; eleven titles are relevant, the first ten of which make the list: IDCG is over min(10, 11), so
// NDCG is 1, recall 10/11.
func TestEvaluateByHand(t *testing.T) {
	falling := make([]float32, 15)
	for i := range falling {
		falling[i] = float32(100 - i)
	}
	h := &Holdout{
		Train: matrixOf(t, 15, []uint32{0, 1}, []uint32{5}, nil),
		Users: []uint32{0, 2}, Relevant: [][]uint32{{2, 4, 14}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
	}
	r, err := Evaluate(t.Context(), h, table{falling, falling, falling})
	if err != nil {
		t.Fatal(err)
	}
	first := 1.5 / (1 + 1/math.Log2(3) + 0.5)
	near(t, "ndcg of user 0", r.NDCG[0], first)
	near(t, "ndcg of user 2", r.NDCG[1], 1)
	near(t, "ndcg@10", r.Metrics["ndcg@10"], (first+1)/2)
	near(t, "recall@10", r.Metrics["recall@10"], (2.0/3+10.0/11)/2)
	near(t, "hit_rate@10", r.Metrics["hit_rate@10"], 1)
	near(t, "mrr@10", r.Metrics["mrr@10"], 1)
	near(t, "coverage@10", r.Metrics["coverage@10"], 12.0/15) // 0 to 9, and 2 to 11
}

func TestEvaluateGivesNoCreditForTies(t *testing.T) {
	h := &Holdout{Train: matrixOf(t, 40, []uint32{39}), Users: []uint32{0}, Relevant: [][]uint32{{0, 1, 2}}}
	r, err := Evaluate(t.Context(), h, constant(make([]float32, 40)))
	if err != nil || r.Metrics["ndcg@10"] != 0 || r.Metrics["hit_rate@10"] != 0 || r.Metrics["recall@10"] != 0 {
		t.Errorf("a constant scorer: %+v, %v", r, err)
	}
	near(t, "coverage", r.Metrics["coverage@10"], 10.0/40)
	// Where all that is left is relevant, the list is relevant too, however it came about.
	h = &Holdout{Train: matrixOf(t, 3, []uint32{2}), Users: []uint32{0}, Relevant: [][]uint32{{0, 1}}}
	if r, err = Evaluate(t.Context(), h, constant{1, 1, 1}); err != nil || r.Metrics["ndcg@10"] != 1 {
		t.Errorf("nothing to be wrong about: %+v, %v", r, err)
	}
}

type failing struct{}

func (failing) Score(uint32, []float32) error { return errors.New("no power") }

func TestEvaluateRefuses(t *testing.T) {
	train := matrixOf(t, 6, []uint32{1, 3, 5}, []uint32{0})
	good := Holdout{Train: train, Users: []uint32{0, 1}, Relevant: [][]uint32{{2}, {1, 4}}}
	split := func(change func(*Holdout)) *Holdout {
		h := good
		change(&h)
		return &h
	}
	nan := make([]float32, 6)
	nan[4] = float32(math.NaN())
	for _, c := range []struct {
		name   string
		h      *Holdout
		scorer Scorer
		want   string
	}{
		{"leak", split(func(h *Holdout) { h.Relevant = [][]uint32{{2, 5}, {1}} }), nil, "leaks: user 0 has title 5"},
		{"nobody", split(func(h *Holdout) { h.Users, h.Relevant = nil, nil }), nil, "nobody to judge by"},
		{"no train", split(func(h *Holdout) { h.Train = nil }), nil, "nobody to judge by"},
		{"nothing relevant", split(func(h *Holdout) { h.Relevant = [][]uint32{{2}, {}} }), nil, "user 1 by no title"},
		{"unequal", split(func(h *Holdout) { h.Relevant = [][]uint32{{2}} }), nil, "2 users and 1 lists"},
		{"unknown user", split(func(h *Holdout) { h.Users = []uint32{0, 2} }), nil, "user 2 of 2"},
		{"user twice", split(func(h *Holdout) { h.Users = []uint32{1, 1} }), nil, "user 1 after user 1"},
		{"unknown title", split(func(h *Holdout) { h.Relevant = [][]uint32{{6}, {1}} }), nil, "title 6 of 6"},
		{"unsorted", split(func(h *Holdout) { h.Relevant = [][]uint32{{2}, {4, 1}} }), nil, "have 1 after 4"},
		{"title twice", split(func(h *Holdout) { h.Relevant = [][]uint32{{2}, {4, 4}} }), nil, "have 4 after 4"},
		{"NaN", &good, constant(nan), "title 4 for user"},
		{"failing", &good, failing{}, "no power"},
		{"short", &good, constant{1, 2}, "2 popularities for 6 titles"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.scorer == nil {
				c.scorer = constant(make([]float32, 6))
			}
			if r, err := Evaluate(t.Context(), c.h, c.scorer); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v; want an error of %q", r, err, c.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Evaluate(ctx, &good, constant(make([]float32, 6))); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFactorsScoreByTheProductOfVectors(t *testing.T) {
	f := factors{&als.Model{Dim: 2, Users: []float32{9, 9, 1, 2}, Items: []float32{1, 0, 0, 1, 3, -1}}}
	got := make([]float32, 3)
	if err := f.Score(1, got); err != nil || got[0] != 1 || got[1] != 2 || got[2] != 1 {
		t.Errorf("scores %v (%v), want 1 2 1", got, err)
	}
}

// BenchmarkEvaluate judges 6000 users of a factor model by 3700 titles, of which each has seen 80.
func BenchmarkEvaluate(b *testing.B) {
	const users, titles, dim = 6000, 3700, 64
	rng := rand.New(rand.NewPCG(1, 1))
	rows := make([][]uint32, users)
	h := &Holdout{}
	for u := range rows {
		at, relevant := uint32(0), []uint32{}
		for len(rows[u]) < 80 {
			at += 1 + rng.Uint32N(40)
			rows[u] = append(rows[u], at%titles)
			if at >= titles-80 {
				break
			}
			if rng.IntN(4) == 0 {
				at++
				relevant = append(relevant, at)
			}
		}
		if len(relevant) > 0 {
			h.Users, h.Relevant = append(h.Users, uint32(u)), append(h.Relevant, relevant)
		}
	}
	h.Train = matrixOf(b, titles, rows...)
	m := &als.Model{Dim: dim, Users: make([]float32, users*dim), Items: make([]float32, titles*dim)}
	for _, v := range [][]float32{m.Users, m.Items} {
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Evaluate(b.Context(), h, factors{m}); err != nil {
			b.Fatal(err)
		}
	}
}
