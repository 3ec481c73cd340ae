package als

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"marquee/internal/sparse"
)

// product is the largest difference between the scores of two factorizations.
func product(a, b *Model) float64 {
	var x, y mat.Dense
	x.Mul(dense(a.Users, a.Dim), dense(a.Items, a.Dim).T())
	y.Mul(dense(b.Users, b.Dim), dense(b.Items, b.Dim).T())
	x.Sub(&x, &y)
	return math.Max(mat.Max(&x), -mat.Min(&x))
}

func train(t *testing.T, m *sparse.CSR, cfg Config) *Model {
	t.Helper()
	model, err := Train(context.Background(), m, cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return model
}

// TestSolversAgree: conjugate gradients with as many steps as dimensions, and blocks where one holds all, are exact.
func TestSolversAgree(t *testing.T) {
	m := randomMatrix(t, 21, 150, 90, 2500)
	for _, replace := range []bool{false, true} {
		cfg := DefaultConfig()
		cfg.Dim, cfg.Epochs, cfg.InitScale, cfg.ReplaceUnobserved = 24, 2, 1, replace
		cfg.Solver = SolverCholesky
		exact := train(t, m, cfg)
		cfg.Solver, cfg.CGSteps = SolverCG, 60
		if off := product(exact, train(t, m, cfg)); off > 1e-3 {
			t.Errorf("conjugate gradients to the end: scores are off by up to %g", off)
		}
		cfg.Solver = SolverBlocks
		if off := product(exact, train(t, m, cfg)); off > 1e-4 {
			t.Errorf("one block: scores are off by up to %g", off)
		}
	}
}

// TestInexactSolversComeToWhereTheExactComes: with the steps they are meant to be run with.
func TestInexactSolversComeToWhereTheExactComes(t *testing.T) {
	if testing.Short() {
		t.Skip("30 epochs of three solvers at d=150; without -short it runs")
	}
	m := randomMatrix(t, 21, 150, 90, 2500)
	cfg := DefaultConfig()
	cfg.Dim, cfg.Epochs, cfg.Solver = 150, 30, SolverCholesky
	exact := train(t, m, cfg)
	for _, solver := range []string{SolverCG, SolverBlocks} {
		cfg.Solver, cfg.CGSteps = solver, 3
		got := train(t, m, cfg)
		if !(got.Loss <= exact.Loss*1.005) {
			t.Errorf("%s: loss %g after 30 epochs, exactly solved %g", solver, got.Loss, exact.Loss)
		}
		if loss, err := Loss(m, got, 1); err != nil || math.Abs(loss-got.Loss) > 1e-6*loss {
			t.Errorf("%s: the model says loss %g, its factors have %g, %v", solver, got.Loss, loss, err)
		}
	}
}

func TestInexactSolversNeverRaiseTheLoss(t *testing.T) {
	m := randomMatrix(t, 22, 300, 200, 6000)
	if testing.Short() {
		m = randomMatrix(t, 22, 100, 90, 2000)
	}
	for _, solver := range []string{SolverCG, SolverBlocks} {
		cfg := DefaultConfig()
		cfg.Dim, cfg.Epochs, cfg.Solver, cfg.CGSteps = 80, 12, solver, 2
		last := math.Inf(1)
		if _, err := Train(context.Background(), m, cfg, Options{Progress: func(p Progress) {
			if !(p.Loss <= last*(1+1e-6)) {
				t.Errorf("%s, epoch %d: loss rose from %.9g to %.9g", solver, p.Epoch, last, p.Loss)
			}
			last = p.Loss
		}}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEverySolverIsDeterministic also holds that looking at the model on the way changes nothing.
func TestEverySolverIsDeterministic(t *testing.T) {
	m := randomMatrix(t, 23, 700, 300, 9000)
	if testing.Short() {
		m = randomMatrix(t, 23, 90, 60, 1200)
	}
	for _, solver := range []string{SolverCholesky, SolverCG, SolverBlocks} {
		cfg := DefaultConfig()
		cfg.Dim, cfg.Epochs, cfg.Solver, cfg.Workers = 70, 3, solver, 1
		first := train(t, m, cfg)
		cfg.Workers = 5
		if got := train(t, m, cfg); !slices.Equal(got.Items, first.Items) || !slices.Equal(got.Users, first.Users) {
			t.Errorf("%s: 5 workers gave other factors than 1", solver)
		}
		looked, err := Train(context.Background(), m, cfg, Options{Check: func(_ int, model func() (*Model, error)) (bool, error) {
			_, err := model()
			return true, err
		}})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(looked.Items, first.Items) || !slices.Equal(looked.Users, first.Users) {
			t.Errorf("%s: looking at the model changed it", solver)
		}
	}
}

// TestResume: training cut short and gone on with from its titles comes to what one run comes to.
func TestResume(t *testing.T) {
	m := randomMatrix(t, 24, 200, 100, 4000)
	for _, solver := range []string{SolverCholesky, SolverCG, SolverBlocks} {
		cfg := DefaultConfig()
		cfg.Dim, cfg.Solver, cfg.Epochs = 16, solver, 12
		whole := train(t, m, cfg)
		ctx, cancel := context.WithCancel(context.Background())
		var items []float32
		_, err := Train(ctx, m, cfg, Options{Check: func(epoch int, model func() (*Model, error)) (bool, error) {
			if epoch < 6 {
				return true, nil
			}
			defer cancel()
			x, err := model()
			if err == nil {
				items = slices.Clone(x.Items)
			}
			return true, err
		}})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("%s: %v", solver, err)
		}
		cfg.Epochs = 6
		got, err := Train(context.Background(), m, cfg, Options{WarmItems: items})
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(got.Loss-whole.Loss) > 1e-3*whole.Loss {
			t.Errorf("%s: loss %g in two parts, %g in one", solver, got.Loss, whole.Loss)
		}
	}
}

func TestSolverSettings(t *testing.T) {
	for _, c := range []struct {
		set        string
		dim, steps int
		want       string
		err        string
	}{
		{"", 64, 0, SolverCholesky, ""},
		{"auto", 64, 3, SolverCholesky, ""},
		{"auto", autoExact + 1, 3, SolverCG, ""},
		{"auto", autoExact + 1, 0, SolverCG, "training.als.cg_steps must be between 1 and 1000, is 0"},
		{"blocks", 4, 0, SolverBlocks, ""},
		{"lu", 4, 3, "lu", `training.als.solver must be auto, cholesky, cg or blocks, is "lu"`},
	} {
		cfg := DefaultConfig()
		cfg.Solver, cfg.Dim, cfg.CGSteps = c.set, c.dim, c.steps
		err := cfg.Validate()
		if cfg.solver() != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%+v: %s, %v", c, cfg.solver(), err)
		}
	}
	if _, err := Loss(randomMatrix(t, 1, 3, 3, 5), &Model{Dim: 2}, 1); !errors.Is(err, ErrData) {
		t.Errorf("the loss of factors of another size: %v", err)
	}
}
