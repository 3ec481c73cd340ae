package foldin

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"marquee/internal/vec"
)

// rotated returns a solver of f in its own basis and one of the rotated factors as they lie, which knows nothing of rotations.
func rotated(t *testing.T, f Factors, p Params) (*Rotated, *Solver) {
	t.Helper()
	r, err := Diagonalise(Gramian(f, 1), f.Dim)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(f, 3); err != nil {
		t.Fatal(err)
	}
	s, err := NewRotated(f, r, p)
	if err != nil {
		t.Fatal(err)
	}
	return s, newSolver(t, f, p)
}

func TestARotationKeepsProductsAndMakesTheGramianDiagonal(t *testing.T) {
	for _, dim := range []int{1, 7, 16, 33, 80} {
		f := randomFactors(30, 101, dim, vec.SyrkPad(dim))
		was := slices.Clone(f.Data)
		s, _ := rotated(t, f, Params{Alpha: 1, Unobserved: 0.1, Lambda: 0.1, Nu: 1})
		gram := Gramian(f, 1)
		for i, v := range gram {
			want := 0.0
			if i/dim == i%dim {
				want = float64(s.values[i%dim])
			}
			if math.Abs(v-want) > 1e-2 {
				t.Fatalf("d=%d: the rotated gramian has %g at (%d, %d), want %g", dim, v, i/dim, i%dim, want)
			}
		}
		before := vec.Dot(was[:dim], was[5*f.Stride:][:dim])
		if after := vec.Dot(f.Row(0), f.Row(5)); math.Abs(float64(before-after)) > 1e-4 {
			t.Errorf("d=%d: a product went from %g to %g", dim, before, after)
		}
	}
	if _, err := Diagonalise([]float64{1, 0, 0, math.NaN()}, 2); !errors.Is(err, ErrGramian) {
		t.Errorf("a gramian with NaN: %v", err)
	}
	r, err := Diagonalise([]float64{1, 0, 0, 1}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(randomFactors(1, 3, 3, 16), 1); err == nil {
		t.Error("factors of another dimension were rotated")
	}
	if _, err := NewRotated(randomFactors(1, 3, 2, 2), r, Params{Alpha: 1}); err == nil {
		t.Error("factors that are not padded were accepted")
	}
}

// TestEveryWayOfSolvingARow holds dual, conjugate gradients and blocks to the normal equations, by rows of every length.
func TestEveryWayOfSolvingARow(t *testing.T) {
	for name, p := range map[string]Params{
		"usual":  {Alpha: 1, Unobserved: 0.1, Lambda: 0.01, Nu: 1},
		"2008":   {Alpha: 20, Unobserved: 1, Lambda: 1, Replace: true},
		"bare":   {Alpha: 1, Unobserved: 0, Lambda: 0.05, Nu: 1},
		"sparse": {Alpha: 1, Unobserved: 0.01, Lambda: 0.003, Nu: 1},
	} {
		for _, dim := range []int{5, 33, 64, 100} {
			if dim > 33 && testing.Short() {
				break // A processor that is emulated takes minutes.
			}
			f := randomFactors(31, 900, dim, vec.SyrkPad(dim))
			s, primal := rotated(t, f, p)
			w, sc := s.NewWork(), primal.NewScratch()
			rng := rand.New(rand.NewPCG(uint64(dim), 2))
			for _, n := range []int{1, 2, 7, 8, 9, 20, 33, 64, 79, 81, 150, 700} {
				var cols []uint32
				var strength []float32
				for _, c := range rng.Perm(f.Rows)[:n] {
					cols, strength = append(cols, uint32(c)), append(strength, float32(rng.IntN(6)-1)/2)
				}
				strength[0] = 1
				want, got := make([]float32, dim), make([]float32, dim)
				if err := primal.Solve(want, cols, strength, sc); err != nil {
					t.Fatal(err)
				}
				solve := func(way string, tolerance float64, err error) {
					t.Helper()
					for j, v := range got {
						if err != nil || !(math.Abs(float64(v-want[j])) < tolerance) {
							t.Fatalf("%s, %s, d=%d, %d interactions: component %d is %v, want %v; %v", name, way, dim, n, j, v, want[j], err)
						}
					}
				}
				solve("exact", 1e-4, s.Solve(got, cols, strength, w))
				clear(got)
				solve("cg", 1e-3, s.Improve(got, cols, strength, 4*dim, w))
				solve("cg from the solution", 1e-3, s.Improve(got, cols, strength, 1, w))
				solve("blocks from the solution", 1e-3, s.Sweep(got, cols, strength, w))
				if name == "bare" || name == "sparse" {
					continue // Little regularised, a row of few interactions couples its blocks closely: too many sweeps.
				}
				clear(got)
				var err error
				for range 200 {
					err = errors.Join(err, s.Sweep(got, cols, strength, w))
				}
				solve("blocks", 5e-3, err)
			}
		}
	}
}

func TestRotatedRefusesWhatTheSolverRefuses(t *testing.T) {
	s, _ := rotated(t, randomFactors(32, 50, 16, 16), Params{Alpha: 1, Unobserved: 0.1, Lambda: 0.1, Nu: 1})
	w, x := s.NewWork(), make([]float32, 16)
	for name, solve := range map[string]func(cols []uint32, strength []float32) error{
		"exact":  func(c []uint32, v []float32) error { return s.Solve(x, c, v, w) },
		"cg":     func(c []uint32, v []float32) error { return s.Improve(x, c, v, 3, w) },
		"blocks": func(c []uint32, v []float32) error { return s.Sweep(x, c, v, w) },
	} {
		if err := solve([]uint32{50}, []float32{1}); !errors.Is(err, ErrInput) {
			t.Errorf("%s: a column out of range: %v", name, err)
		}
		if err := solve([]uint32{1}, []float32{float32(math.NaN())}); !errors.Is(err, ErrInput) {
			t.Errorf("%s: a strength of NaN: %v", name, err)
		}
		x[3] = 9
		if err := solve([]uint32{1, 2}, []float32{-1, 0}); err != nil || x[3] != 0 {
			t.Errorf("%s: a row that nothing pulls from zero: %v, %v", name, x, err)
		}
	}
	singular := Params{Alpha: 1}
	f := Factors{Data: make([]float32, 160), Rows: 10, Dim: 16, Stride: 16}
	s, _ = rotated(t, f, singular)
	if err := s.Solve(x, []uint32{1}, []float32{1}, s.NewWork()); !errors.Is(err, ErrSingular) {
		t.Errorf("a row without a unique solution: %v", err)
	}
}
