package foldin

import (
	"math"

	"marquee/internal/vec"
)

// BlockSize is how many coordinates are solved for together by Sweep.
const BlockSize = 64

// blockWork is the working memory of Sweep beside conjugate's.
type blockWork struct {
	a, inv, rhs, packed, score []float32
}

// Sweep solves for BlockSize coordinates of the row after the other, the rest of dst held, from where dst is (Rendle, Krichene, Zhang and
// Koren, "iALS++: Speeding up Matrix Factorization with Subspace Optimization", 2021). The basis makes the blocks' coupling
// through the shared part vanish. A sweep never raises the loss. Errors wrap ErrInput or ErrSingular.
func (s *Rotated) Sweep(dst []float32, cols []uint32, strength []float32, w *Work) error {
	if err := s.primal.check(cols, strength); err != nil {
		return err
	}
	if !anyPositive(strength) {
		clear(dst)
		return nil
	}
	c, b := &w.cg, &w.block
	c.size(s.pad, len(cols))
	s.shared(c, cols, strength)
	copy(c.x, dst)
	clear(c.x[len(dst):])
	s.sizeBlocks(b, len(cols))
	for k, col := range cols {
		b.score[k] = vec.Dot(c.x, s.factors.Data[int(col)*s.factors.Stride:][:s.pad])
	}
	for lo := 0; lo < s.pad; lo += BlockSize {
		hi := min(lo+BlockSize, s.pad)
		if !s.block(c, b, cols, lo, hi) {
			// float32 cannot: the row is solved exactly, in float64 where need be.
			return s.primal.Solve(dst, cols, strength, w.Scratch)
		}
	}
	return s.take(dst, c.x, len(cols))
}

func (s *Rotated) sizeBlocks(b *blockWork, n int) {
	if b.a == nil {
		b.a, b.inv = make([]float32, BlockSize*BlockSize), make([]float32, BlockSize)
		b.rhs, b.packed = make([]float32, BlockSize), make([]float32, packRows*BlockSize)
	}
	if cap(b.score) < n {
		b.score = make([]float32, n+n/2)
	}
	b.score = b.score[:n]
}

// block solves for the change of coordinates lo to hi and reports whether float32 could.
func (s *Rotated) block(c *conjugate, b *blockWork, cols []uint32, lo, hi int) bool {
	size := hi - lo
	a, rhs := b.a[:size*size], b.rhs[:size]
	clear(a)
	for j := range size {
		a[j*size+j] = c.diag[lo+j]
		if lo+j >= s.factors.Dim {
			a[j*size+j] = 1
		}
		rhs[j] = -c.diag[lo+j] * c.x[lo+j]
	}
	part := func(col uint32) []float32 { return s.factors.Data[int(col)*s.factors.Stride+lo:][:size] }
	packed := 0
	for k, col := range cols {
		if c.weight[k] == 0 {
			continue
		}
		root := float32(math.Sqrt(float64(c.weight[k])))
		vec.PackScaled(b.packed[packed*size:(packed+1)*size], rhs, part(col), root, (c.pull[k]-c.weight[k]*b.score[k])/root)
		if packed++; packed == packRows {
			vec.Syrk(a, b.packed, packed, size)
			packed = 0
		}
	}
	vec.Syrk(a, b.packed, packed, size)
	if !reliable(a, size, b.inv, min(size, s.factors.Dim-lo)) {
		return false
	}
	vec.CholeskySolve(a, size, b.inv, rhs)
	for k, col := range cols {
		b.score[k] += vec.Dot(part(col), rhs)
	}
	vec.Axpy(1, rhs, c.x[lo:hi])
	return true
}
