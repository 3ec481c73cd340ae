package ease

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"marquee/internal/sparse"
)

func random(t *testing.T, users, titles, n int) *sparse.CSR {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, uint64(titles)))
	var row, col []uint32
	var val []float32
	for range n {
		row, col = append(row, uint32(rng.IntN(users))), append(col, uint32(float64(titles)*rng.Float64()*rng.Float64()))
		val = append(val, float32(rng.IntN(4))-1) // some are 0 or negative and must be ignored
	}
	m, err := sparse.FromTriplets(users, titles, row, col, val, sparse.Last)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// weights are the model by its definition, in float64.
func weights(t *testing.T, m *sparse.CSR, l2 float64) *mat.Dense {
	t.Helper()
	x := mat.NewDense(m.Rows, m.Cols, nil)
	for u := range m.Rows {
		cols, vals := m.Row(u)
		for i, c := range cols {
			x.Set(u, int(c), math.Max(float64(vals[i]), 0))
		}
	}
	var g, p mat.Dense
	g.Mul(x.T(), x)
	for i := range m.Cols {
		g.Set(i, i, g.At(i, i)+l2)
	}
	if err := p.Inverse(&g); err != nil {
		t.Fatal(err)
	}
	b := mat.NewDense(m.Cols, m.Cols, nil)
	for i := range m.Cols {
		for j := range m.Cols {
			if i != j {
				b.Set(i, j, -p.At(i, j)/p.At(j, j))
			}
		}
	}
	return b
}

// TestEqualsTheClosedForm covers catalogues of one title, of one tile, of tiles that fill and of tiles that do not.
func TestEqualsTheClosedForm(t *testing.T) {
	for _, titles := range []int{1, 2, 40, side, side + 1, 2*side + 100, 4 * side} {
		m := random(t, 300, titles, 20*titles+50)
		model, err := Train(t.Context(), m, Config{L2: 5, MemoryLimit: 1 << 30, Workers: 3}, Options{})
		if err != nil {
			t.Fatalf("%d titles: %v", titles, err)
		}
		b := weights(t, m, 5)
		got := make([]float32, titles)
		for u := range 20 {
			cols, vals := m.Row(u)
			if err := model.Score(cols, vals, got); err != nil {
				t.Fatal(err)
			}
			for j := range titles {
				var want float64
				for k, c := range cols {
					want += float64(vals[k]) * b.At(int(c), j)
				}
				if math.Abs(float64(got[j])-want) > 2e-4 {
					t.Fatalf("%d titles: user %d scores title %d %g, want %g", titles, u, j, got[j], want)
				}
			}
		}
	}
}

func TestTheSameWhateverTheWorkers(t *testing.T) {
	m := random(t, 200, 3*side, 5000)
	var all [][]float32
	for _, workers := range []int{1, 4} {
		last := 0.0
		model, err := Train(t.Context(), m, Config{L2: 10, MemoryLimit: 1 << 30, Workers: workers}, Options{Progress: func(share float64) {
			if share < last || share > 1 {
				t.Errorf("progress %g after %g", share, last)
			}
			last = share
		}})
		if err != nil {
			t.Fatal(err)
		}
		if last < 0.9 {
			t.Errorf("progress ended at %g", last)
		}
		all = append(all, model.p.data)
	}
	if !slices.Equal(all[0], all[1]) {
		t.Error("four workers found another inverse than one")
	}
}

// TestMemoryIsCheckedFirst asks for a catalogue that no machine could hold: nothing may be allocated.
func TestMemoryIsCheckedFirst(t *testing.T) {
	m, err := sparse.FromTriplets(1, 40_000_000, []uint32{0}, []uint32{7}, nil, sparse.Reject)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Train(t.Context(), m, DefaultConfig(), Options{})
	if !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "40000000 titles needs 64") || !strings.Contains(err.Error(), "limit is 4294967296 (4.0 GiB)") {
		t.Errorf("%v", err)
	}
	if need := Bytes(40981); need < 4*40981*40981 || need > 6_900_000_000 {
		t.Errorf("%d bytes", need)
	}
}

func TestWhatCannotBeTrained(t *testing.T) {
	nan := float32(math.NaN())
	good := random(t, 20, 10, 80)
	for name, c := range map[string]struct {
		m    *sparse.CSR
		cfg  Config
		want string
	}{
		"none":     {nil, DefaultConfig(), "no matrix"},
		"empty":    {&sparse.CSR{Rows: 2, Cols: 2, Indptr: []int64{0, 0, 0}}, DefaultConfig(), "strength above 0"},
		"negative": {&sparse.CSR{Rows: 1, Cols: 1, Indptr: []int64{0, 1}, Indices: []uint32{0}, Values: []float32{-1}}, DefaultConfig(), "strength above 0"},
		"NaN":      {&sparse.CSR{Rows: 1, Cols: 1, Indptr: []int64{0, 1}, Indices: []uint32{0}, Values: []float32{nan}}, DefaultConfig(), "cannot train"},
		"outside":  {&sparse.CSR{Rows: 1, Cols: 1, Indptr: []int64{0, 1}, Indices: []uint32{9}, Values: []float32{1}}, DefaultConfig(), "cannot train"},
		"l2":       {good, Config{MemoryLimit: 1 << 30}, "l2 must be above 0, is 0"},
		"NaN l2":   {good, Config{L2: math.NaN(), MemoryLimit: 1 << 30}, "l2 must be above 0"},
		"limit":    {good, Config{L2: 1}, "memory_limit"},
		"workers":  {good, Config{L2: 1, MemoryLimit: 1 << 30, Workers: -1}, "workers"},
	} {
		if _, err := Train(t.Context(), c.m, c.cfg, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Train(ctx, good, DefaultConfig(), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestWhatFloat32CannotInvert repeats one column: without regularisation to speak of the matrix is singular.
func TestWhatFloat32CannotInvert(t *testing.T) {
	var row, col []uint32
	var val []float32
	for u := range uint32(50) {
		for c := range uint32(3) {
			row, col, val = append(row, u), append(col, c), append(val, 1000)
		}
	}
	m, err := sparse.FromTriplets(50, 3, row, col, val, sparse.Reject)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Train(t.Context(), m, Config{L2: 1e-3, MemoryLimit: 1 << 30}, Options{}); !errors.Is(err, ErrSingular) {
		t.Errorf("%v", err)
	}
}

// TestOneUserWithEqualWeights has an answer by hand: two titles always watched together by one user explain each other by
// 1/(1+l2).
func TestOneUserWithEqualWeights(t *testing.T) {
	m, err := sparse.FromTriplets(1, 3, []uint32{0, 0}, []uint32{0, 1}, nil, sparse.Reject)
	if err != nil {
		t.Fatal(err)
	}
	model, err := Train(t.Context(), m, Config{L2: 0.5, MemoryLimit: 1 << 20}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	scores := make([]float32, 3)
	if err := model.Score([]uint32{0}, []float32{1}, scores); err != nil {
		t.Fatal(err)
	}
	if math.Abs(float64(scores[1])-1/1.5) > 1e-5 || math.Abs(float64(scores[0])) > 1e-6 || scores[2] != 0 {
		t.Errorf("scores %v", scores)
	}
	for name, err := range map[string]error{
		"outside": model.Score([]uint32{3}, []float32{1}, scores),
		"NaN":     model.Score([]uint32{1}, []float32{float32(math.NaN())}, scores),
		"lengths": model.Score([]uint32{1}, nil, scores),
		"too few": model.Score(nil, nil, scores[:1]),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func BenchmarkTrain(b *testing.B) {
	const titles = 10 * side
	rng := rand.New(rand.NewPCG(1, 1))
	var row, col []uint32
	for range 50 * titles {
		row, col = append(row, uint32(rng.IntN(titles))), append(col, uint32(rng.IntN(titles)))
	}
	m, err := sparse.FromTriplets(titles, titles, row, col, nil, sparse.Max)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Train(b.Context(), m, Config{L2: 100, MemoryLimit: 1 << 30}, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(titles*titles*titles*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
