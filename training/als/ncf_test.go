package als

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"marquee/eval/metric"
	"marquee/internal/sparse"
	"marquee/internal/testkit"
	"marquee/internal/vec"
	"marquee/training/foldin"
)

// leaveOneOut is the protocol of the NCF papers: one held-out title a user, ranked among sampled others.
type leaveOneOut struct {
	train     *sparse.CSR
	positive  []uint32   // by user
	negatives [][]uint32 // by user, the positive itself left out
}

// evaluate returns HR@10 and NDCG@10, ties counted against the model.
func (l *leaveOneOut) evaluate(m *Model) (hr, ndcg float64) {
	scores := make([]float32, 0, 128)
	for u, pos := range l.positive {
		x := m.Users[u*m.Dim : (u+1)*m.Dim]
		score := func(i uint32) float32 { return vec.Dot(x, m.Items[int(i)*m.Dim:(int(i)+1)*m.Dim]) }
		scores = scores[:0]
		for _, i := range l.negatives[u] {
			scores = append(scores, score(i))
		}
		s := metric.Stand(score(pos), scores)
		hr += s.HitRate(10, metric.Worst)
		ndcg += s.NDCG(10, metric.Worst)
	}
	n := float64(len(l.positive))
	return hr / n, ndcg / n
}

// readNCF reads the published split: each user's training titles in time order, and the test.
func readNCF(t *testing.T) (history [][]uint32, titles int, test leaveOneOut) {
	t.Helper()
	dir := testkit.DataDir(t, "ncf-ml-1m")
	eachLine(t, filepath.Join(dir, "train.tsv"), func(f []string) {
		u, i := number(t, f[0]), number(t, f[1])
		for len(history) <= u {
			history = append(history, nil)
		}
		history[u] = append(history[u], uint32(i))
		titles = max(titles, i+1)
	})
	eachLine(t, filepath.Join(dir, "ml-1m.test.rating"), func(f []string) {
		test.positive = append(test.positive, uint32(number(t, f[1])))
	})
	eachLine(t, filepath.Join(dir, "ml-1m.test.negative"), func(f []string) {
		u := len(test.negatives)
		var negatives []uint32
		for _, s := range f[1:] {
			if i := uint32(number(t, s)); i != test.positive[u] {
				negatives = append(negatives, i)
				titles = max(titles, int(i)+1)
			}
		}
		titles = max(titles, int(test.positive[u])+1)
		test.negatives = append(test.negatives, negatives)
	})
	if len(history) != 6040 || len(test.positive) != 6040 || len(test.negatives) != 6040 {
		t.Fatalf("%d, %d and %d users read, want 6040 of each", len(history), len(test.positive), len(test.negatives))
	}
	test.train = matrix(t, history, titles)
	return history, titles, test
}

func eachLine(t *testing.T, path string, use func(fields []string)) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "#") {
			use(strings.Fields(lines.Text()))
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func matrix(t *testing.T, history [][]uint32, titles int) *sparse.CSR {
	t.Helper()
	var row, col []uint32
	for u, h := range history {
		for _, i := range h {
			row, col = append(row, uint32(u)), append(col, i)
		}
	}
	m, err := sparse.FromTriplets(len(history), titles, row, col, nil, sparse.Max)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// chosen is what TestChooseOnValidation found best at d=64.
func chosen() Config { return DefaultConfig() }

// TestNCFMovieLens1M reproduces the published quality of iALS on the NCF split: HR@10 .722 and NDCG@10 .445 at d=64
// (Rendle et al. 2022).
func TestNCFMovieLens1M(t *testing.T) {
	if testing.Short() {
		t.Skip("trains on half a million interactions; without -short it runs")
	}
	_, _, test := readNCF(t)
	cfg := chosen()
	start := time.Now()
	m, err := Train(context.Background(), test.train, cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	hr, ndcg := test.evaluate(m)
	t.Logf("d=%d, %d epochs in %v: HR@10 %.4f, NDCG@10 %.4f", cfg.Dim, cfg.Epochs, time.Since(start).Round(time.Millisecond), hr, ndcg)
	if hr < 0.70 || ndcg < 0.42 {
		t.Errorf("HR@10 %.4f and NDCG@10 %.4f, want at least .70 and .42", hr, ndcg)
	}
	flat := &Model{Dim: 1, Users: make([]float32, len(test.positive)), Items: make([]float32, test.train.Cols)}
	if hr, _ := test.evaluate(flat); hr != 0 {
		t.Errorf("constant scores have HR@10 %.4f, want 0", hr)
	}
}

func BenchmarkEpoch(b *testing.B) {
	for _, set := range []struct {
		name             string
		users, titles, n int
	}{{"films", 6040, 3706, 1_000_000}, {"check-ins", 30_000, 41_000, 810_000}} {
		rng := rand.New(rand.NewPCG(1, 1))
		row, col := make([]uint32, set.n), make([]uint32, set.n)
		for i := range set.n {
			// Popularity falls off as in MovieLens 1M, where the most watched title has 3,428 of 6,040 users.
			row[i], col[i] = uint32(rng.IntN(set.users)), uint32(float64(set.titles)*rng.Float64()*rng.Float64())
		}
		m, err := sparse.FromTriplets(set.users, set.titles, row, col, nil, sparse.Max)
		if err != nil {
			b.Fatal(err)
		}
		for _, dim := range []int{64, 128, 256} {
			for _, solver := range []string{SolverCholesky, SolverCG, SolverBlocks} {
				cfg := DefaultConfig()
				cfg.Dim, cfg.TrackLoss, cfg.Solver = dim, false, solver
				tr, err := newTrainer(m, cfg, Options{})
				if err != nil {
					b.Fatal(err)
				}
				b.Run(fmt.Sprintf("%s/%s/d=%d", set.name, solver, dim), func(b *testing.B) {
					for b.Loop() {
						if err := tr.epoch(context.Background()); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

func BenchmarkFoldIn50Titles(b *testing.B) {
	rng := rand.New(rand.NewPCG(2, 2))
	const titles, dim = 4000, 64
	f := foldin.Factors{Data: make([]float32, titles*dim), Rows: titles, Dim: dim, Stride: dim}
	for i := range f.Data {
		f.Data[i] = float32(rng.NormFloat64()) / 8
	}
	solver, err := foldin.NewSolver(f, foldin.Gramian(f, 1), DefaultConfig().Params())
	if err != nil {
		b.Fatal(err)
	}
	cols, strength := make([]uint32, 50), make([]float32, 50)
	for k := range cols {
		cols[k], strength[k] = uint32(rng.IntN(titles)), 1
	}
	scratch, x, why := solver.NewScratch(), make([]float32, dim), make([]float32, 50)
	b.Run("solve", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := solver.Solve(x, cols, strength, scratch); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("explain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := solver.Explain(why, f.Row(1), cols, strength, scratch); err != nil {
				b.Fatal(err)
			}
		}
	})
}
