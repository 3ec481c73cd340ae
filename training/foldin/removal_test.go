package foldin

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRemovalForetellsTheScoreWithout solves rows anew without each of their interactions. Regularisation does not depend on the row's
// length here, so that what is foretold is exact.
func TestRemovalForetellsTheScoreWithout(t *testing.T) {
	const titles, dim = 60, 12
	rng := rand.New(rand.NewPCG(8, 8))
	f := Factors{Data: make([]float32, titles*dim), Rows: titles, Dim: dim, Stride: dim}
	for i := range f.Data {
		f.Data[i] = float32(rng.NormFloat64() / 3)
	}
	against := 0
	for name, p := range map[string]Params{
		"plain": {Alpha: 3, Unobserved: 0.2, Lambda: 0.5, Nu: 0}, "replacing": {Alpha: 3, Unobserved: 0.2, Lambda: 0.5, Nu: 0, Replace: true},
		"wide": {Alpha: 1e4, Unobserved: 1e-6, Lambda: 1e-5, Nu: 0},
	} {
		s, err := NewSolver(f, Gramian(f, 1), p)
		if err != nil {
			t.Fatal(err)
		}
		sc, other := s.NewScratch(), s.NewScratch()
		for range 30 {
			var cols []uint32
			var strength []float32
			for _, c := range rng.Perm(titles)[:3+rng.IntN(12)] {
				cols, strength = append(cols, uint32(c)), append(strength, float32(rng.IntN(4))/2-0.5)
			}
			strength[0], strength[1] = 1, 0.5
			x, without, fall := make([]float32, dim), make([]float32, dim), make([]float32, dim)
			if err := s.Solve(x, cols, strength, sc); err != nil {
				t.Fatal(err)
			}
			target := f.Row(rng.IntN(titles))
			parts := make([]float32, len(cols))
			if err := s.Explain(parts, target, cols, strength, sc); err != nil {
				t.Fatal(err)
			}
			for k, c := range cols {
				if err := s.Removal(fall, x, c, strength[k], sc); err != nil {
					t.Fatal(err)
				}
				var want float64
				for i, v := range target {
					want += float64(v) * float64(fall[i])
				}
				if want*float64(parts[k]) < 0 {
					against++
				}
				rest, values := slices.Delete(slices.Clone(cols), k, k+1), slices.Delete(slices.Clone(strength), k, k+1)
				if strength[k] <= 0 {
					if want != 0 {
						t.Errorf("%s: an interaction without a pull has %g", name, want)
					}
					continue
				}
				if err := s.Solve(without, rest, values, other); err != nil {
					t.Fatal(err)
				}
				var before, after float64
				for i, v := range target {
					before, after = before+float64(v)*float64(x[i]), after+float64(v)*float64(without[i])
				}
				if name != "wide" && math.Abs(before-after-want) > 2e-4*(1+math.Abs(want)) {
					t.Fatalf("%s: the score falls by %g without interaction %d, foretold were %g", name, before-after, k, want)
				}
			}
		}
	}
	if against == 0 {
		t.Error("no interaction held scores down: the test has nothing to tell parts and removals apart by")
	}
}

func TestRemovalRefuses(t *testing.T) {
	f := Factors{Data: []float32{1, 2}, Rows: 2, Dim: 1, Stride: 1}
	s, err := NewSolver(f, Gramian(f, 1), Params{Alpha: 1, Unobserved: 0.1, Lambda: 0.1, Nu: 1})
	if err != nil {
		t.Fatal(err)
	}
	sc, x := s.NewScratch(), []float32{0}
	if err := s.Solve(x, []uint32{1}, []float32{-1}, sc); err != nil {
		t.Fatal(err)
	}
	dst := []float32{7}
	if err := s.Removal(dst, x, 1, 1, sc); err != nil || dst[0] != 0 {
		t.Errorf("of a row without a vector: %g, %v", dst, err)
	}
	for name, err := range map[string]error{
		"column":   s.Removal(dst, x, 2, 1, sc),
		"strength": s.Removal(dst, x, 1, float32(math.Inf(1)), sc),
		"vector":   s.Removal(dst, nil, 1, 1, sc),
		"result":   s.Removal(nil, x, 1, 1, sc),
	} {
		if !errors.Is(err, ErrInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
