package foldin

import (
	"fmt"

	"marquee/internal/vec"
)

// Removal says how much of an interaction's part in a score (Explain) would be missed without the interaction: for every title, the score
// of the row solved anew without it is lower by Removal times that part, but for the little less regularisation of a shorter row. It is
// (1 - w/pull * y.x) / (1 - w * y^T A^-1 y), from the Sherman-Morrison formula: small where the other interactions already say the same,
// and negative where they say more than the interaction itself, which then holds scores down in spite of its part.
//
// x is the row's vector just solved with sc, which included the interaction. One that pulls at nothing has 0.
func (s *Solver) Removal(x []float32, col uint32, strength float32, sc *Scratch) (float32, error) {
	if len(x) != s.factors.Dim {
		return 0, fmt.Errorf("%w: a vector of length %d, want %d", ErrInput, len(x), s.factors.Dim)
	}
	if err := s.check([]uint32{col}, []float32{strength}); err != nil {
		return 0, err
	}
	w, pull := s.params.Cell(strength)
	if sc.idle || w == 0 || pull == 0 {
		return 0, nil
	}
	y := s.factors.Row(int(col))
	var leverage float64
	if len(sc.wide) > 0 {
		leverage = s.leverageWide(y, sc)
	} else {
		copy(sc.z, y)
		clear(sc.z[len(y):])
		vec.CholeskySolve(sc.a, s.pad, sc.inv, sc.z)
		leverage = float64(vec.Dot(y, sc.z[:len(y)]))
	}
	// Rounding may bring the leverage to 1, where without the interaction nothing is known.
	left := max(1-w*leverage, 1e-3)
	return float32((1 - w/pull*float64(vec.Dot(y, x))) / left), nil
}

func (s *Solver) leverageWide(y []float32, sc *Scratch) float64 {
	z := make([]float64, len(y))
	for i, v := range y {
		z[i] = float64(v)
	}
	backSubstitute(sc.wide, len(y), z)
	var dot float64
	for i, v := range y {
		dot += float64(v) * z[i]
	}
	return dot
}
