package foldin

import (
	"fmt"

	"marquee/internal/vec"
)

// Removal writes to dst (length Dim) by how much the row's vector would be shorter without an interaction: the score of any title would
// be lower by the product of dst with the title's factors, but for the little less regularisation of a shorter row. It is
//
//	(pull - w*y.x) / (1 - w * y^T A^-1 y) * A^-1 y
//
// from the Sherman-Morrison formula. Where the other interactions say the same, it is less than the interaction's part in a score
// (Explain), and where they say more than the interaction itself, which then holds scores down, it points the other way.
//
// x is the row's vector just solved with sc, which included the interaction. One that pulls at nothing gives zero.
func (s *Solver) Removal(dst, x []float32, col uint32, strength float32, sc *Scratch) error {
	if len(x) != s.factors.Dim || len(dst) != len(x) {
		return fmt.Errorf("%w: vectors of length %d and %d, want %d", ErrInput, len(dst), len(x), s.factors.Dim)
	}
	if err := s.check([]uint32{col}, []float32{strength}); err != nil {
		return err
	}
	clear(dst)
	w, pull := s.params.Cell(strength)
	if sc.idle || w == 0 || pull == 0 {
		return nil
	}
	y := s.factors.Row(int(col))
	if len(sc.wide) > 0 {
		z := make([]float64, len(y))
		for i, v := range y {
			z[i] = float64(v)
		}
		backSubstitute(sc.wide, len(y), z)
		for i, v := range z {
			sc.z[i] = float32(v)
		}
	} else {
		copy(sc.z, y)
		clear(sc.z[len(y):])
		vec.CholeskySolve(sc.a, s.pad, sc.inv, sc.z)
	}
	z := sc.z[:len(y)]
	// Rounding may bring the leverage to 1, where without the interaction nothing is known.
	left := max(1-w*float64(vec.Dot(y, z)), 1e-3)
	vec.Axpy(float32((pull-w*float64(vec.Dot(y, x)))/left), z, dst)
	return nil
}
