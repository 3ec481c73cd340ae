package foldin

import (
	"fmt"

	"marquee/internal/vec"
)

// gatherRows is how many of a row's factors are gathered at once. A row of no more is gathered once for all steps.
const gatherRows = 512

// hotFloats is how many numbers of gathered rows are multiplied from both sides before the next: what stays in the first-level cache.
const hotFloats = 4096

// conjugate is the working memory of Improve.
type conjugate struct {
	diag, precond, x, r, z, p, ap []float32
	rows, weight, pull, score     []float32
}

func (c *conjugate) size(pad, n int) {
	if c.diag == nil {
		for _, v := range []*[]float32{&c.diag, &c.precond, &c.x, &c.r, &c.z, &c.p, &c.ap} {
			*v = make([]float32, pad)
		}
		c.rows, c.score = make([]float32, gatherRows*pad), make([]float32, gatherRows)
	}
	if cap(c.weight) < n {
		c.weight, c.pull = make([]float32, n+n/2), make([]float32, n+n/2)
	}
	c.weight, c.pull = c.weight[:n], c.pull[:n]
}

// Improve takes steps conjugate-gradient steps on the row's normal equations from where dst is (Hestenes and Stiefel 1952; for ALS
// Takács, Pilászy and Tikk 2011), and writes where they lead to dst. The preconditioner is the shared diagonal with the part that the
// row's interactions would have were they titles like any: in this basis most of the normal matrix. Errors wrap ErrInput or
// ErrSingular.
func (s *Rotated) Improve(dst []float32, cols []uint32, strength []float32, steps int, w *Work) error {
	if err := s.primal.check(cols, strength); err != nil {
		return err
	}
	if !anyPositive(strength) {
		clear(dst)
		return nil
	}
	c := &w.cg
	c.size(s.pad, len(cols))
	s.shared(c, cols, strength)
	copy(c.x, dst)
	clear(c.x[len(dst):])
	s.residual(c, cols)
	for j, v := range c.r {
		c.z[j] = v * c.precond[j]
	}
	copy(c.p, c.z)
	rz := vec.Dot(c.r, c.z)
	for range steps {
		if rz <= 0 {
			break
		}
		s.multiply(c, cols)
		curvature := vec.Dot(c.p, c.ap)
		if !(curvature > 0) {
			break
		}
		alpha := rz / curvature
		vec.Axpy(alpha, c.p, c.x)
		vec.Axpy(-alpha, c.ap, c.r)
		for j, v := range c.r {
			c.z[j] = v * c.precond[j]
		}
		next := vec.Dot(c.r, c.z)
		beta := next / rz
		for j, v := range c.z {
			c.p[j] = v + beta*c.p[j]
		}
		rz = next
	}
	return s.take(dst, c.x, len(cols))
}

func (s *Rotated) take(dst, x []float32, n int) error {
	for _, v := range x[:len(dst)] {
		if v-v != 0 {
			return fmt.Errorf("%w: the solution of a row of %d interactions is not finite; scale strengths or alpha down, or raise regularization", ErrSingular, n)
		}
	}
	copy(dst, x)
	return nil
}

// shared sets weights, the shared diagonal and the preconditioner.
func (s *Rotated) shared(c *conjugate, cols []uint32, strength []float32) {
	var sum float64
	for k, v := range strength {
		weight, pull := s.params.Cell(v)
		c.weight[k], c.pull[k] = float32(weight), float32(pull)
		sum += weight
	}
	reg := s.params.Reg(len(cols), s.factors.Rows)
	mean := sum / float64(s.factors.Rows)
	for j, v := range s.values {
		d := s.params.Unobserved*v + reg
		c.diag[j] = float32(d)
		c.precond[j] = 0
		if d += mean * v; d > 0 {
			c.precond[j] = float32(1 / d)
		}
	}
}

// gather returns the factors of cols, packed at row at of c.rows.
func (s *Rotated) gather(c *conjugate, at int, cols []uint32) []float32 {
	rows := c.rows[at*s.pad : (at+len(cols))*s.pad]
	for k, col := range cols {
		copy(rows[k*s.pad:(k+1)*s.pad], s.factors.Data[int(col)*s.factors.Stride:])
	}
	return rows
}

// residual sets c.r to the right-hand side less the normal matrix times c.x, and leaves the row gathered if it is short.
func (s *Rotated) residual(c *conjugate, cols []uint32) {
	for j, v := range c.x {
		c.r[j] = -c.diag[j] * v
	}
	hot := max(hotFloats/s.pad, 4)
	for lo := 0; lo < len(cols); lo += hot {
		part := cols[lo:min(lo+hot, len(cols))]
		score := c.score[:len(part)]
		// Before the copy: this fetches rows ahead of their use. check has seen that every column is in range.
		vec.GatherDot(score, s.factors.Data[:s.factors.Rows*s.pad], c.x, part)
		at := 0
		if len(cols) <= gatherRows {
			at = lo
		}
		rows := s.gather(c, at, part)
		for k, v := range score {
			score[k] = c.pull[lo+k] - c.weight[lo+k]*v
		}
		vec.GemvT(c.r, rows, score)
	}
}

// multiply sets c.ap to the normal matrix times c.p.
func (s *Rotated) multiply(c *conjugate, cols []uint32) {
	for j, v := range c.p {
		c.ap[j] = c.diag[j] * v
	}
	hot := max(hotFloats/s.pad, 4)
	for lo := 0; lo < len(cols); lo += hot {
		part := cols[lo:min(lo+hot, len(cols))]
		score := c.score[:len(part)]
		var rows []float32
		if len(cols) <= gatherRows {
			rows = c.rows[lo*s.pad : (lo+len(part))*s.pad]
		} else {
			rows = s.gather(c, 0, part)
		}
		vec.Gemv(score, rows, c.p)
		for k := range score {
			score[k] *= c.weight[lo+k]
		}
		vec.GemvT(c.ap, rows, score)
	}
}
