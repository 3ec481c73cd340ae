package knn

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"marquee/internal/sparse"
)

func random(t *testing.T, users, titles, n int, seed uint64) *sparse.CSR {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	var row, col []uint32
	var val []float32
	for range n {
		row, col = append(row, uint32(rng.IntN(users))), append(col, uint32(float64(titles)*rng.Float64()*rng.Float64()))
		val = append(val, float32(rng.IntN(5))-1) // some are 0 or negative and must be ignored
	}
	m, err := sparse.FromTriplets(users, titles, row, col, val, sparse.Last)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// dense is the definition, word by word.
func dense(m *sparse.CSR, cfg Config) [][]float64 {
	x := make([][]float64, m.Cols)
	for i := range x {
		x[i] = make([]float64, m.Rows)
	}
	var total float64
	frequency := make([]float64, m.Rows)
	for u := range m.Rows {
		cols, vals := m.Row(u)
		for n, c := range cols {
			if vals[n] > 0 {
				x[c][u] = float64(vals[n])
				total += float64(vals[n])
				frequency[u]++
			}
		}
	}
	for i := range x {
		for u := range x[i] {
			if frequency[u] > 0 {
				x[i][u] *= math.Pow(frequency[u], -cfg.Activity)
			}
		}
	}
	if cfg.K1 > 0 {
		for i := range x {
			var length float64
			for _, v := range x[i] {
				length += v
			}
			for u, v := range x[i] {
				idf := max(math.Log(float64(m.Cols))-math.Log(1+frequency[u]), 0)
				x[i][u] = idf * v * (cfg.K1 + 1) / (cfg.K1*(1-cfg.B+cfg.B*length/(total/float64(m.Cols))) + v)
			}
		}
	}
	dot := func(a, b []float64) (s float64) {
		for i := range a {
			s += a[i] * b[i]
		}
		return s
	}
	out := make([][]float64, m.Cols)
	for i := range out {
		out[i] = make([]float64, m.Cols)
		for j := range out[i] {
			if p := dot(x[i], x[j]); i != j && p > 0 {
				out[i][j] = p / (math.Pow(dot(x[i], x[i]), cfg.Asymmetry)*math.Pow(dot(x[j], x[j]), 1-cfg.Asymmetry) + cfg.Shrinkage)
			}
		}
	}
	return out
}

func TestEqualsTheDefinition(t *testing.T) {
	m := random(t, 60, 40, 600, 3)
	for name, cfg := range map[string]Config{
		"cosine":     {Neighbours: 100, Asymmetry: 0.5},
		"shrunk":     {Neighbours: 100, Asymmetry: 0.5, Shrinkage: 25},
		"asymmetric": {Neighbours: 100, Asymmetry: 0.2},
		"bm25":       {Neighbours: 100, Asymmetry: 0.5, K1: 1.2, B: 0.75},
		"activity":   {Neighbours: 100, Asymmetry: 0.5, Activity: 0.4},
	} {
		t.Run(name, func(t *testing.T) {
			model, err := TrainItems(t.Context(), m, cfg)
			if err != nil {
				t.Fatal(err)
			}
			want := dense(m, cfg)
			for i := range want {
				for j, w := range want[i] {
					got := 0.0
					cols, vals := model.Near.Row(i)
					if n := slices.Index(cols, uint32(j)); n >= 0 {
						got = float64(vals[n])
					}
					if math.Abs(got-w) > 1e-5*(1+w) {
						t.Fatalf("similarity of %d and %d is %g, want %g", i, j, got, w)
					}
				}
			}
		})
	}
}

func TestTheNearestAreKeptWhateverTheWorkers(t *testing.T) {
	m := random(t, 200, 300, 4000, 5)
	cfg := Config{Neighbours: 7, Asymmetry: 0.5, Workers: 1}
	one, err := TrainItems(t.Context(), m, cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Workers = 5
	five, err := TrainItems(t.Context(), m, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(one.Near.Indices, five.Near.Indices) || !slices.Equal(one.Near.Values, five.Near.Values) {
		t.Error("five workers found other neighbours than one")
	}
	want := dense(m, cfg)
	for i := range want {
		row := slices.Clone(want[i])
		slices.Sort(row)
		slices.Reverse(row)
		cols, vals := one.Near.Row(i)
		if len(cols) > 7 {
			t.Fatalf("title %d has %d neighbours", i, len(cols))
		}
		for _, v := range vals {
			if float64(v) < row[6]-1e-6 {
				t.Fatalf("title %d has a neighbour at %g, the seventh is at %g", i, v, row[6])
			}
		}
	}
}

func TestScoreAddsUpTheHistory(t *testing.T) {
	m, err := sparse.FromTriplets(3, 4, []uint32{0, 0, 1, 1, 2}, []uint32{0, 1, 1, 2, 3}, nil, sparse.Reject)
	if err != nil {
		t.Fatal(err)
	}
	model, err := TrainItems(t.Context(), m, Config{Neighbours: 2, Asymmetry: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	scores := make([]float32, 4)
	if err := model.Score([]uint32{0, 2}, []float32{1, -0.5}, scores); err != nil {
		t.Fatal(err)
	}
	// Titles 0 and 1 share one of 1 and 2 users, so do 2 and 1.
	if want := float32(1/math.Sqrt2 - 0.5/math.Sqrt2); math.Abs(float64(scores[1]-want)) > 1e-6 {
		t.Errorf("score %g, want %g", scores[1], want)
	}
	if !math.IsInf(float64(scores[3]), -1) {
		t.Errorf("a title nobody shares scores %g", scores[3])
	}
	if err := model.Score([]uint32{9}, []float32{1}, scores); err == nil {
		t.Error("a title outside the catalogue was accepted")
	}
	if err := model.Score(nil, nil, scores[:2]); err == nil {
		t.Error("too few scores were accepted")
	}
}

func TestWhatCannotBeTrained(t *testing.T) {
	good := random(t, 5, 5, 20, 1)
	for name, cfg := range map[string]Config{
		"no neighbours": {Asymmetry: 0.5}, "shrinkage": {Neighbours: 1, Shrinkage: -1}, "asymmetry": {Neighbours: 1, Asymmetry: 2}, "activity": {Neighbours: 1, Activity: -1},
		"b": {Neighbours: 1, B: 2}, "NaN": {Neighbours: 1, Shrinkage: math.NaN()},
	} {
		if _, err := TrainItems(t.Context(), good, cfg); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for name, m := range map[string]*sparse.CSR{
		"empty":    {Rows: 2, Cols: 2, Indptr: []int64{0, 0, 0}},
		"zeros":    {Rows: 1, Cols: 1, Indptr: []int64{0, 1}, Indices: []uint32{0}, Values: []float32{0}},
		"NaN":      {Rows: 1, Cols: 1, Indptr: []int64{0, 1}, Indices: []uint32{0}, Values: []float32{float32(math.NaN())}},
		"out of":   {Rows: 1, Cols: 1, Indptr: []int64{0, 1}, Indices: []uint32{7}, Values: []float32{1}},
		"unsorted": {Rows: 1, Cols: 3, Indptr: []int64{0, 2}, Indices: []uint32{2, 1}, Values: []float32{1, 1}},
	} {
		if _, err := TrainItems(t.Context(), m, DefaultConfig()); !errors.Is(err, ErrData) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := TrainItems(ctx, good, DefaultConfig()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
