package als

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"marquee/internal/sparse"
)

// TestDegenerateDataWithEverySolver: what is odd and still right must come to finite factors, the same for any number of workers, and with
// any solver to the exact one's loss.
func TestDegenerateDataWithEverySolver(t *testing.T) {
	full := func(users, titles int, strength float32) *sparse.CSR {
		m := &sparse.CSR{Rows: users, Cols: titles, Indptr: []int64{0}}
		for range users {
			for c := range titles {
				m.Indices, m.Values = append(m.Indices, uint32(c)), append(m.Values, strength)
			}
			m.Indptr = append(m.Indptr, int64(len(m.Indices)))
		}
		return m
	}
	for name, m := range map[string]*sparse.CSR{
		"one user":                 full(1, 9, 1),
		"one title":                full(9, 1, 1),
		"one interaction":          full(1, 1, 1),
		"all watched all alike":    full(12, 10, 2),
		"a user who only disliked": {Rows: 2, Cols: 3, Indptr: []int64{0, 2, 4}, Indices: []uint32{0, 1, 0, 2}, Values: []float32{1, 1, -1, -1}},
		"users without anything":   {Rows: 4, Cols: 3, Indptr: []int64{0, 0, 2, 2, 2}, Indices: []uint32{0, 2}, Values: []float32{1, 0.5}},
	} {
		cfg := DefaultConfig()
		cfg.Dim, cfg.Epochs, cfg.Solver = 40, 30, SolverCholesky // The dimension is above the catalogue.
		exact := train(t, m, cfg)
		for _, solver := range []string{SolverCholesky, SolverCG, SolverBlocks} {
			cfg.Solver, cfg.Workers = solver, 1
			one := train(t, m, cfg)
			for _, v := range slices.Concat(one.Users, one.Items) {
				if v-v != 0 {
					t.Fatalf("%s, %s: a factor is %v", name, solver, v)
				}
			}
			if !(math.Abs(one.Loss-exact.Loss) <= 1e-2*exact.Loss+1e-9) {
				t.Errorf("%s, %s: loss %g, exactly solved %g", name, solver, one.Loss, exact.Loss)
			}
			cfg.Workers = 3
			if three := train(t, m, cfg); !slices.Equal(one.Users, three.Users) || !slices.Equal(one.Items, three.Items) {
				t.Errorf("%s, %s: three workers come to something else than one", name, solver)
			}
		}
	}
}

// TestCancellingStopsEverySolver: before the first epoch already.
func TestCancellingStopsEverySolver(t *testing.T) {
	m := randomMatrix(t, 30, 50, 40, 500)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, solver := range []string{SolverCholesky, SolverCG, SolverBlocks} {
		cfg := DefaultConfig()
		cfg.Solver = solver
		if model, err := Train(ctx, m, cfg, Options{}); !errors.Is(err, context.Canceled) || model != nil {
			t.Errorf("%s: %v, %v", solver, model != nil, err)
		}
	}
}
