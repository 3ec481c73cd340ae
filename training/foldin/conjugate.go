package foldin

import (
	"fmt"

	"marquee/internal/vec"
)

// keptFloats is how many numbers of a row's factors are gathered once for all steps: at d=128 those of 16384 interactions, in 8 MiB. What a
// row has beyond is gathered at every step.
const keptFloats = 2 << 20

// hotFloats is how many numbers of gathered rows are multiplied from both sides before the next: what stays in the first-level cache.
const hotFloats = 4096

// nextFloats is how many numbers of the next row's factors are asked for while this row is worked on: a quarter of the second-level cache of
// the processors of today.
const nextFloats = 64 << 10

// converged is the share of the first residual's square at which steps end: beyond it float32 has nothing but noise to go by.
const converged = 1e-13

// conjugate is the working memory of Improve.
type conjugate struct {
	diag, precond, x, r, z, p, ap []float32
	kept, passing                 []float32 // gathered factors: those of all steps, and one block of those that are not kept
	weight, pull, score           []float32
	next                          []uint32 // columns still to be asked for
}

func (c *conjugate) size(pad, n int) {
	if c.diag == nil {
		for _, v := range []*[]float32{&c.diag, &c.precond, &c.x, &c.r, &c.z, &c.p, &c.ap} {
			*v = make([]float32, pad)
		}
		c.passing, c.score = make([]float32, hotRows(pad)*pad), make([]float32, hotRows(pad))
	}
	if cap(c.weight) < n {
		c.weight, c.pull = make([]float32, n+n/2), make([]float32, n+n/2)
	}
	c.weight, c.pull = c.weight[:n], c.pull[:n]
}

// sizeKept makes room for the factors of n interactions, as far as they are kept.
func (c *conjugate) sizeKept(pad, n int) {
	n = min(n, keptFloats/pad)
	if cap(c.kept) < n*pad {
		c.kept = vec.Large(min(n+n/2, keptFloats/pad) * pad)
	}
	c.kept = c.kept[:n*pad]
}

func hotRows(pad int) int { return max(hotFloats/pad, 4) }

// Next says which columns the row after the one given to Improve has: their factors are asked for in the meantime.
func (w *Work) Next(cols []uint32) { w.cg.next = cols }

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
	c.sizeKept(s.pad, len(cols))
	s.shared(c, cols, strength)
	copy(c.x, dst)
	clear(c.x[len(dst):])
	c.next = c.next[:min(len(c.next), nextFloats/s.pad)]
	share := len(c.next)/(steps+1) + 1
	s.residual(c, cols)
	s.prefetch(c, share)
	rz := vec.Advance(0, c.x, c.r, c.z, c.p, c.ap, c.precond)
	beta, enough := float32(0), rz*converged
	for range steps {
		if !(rz > enough) {
			break
		}
		vec.Direct(beta, c.p, c.ap, c.z, c.diag)
		s.multiply(c, cols)
		s.prefetch(c, share)
		curvature := vec.Dot(c.p, c.ap)
		if !(curvature > 0) {
			break
		}
		next := vec.Advance(rz/curvature, c.x, c.r, c.z, c.p, c.ap, c.precond)
		beta, rz = next/rz, next
	}
	c.next = nil
	return s.take(dst, c.x, len(cols))
}

// prefetch asks for the factors of up to n of the next row's columns.
func (s *Rotated) prefetch(c *conjugate, n int) {
	n = min(n, len(c.next))
	vec.PrefetchRows(s.factors.Data, s.factors.Stride, c.next[:n])
	c.next = c.next[n:]
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
	vec.Diagonal(c.diag, c.precond, s.values, float32(s.params.Unobserved), float32(reg), float32(sum/float64(s.factors.Rows)))
}

// residual gathers the row's factors and sets c.r to the right-hand side less the normal matrix times c.x. c.p and c.ap are cleared.
func (s *Rotated) residual(c *conjugate, cols []uint32) {
	clear(c.p)
	clear(c.ap)
	for j, v := range c.x {
		c.r[j] = -c.diag[j] * v
	}
	s.blocks(c, cols, func(at int, part []uint32, rows []float32) {
		score := c.score[:len(part)]
		// check has seen that every column is in range.
		vec.GatherCopy(score, rows, s.factors.Data[:s.factors.Rows*s.pad], c.x, part)
		weight, pull := c.weight[at:at+len(part)], c.pull[at:at+len(part)]
		for k, v := range score {
			score[k] = pull[k] - weight[k]*v
		}
		vec.GemvT(c.r, rows, score)
	})
}

// multiply adds to c.ap, which holds the diagonal's part, the rest of the normal matrix times c.p.
func (s *Rotated) multiply(c *conjugate, cols []uint32) {
	s.blocks(c, cols, func(at int, part []uint32, rows []float32) {
		score := c.score[:len(part)]
		if at < len(c.kept)/s.pad {
			vec.Gemv(score, rows, c.p)
		} else {
			vec.GatherCopy(score, rows, s.factors.Data[:s.factors.Rows*s.pad], c.p, part)
		}
		for k, w := range c.weight[at : at+len(part)] {
			score[k] *= w
		}
		vec.GemvT(c.ap, rows, score)
	})
}

// blocks calls f for the columns, as many at a time as stay in the first-level cache, with the place of the first and memory for their
// factors: the same at every step as far as they are kept.
func (s *Rotated) blocks(c *conjugate, cols []uint32, f func(at int, part []uint32, rows []float32)) {
	kept := len(c.kept) / s.pad
	for lo := 0; lo < len(cols); {
		hi, rows := min(lo+hotRows(s.pad), len(cols)), c.passing
		if lo < kept {
			hi = min(hi, kept)
			rows = c.kept[lo*s.pad:]
		}
		f(lo, cols[lo:hi], rows[:(hi-lo)*s.pad])
		lo = hi
	}
}
