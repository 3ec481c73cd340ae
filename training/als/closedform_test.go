package als

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
	"marquee/training/foldin"
)

// randomMatrix returns a users x titles matrix with watches, abandoned titles and zeros.
func randomMatrix(t *testing.T, seed uint64, users, titles, n int) *sparse.CSR {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	row, col, val := make([]uint32, n), make([]uint32, n), make([]float32, n)
	for i := range n {
		row[i], col[i] = uint32(rng.IntN(users)), uint32(rng.IntN(titles))
		val[i] = float32(rng.IntN(8)-1) / 4
	}
	m, err := sparse.FromTriplets(users, titles, row, col, val, sparse.Last)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// closedForm solves one side in float64 from the definition of the loss, cell by cell over the dense matrix.
func closedForm(t *testing.T, m *sparse.CSR, other *mat.Dense, p foldin.Params) *mat.Dense {
	t.Helper()
	others, d := other.Dims()
	out := mat.NewDense(m.Rows, d, nil)
	for r := range m.Rows {
		a, b := mat.NewSymDense(d, nil), mat.NewVecDense(d, nil)
		cols, vals := m.Row(r)
		reg := p.Lambda * math.Pow(float64(len(cols))+p.Unobserved*float64(others), p.Nu)
		for j := range d {
			a.SetSym(j, j, reg)
		}
		for c := range others {
			y := other.RowView(c)
			a.SymRankOne(a, p.Unobserved, y)
			k := slices.Index(cols, uint32(c))
			if k < 0 {
				continue
			}
			w := p.Alpha * math.Abs(float64(vals[k]))
			a.SymRankOne(a, w, y)
			if vals[k] > 0 {
				if p.Replace {
					w += p.Unobserved
				}
				b.AddScaledVec(b, w, y)
			}
		}
		if mat.Norm(b, 1) == 0 {
			continue
		}
		var chol mat.Cholesky
		if !chol.Factorize(a) {
			t.Fatal("the closed form is singular")
		}
		x := mat.NewVecDense(d, nil)
		if err := chol.SolveVecTo(x, b); err != nil {
			t.Fatal(err)
		}
		out.SetRow(r, x.RawVector().Data)
	}
	return out
}

func dense(f []float32, d int) *mat.Dense {
	out := mat.NewDense(len(f)/d, d, nil)
	for i, v := range f {
		out.Set(i/d, i%d, float64(v))
	}
	return out
}

func TestAgainstClosedForm(t *testing.T) {
	base := DefaultConfig()
	tests := []struct {
		name             string
		users, titles, n int
		dim, epochs      int
		change           func(*Config)
		tolerance        float64
	}{
		{"small", 7, 5, 20, 3, 3, func(*Config) {}, 2e-5},
		{"padded dimension", 40, 30, 300, 17, 2, func(*Config) {}, 2e-5},
		{"full tile", 60, 90, 900, 32, 2, func(*Config) {}, 2e-5},
		{"long rows", 3, 400, 1000, 8, 2, func(*Config) {}, 2e-5},
		{"one user", 1, 9, 6, 4, 3, func(*Config) {}, 2e-5},
		{"dimension above catalogue", 12, 4, 30, 24, 3, func(*Config) {}, 2e-5},
		{"2008 form", 30, 20, 150, 8, 2, func(c *Config) { c.ReplaceUnobserved, c.UnobservedWeight, c.Alpha = true, 1, 40 }, 1e-4},
		{"plain regularisation", 30, 20, 150, 8, 2, func(c *Config) { c.RegularizationExponent, c.Regularization = 0, 0.5 }, 2e-5},
		{"no unobserved weight", 30, 20, 150, 8, 2, func(c *Config) { c.UnobservedWeight, c.Regularization = 0, 0.1 }, 1e-4},
		{"nearly singular", 20, 15, 60, 8, 1, func(c *Config) { c.UnobservedWeight, c.Regularization = 1e-6, 1e-7 }, 5e-2},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := randomMatrix(t, 5, tc.users, tc.titles, tc.n)
			cfg := base
			cfg.Dim, cfg.Epochs, cfg.InitScale = tc.dim, tc.epochs, 1
			tc.change(&cfg)
			tr, err := newTrainer(m, cfg, Options{})
			if err != nil {
				t.Fatal(err)
			}
			items := dense(compact(tr.items.factors), cfg.Dim)
			transposed := m.Transpose()
			var users *mat.Dense
			for range tc.epochs {
				users = closedForm(t, m, items, cfg.Params())
				items = closedForm(t, transposed, users, cfg.Params())
			}
			users = closedForm(t, m, items, cfg.Params())
			got, err := Train(context.Background(), m, cfg, Options{})
			if err != nil {
				t.Fatal(err)
			}
			var want, have mat.Dense
			want.Mul(users, items.T())
			have.Mul(dense(got.Users, cfg.Dim), dense(got.Items, cfg.Dim).T())
			want.Sub(&want, &have)
			if off := math.Max(mat.Max(&want), -mat.Min(&want)); !(off < tc.tolerance) {
				t.Errorf("scores are off by up to %g", off)
			}
			loss := denseLoss(m, dense(got.Users, cfg.Dim), dense(got.Items, cfg.Dim), cfg.Params())
			if math.Abs(got.Loss-loss) > 1e-5*loss {
				t.Errorf("loss %.8g, by definition %.8g", got.Loss, loss)
			}
		})
	}
}

// denseLoss evaluates the loss by its definition over every cell.
func denseLoss(m *sparse.CSR, users, items *mat.Dense, p foldin.Params) float64 {
	var sum float64
	norm := func(v mat.Vector) float64 { return mat.Dot(v, v) }
	t := m.Transpose()
	for u := range m.Rows {
		sum += p.Reg(m.RowLen(u), m.Cols) * norm(users.RowView(u))
		cols, vals := m.Row(u)
		for i := range m.Cols {
			s := mat.Dot(users.RowView(u), items.RowView(i))
			k := slices.Index(cols, uint32(i))
			var w, target float64
			if k >= 0 {
				w = p.Alpha * math.Abs(float64(vals[k]))
				if vals[k] > 0 {
					target = 1
				}
			}
			if p.Replace && target == 1 {
				sum += (w + p.Unobserved) * (1 - s) * (1 - s)
				continue
			}
			sum += w*(target-s)*(target-s) + p.Unobserved*s*s
		}
	}
	for i := range m.Cols {
		sum += p.Reg(t.RowLen(i), m.Rows) * norm(items.RowView(i))
	}
	return sum
}

func TestLossFallsMonotonically(t *testing.T) {
	m := randomMatrix(t, 6, 300, 200, 6000)
	for _, replace := range []bool{false, true} {
		cfg := DefaultConfig()
		cfg.Dim, cfg.Epochs, cfg.ReplaceUnobserved = 24, 15, replace
		last := math.Inf(1)
		model, err := Train(context.Background(), m, cfg, Options{Progress: func(p Progress) {
			if !(p.Loss <= last*(1+1e-7)) {
				t.Errorf("epoch %d: loss rose from %.9g to %.9g", p.Epoch, last, p.Loss)
			}
			last = p.Loss
		}})
		if err != nil {
			t.Fatal(err)
		}
		if !(model.Loss <= last*(1+1e-7)) {
			t.Errorf("the last half-step raised the loss from %.9g to %.9g", last, model.Loss)
		}
	}
}

func TestDeterministicWhateverTheWorkers(t *testing.T) {
	m := randomMatrix(t, 7, 700, 300, 9000)
	cfg := DefaultConfig()
	cfg.Dim, cfg.Epochs = 20, 3
	var first *Model
	for _, workers := range []int{1, 2, 7} {
		cfg.Workers = workers
		got, err := Train(context.Background(), m, cfg, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = got
		}
		if !slices.Equal(got.Items, first.Items) || !slices.Equal(got.Users, first.Users) || got.Loss != first.Loss {
			t.Errorf("%d workers gave other factors than 1", workers)
		}
	}
	cfg.Seed++
	other, err := Train(context.Background(), m, cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(other.Items, first.Items) {
		t.Error("another seed gave the same factors")
	}
}

func TestWarmStart(t *testing.T) {
	m := randomMatrix(t, 8, 200, 100, 4000)
	cfg := DefaultConfig()
	cfg.Dim, cfg.Epochs = 16, 10
	cold, err := Train(context.Background(), m, cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Epochs = 1
	fromScratch, err := Train(context.Background(), m, cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	warm, err := Train(context.Background(), m, cfg, Options{WarmItems: cold.Items})
	if err != nil {
		t.Fatal(err)
	}
	if !(warm.Loss <= cold.Loss*(1+1e-7) && warm.Loss < fromScratch.Loss) {
		t.Errorf("one epoch from a warm start has loss %g; it began at %g, and from scratch it is %g", warm.Loss, cold.Loss, fromScratch.Loss)
	}
	if _, err := Train(context.Background(), m, cfg, Options{WarmItems: make([]float32, 3)}); err == nil {
		t.Error("a warm start of the wrong size was accepted")
	}
	bad := slices.Clone(cold.Items)
	bad[17] = float32(math.NaN())
	if _, err := Train(context.Background(), m, cfg, Options{WarmItems: bad}); err == nil || !strings.Contains(err.Error(), "row 1") {
		t.Errorf("a warm start with NaN: %v", err)
	}
	if _, err := Train(context.Background(), m, cfg, Options{WarmItems: make([]float32, len(cold.Items))}); err != nil {
		t.Errorf("a warm start that knows no title: %v", err)
	}
}

func TestBadInput(t *testing.T) {
	nan := float32(math.NaN())
	ok := func() *sparse.CSR {
		return &sparse.CSR{Rows: 2, Cols: 3, Indptr: []int64{0, 2, 3}, Indices: []uint32{0, 2, 1}, Values: []float32{1, 2, 3}}
	}
	tests := []struct {
		name  string
		spoil func(*sparse.CSR, *Config) *sparse.CSR
		want  string
	}{
		{"nil", func(*sparse.CSR, *Config) *sparse.CSR { return nil }, "no matrix"},
		{"empty", func(*sparse.CSR, *Config) *sparse.CSR { return &sparse.CSR{Indptr: []int64{0}} }, "none of the 0 entries"},
		{"NaN", func(m *sparse.CSR, _ *Config) *sparse.CSR { m.Values[1] = nan; return m }, "row 0 column 2 has value NaN"},
		{"range", func(m *sparse.CSR, _ *Config) *sparse.CSR { m.Indices[2] = 3; return m }, "row 1 has column 3"},
		{"all negative", func(m *sparse.CSR, _ *Config) *sparse.CSR { m.Values = []float32{-1, -1, 0}; return m }, "strength above 0"},
		{"huge", func(m *sparse.CSR, _ *Config) *sparse.CSR { m.Values[0] = 3e38; return m }, "above 1e15"},
		{"dim 0", func(m *sparse.CSR, c *Config) *sparse.CSR { c.Dim = 0; return m }, "training.als.dim must be between 1 and 4096, is 0"},
		{"epochs", func(m *sparse.CSR, c *Config) *sparse.CSR { c.Epochs = 0; return m }, "training.als.epochs"},
		{"alpha", func(m *sparse.CSR, c *Config) *sparse.CSR { c.Alpha = math.NaN(); return m }, "alpha must be in (0"},
		{"lambda", func(m *sparse.CSR, c *Config) *sparse.CSR { c.Regularization = -1; return m }, "regularization must be in"},
		{"no unique solution", func(m *sparse.CSR, c *Config) *sparse.CSR { c.Regularization, c.UnobservedWeight = 0, 0; return m }, "raise regularization"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			cfg := DefaultConfig()
			m := tc.spoil(ok(), &cfg)
			model, err := Train(context.Background(), m, cfg, Options{})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got model %v and error %v, want an error saying %q", model != nil, err, tc.want)
			}
		})
	}
}

func TestCancellation(t *testing.T) {
	m := randomMatrix(t, 9, 200, 100, 4000)
	cfg := DefaultConfig()
	cfg.Epochs = 10000
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Train(ctx, m, cfg, Options{Progress: func(p Progress) {
		if p.Epoch == 2 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "epoch 3 of 10000") {
		t.Fatalf("cancelled in epoch 3: %v", err)
	}
}

func TestEveryRowIsInExactlyOneChunk(t *testing.T) {
	m := randomMatrix(t, 10, 5000, 50, 20000)
	bounds := cut(m, 64)
	if bounds[0] != 0 || bounds[len(bounds)-1] != m.Rows || !slices.IsSorted(bounds) || len(bounds) > 2*chunkTarget {
		t.Fatalf("%d boundaries from %d to %d", len(bounds), bounds[0], bounds[len(bounds)-1])
	}
}
