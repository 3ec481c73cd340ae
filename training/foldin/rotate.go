package foldin

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"gonum.org/v1/gonum/mat"

	"marquee/internal/vec"
)

// Rotation is an orthogonal change of basis under which a Gramian is diagonal. Applied to both sides it leaves every score and the
// loss as they are. In the new basis the part of a row's normal matrix that all rows share is a diagonal: a matrix-free solver
// multiplies by it in time d rather than d^2, and it has an inverse for nothing.
type Rotation struct {
	// Values are the diagonal: the Gramian's eigenvalues, none below 0.
	Values []float64
	basis  []float32 // column j is eigenvector j; pad x pad
	pad    int
}

// ErrGramian is a Gramian that is not finite.
var ErrGramian = errors.New("the gramian has no eigenvalues")

// Diagonalise returns the rotation that makes the dim x dim Gramian diagonal.
func Diagonalise(gram []float64, dim int) (*Rotation, error) {
	for i, v := range gram {
		if v-v != 0 {
			return nil, fmt.Errorf("%w: it is %g at (%d, %d)", ErrGramian, v, i/dim, i%dim)
		}
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(mat.NewSymDense(dim, gram), true) {
		return nil, ErrGramian
	}
	r := &Rotation{Values: eigen.Values(nil), pad: vec.SyrkPad(dim)}
	var q mat.Dense
	eigen.VectorsTo(&q)
	r.basis = make([]float32, r.pad*r.pad)
	for i := range dim {
		r.Values[i] = max(r.Values[i], 0) // Below 0 by rounding alone.
		for j := range dim {
			r.basis[i*r.pad+j] = float32(q.At(i, j))
		}
	}
	return r, nil
}

// Gram returns the rotated Gramian in full.
func (r *Rotation) Gram() []float64 {
	d := len(r.Values)
	g := make([]float64, d*d)
	for i, v := range r.Values {
		g[i*d+i] = v
	}
	return g
}

// rotateRows is how many rows are rotated at once: their numbers fill whole cache lines of the transposed operand.
const rotateRows = 16

// Apply rotates f in place by up to workers goroutines; f's stride is the padded dimension. The result does not depend on workers.
func (r *Rotation) Apply(f Factors, workers int) error {
	if f.Dim != len(r.Values) || f.Stride != r.pad {
		return fmt.Errorf("factors of dimension %d and stride %d under a rotation of %d and %d", f.Dim, f.Stride, len(r.Values), r.pad)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	blocks := (f.Rows + rotateRows - 1) / rotateRows
	for range min(max(workers, 1), blocks) {
		wg.Go(func() {
			ones, zero := make([]float32, r.pad), make([]float32, r.pad)
			for i := range ones {
				ones[i] = 1
			}
			at := make([]float32, r.pad*r.pad)
			out := make([]float32, rotateRows*r.pad)
			for i := next.Add(1) - 1; i < int64(blocks); i = next.Add(1) - 1 {
				lo := int(i) * rotateRows
				r.applyBlock(f, lo, min(lo+rotateRows, f.Rows), ones, zero, at, out)
			}
		})
	}
	wg.Wait()
	return nil
}

func (r *Rotation) applyBlock(f Factors, lo, hi int, ones, zero, at, out []float32) {
	for g := 0; g < rotateRows; g += vec.Group {
		var rows [vec.Group][]float32
		for k := range rows {
			rows[k] = zero
			if i := lo + g + k; i < hi {
				rows[k] = f.Data[i*f.Stride : (i+1)*f.Stride]
			}
		}
		vec.PackTransposed(at[g:], r.pad, &rows, ones)
	}
	clear(out)
	vec.MulTransposed(out, at, r.basis, rotateRows, r.pad)
	copy(f.Data[lo*f.Stride:hi*f.Stride], out)
}
