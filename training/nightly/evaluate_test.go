package nightly

import (
	"errors"
	"math"
	"testing"

	"marquee/eval/metric/judge"
	"marquee/internal/sparse"
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
func table(rows ...[]float32) judge.Scorer {
	return judge.Func(func(user uint32, scores []float32) error { copy(scores, rows[user]); return nil })
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
	h := &judge.Holdout{
		Train: matrixOf(t, 15, []uint32{0, 1}, []uint32{5}, nil),
		Users: []uint32{0, 2}, Relevant: [][]uint32{{2, 4, 14}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
	}
	r, err := Evaluate(t.Context(), h, table(falling, falling, falling))
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
	h := &judge.Holdout{Train: matrixOf(t, 40, []uint32{39}), Users: []uint32{0}, Relevant: [][]uint32{{0, 1, 2}}}
	r, err := Evaluate(t.Context(), h, judge.Constant(make([]float32, 40)))
	if err != nil || r.Metrics["ndcg@10"] != 0 || r.Metrics["hit_rate@10"] != 0 || r.Metrics["recall@10"] != 0 {
		t.Errorf("a constant scorer: %+v, %v", r, err)
	}
	near(t, "coverage", r.Metrics["coverage@10"], 10.0/40)
	// Where all that is left is relevant, the list is relevant too, however it came about.
	h = &judge.Holdout{Train: matrixOf(t, 3, []uint32{2}), Users: []uint32{0}, Relevant: [][]uint32{{0, 1}}}
	if r, err = Evaluate(t.Context(), h, judge.Constant{1, 1, 1}); err != nil || r.Metrics["ndcg@10"] != 1 {
		t.Errorf("nothing to be wrong about: %+v, %v", r, err)
	}
}

func TestEvaluateRefuses(t *testing.T) {
	train := matrixOf(t, 6, []uint32{1, 3, 5}, []uint32{0})
	leaks := &judge.Holdout{Train: train, Users: []uint32{0, 1}, Relevant: [][]uint32{{2, 5}, {1}}}
	if r, err := Evaluate(t.Context(), leaks, judge.Constant(make([]float32, 6))); !errors.Is(err, judge.ErrLeak) {
		t.Errorf("%+v, %v", r, err)
	}
}
