package foldin

import (
	"fmt"
	"math"

	"marquee/internal/vec"
)

// Rotated solves rows against factors in a basis in which their Gramian is diagonal. It is read-only after NewRotated and
// safe for concurrent use, each goroutine with work of its own.
type Rotated struct {
	params  Params
	factors Factors
	values  []float32 // the Gramian's diagonal, padded with 0
	pad     int
	primal  *Solver
	zero    []float32
	// scales are by number of interactions the diagonal's inverse square root, for rows that are solved in the dual.
	scales [][]float32
}

// dualShare is the number of interactions, as a share of the dimension, up to which the dual is solved: there, with n
// interactions, a row takes n^2 d + n^3/3 operations in place of n d^2 + d^3/3.
const dualShare = 0.8

// NewRotated returns a solver over f, whose Gramian is diagonal with r's values: r has been applied to f.
func NewRotated(f Factors, r *Rotation, p Params) (*Rotated, error) {
	primal, err := NewSolver(f, r.Gram(), p)
	if err != nil {
		return nil, err
	}
	if f.Stride != primal.pad || len(r.Values) != f.Dim {
		return nil, fmt.Errorf("factors of dimension %d and stride %d, want %d and %d", f.Dim, f.Stride, len(r.Values), primal.pad)
	}
	s := &Rotated{params: p, factors: f, values: make([]float32, primal.pad), pad: primal.pad, primal: primal, zero: make([]float32, primal.pad)}
	for j, v := range r.Values {
		s.values[j] = float32(v)
	}
	for n := range int(dualShare*float64(f.Dim)) + 1 {
		scale := s.scale(r.Values, n)
		if scale == nil && n > 0 {
			break
		}
		s.scales = append(s.scales, scale)
	}
	return s, nil
}

// scale is 1/sqrt of the diagonal that a row of n interactions adds its own part to; nil where float32 cannot hold it.
func (s *Rotated) scale(values []float64, n int) []float32 {
	reg := s.params.Reg(n, s.factors.Rows)
	scale := make([]float32, s.pad)
	for j, v := range values {
		f := 1 / math.Sqrt(s.params.Unobserved*v+reg)
		if !(f < 1e15) {
			return nil
		}
		scale[j] = float32(f)
	}
	return scale
}

// Work is the working memory of one goroutine.
type Work struct {
	*Scratch
	dual, kernel, target []float32 // of the dual: the operand, dim x n, n x n, and the right-hand side
	cg                   conjugate
	block                blockWork
}

// NewWork returns working memory for s.
func (s *Rotated) NewWork() *Work {
	n := vec.SyrkPad(len(s.scales))
	return &Work{
		Scratch: s.primal.NewScratch(), dual: make([]float32, s.pad*n), kernel: make([]float32, n*n), target: make([]float32, n),
	}
}

// Solve writes to dst the vector of a row, as Solver.Solve does: exactly, through a Cholesky factorization. Rows of few
// interactions are solved in the dual: the factors being scaled by the square root of the shared diagonal's inverse to P, the
// solution is P^T z with (W^-1 + P P^T) z = target.
func (s *Rotated) Solve(dst []float32, cols []uint32, strength []float32, w *Work) error {
	if len(cols) == 0 || len(cols) >= len(s.scales) {
		return s.primal.Solve(dst, cols, strength, w.Scratch)
	}
	if err := s.primal.check(cols, strength); err != nil {
		return err
	}
	if !anyPositive(strength) {
		clear(dst)
		return nil
	}
	if !s.solveDual(dst, cols, strength, w) {
		return s.primal.Solve(dst, cols, strength, w.Scratch)
	}
	return nil
}

// solveDual reports whether float32 could be relied on.
func (s *Rotated) solveDual(dst []float32, cols []uint32, strength []float32, w *Work) bool {
	n := vec.SyrkPad(len(cols))
	scale := s.scales[len(cols)]
	kernel, target, p := w.kernel[:n*n], w.target[:n], w.dual[:s.pad*n]
	clear(kernel)
	clear(target)
	for k := len(cols); k < n; k++ {
		kernel[k*n+k] = 1
	}
	for g := 0; g < n; g += vec.Group {
		var rows [vec.Group][]float32
		for i := range rows {
			rows[i] = s.zero
			k := g + i
			if k >= len(cols) {
				continue
			}
			weight, pull := s.params.Cell(strength[k])
			if weight == 0 {
				kernel[k*n+k] = 1
				continue
			}
			kernel[k*n+k], target[k] = float32(1/weight), float32(pull/weight)
			rows[i] = s.factors.Data[int(cols[k])*s.factors.Stride:][:s.pad]
		}
		vec.PackTransposed(p[g:], n, &rows, scale)
	}
	vec.Syrk(kernel, p, s.pad, n)
	if !reliable(kernel, n, w.inv, len(cols)) {
		return false
	}
	vec.CholeskySolve(kernel, n, w.inv, target)
	x := w.rhs
	vec.Gemv(x, p, target)
	for j := range dst {
		x[j] *= scale[j]
		if x[j]-x[j] != 0 {
			return false
		}
	}
	copy(dst, x)
	return true
}

// reliable factors a, of side n, in float32 and reports whether the factor's first dim rows can be relied on.
func reliable(a []float32, n int, inv []float32, dim int) bool {
	var largest, root float32
	for i := range dim {
		largest = max(largest, a[i*n+i])
	}
	if !vec.Cholesky(a, n, inv) {
		return false
	}
	for _, v := range inv[:dim] {
		root = max(root, v)
	}
	return lostDigits*largest*root*root < 1
}
