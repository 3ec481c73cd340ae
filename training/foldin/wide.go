package foldin

import (
	"fmt"
	"math"
)

// factorWide redoes in float64 a row whose normal matrix was not positive definite in float32, as happens where
// regularisation is tiny beside the weights. It leaves the factor in sc.wide and the solution in sc.rhs.
func (s *Solver) factorWide(cols []uint32, strength []float32, sc *Scratch) error {
	d := s.factors.Dim
	if cap(sc.wide) < d*d {
		sc.wide = make([]float64, d*d)
	}
	a := sc.wide[:d*d]
	sc.wide = sc.wide[:0]
	b := make([]float64, d)
	reg := s.params.Reg(len(cols), s.factors.Rows)
	for i, g := range s.gram {
		a[i] = s.params.Unobserved * g
	}
	for i := range d {
		a[i*d+i] += reg
	}
	for k, c := range cols {
		w, pull := s.params.Cell(strength[k])
		y := s.factors.Row(int(c))
		for i, v := range y {
			b[i] += pull * float64(v)
			wv := w * float64(v)
			row := a[i*d : i*d+d]
			for j, u := range y {
				row[j] += wv * float64(u)
			}
		}
	}
	if !cholWide(a, d) {
		return fmt.Errorf("%w for a row of %d interactions and regularisation %g: raise regularization or unobserved_weight",
			ErrSingular, len(cols), reg)
	}
	sc.wide = a
	backSubstitute(a, d, b)
	for i, v := range b {
		sc.rhs[i] = float32(v)
	}
	return nil
}

// cholWide factors a in place into L L^T (lower triangle) and reports whether it could. A pivot below rounding error of its
// diagonal counts as zero: dividing by it would return noise.
func cholWide(a []float64, d int) bool {
	for j := range d {
		diag := a[j*d+j]
		p := diag
		for k := range j {
			p -= a[j*d+k] * a[j*d+k]
		}
		if !(p > diag*1e-13*float64(d)) || math.IsInf(p, 0) {
			return false
		}
		root := math.Sqrt(p)
		a[j*d+j] = root
		for i := j + 1; i < d; i++ {
			v := a[i*d+j]
			for k := range j {
				v -= a[i*d+k] * a[j*d+k]
			}
			a[i*d+j] = v / root
		}
	}
	return true
}

// backSubstitute solves L L^T x = b in place of b.
func backSubstitute(l []float64, d int, b []float64) {
	for i := range d {
		for k := range i {
			b[i] -= l[i*d+k] * b[k]
		}
		b[i] /= l[i*d+i]
	}
	for i := d - 1; i >= 0; i-- {
		for k := i + 1; k < d; k++ {
			b[i] -= l[k*d+i] * b[k]
		}
		b[i] /= l[i*d+i]
	}
}

// explainWide is Explain for a row that was factored in float64. The intermediate vector is large in the directions
// that the row says nothing of, so it must not be rounded before the products.
func (s *Solver) explainWide(dst, target []float32, cols []uint32, strength []float32, sc *Scratch) {
	z := make([]float64, len(target))
	for i, v := range target {
		z[i] = float64(v)
	}
	backSubstitute(sc.wide, len(target), z)
	for k, c := range cols {
		_, pull := s.params.Cell(strength[k])
		var dot float64
		for j, v := range s.factors.Row(int(c)) {
			dot += float64(v) * z[j]
		}
		dst[k] = float32(pull * dot)
	}
}
