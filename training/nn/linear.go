package nn

import (
	"math/rand/v2"

	"marquee/internal/vec"
)

// Linear is y = x W + b, W being in x out.
type Linear struct {
	In, Out      int
	Weight, Bias *Param // Bias may be nil

	partial []float32
}

// NewLinear returns a layer with Glorot weights and no bias yet but zeros.
func NewLinear(name string, in, out int, rng *rand.Rand) *Linear {
	l := &Linear{In: in, Out: out, Weight: NewParam(name+".weight", in, out), Bias: NewParam(name+".bias", out)}
	l.Weight.Glorot(rng)
	return l
}

// Params are the layer's.
func (l *Linear) Params() []*Param {
	if l.Bias == nil {
		return []*Param{l.Weight}
	}
	return []*Param{l.Weight, l.Bias}
}

// Forward sets y, rows x Out.
func (l *Linear) Forward(t *Team, y, x []float32, rows int) {
	beta := float32(0)
	if l.Bias != nil {
		beta = 1
		for r := range rows {
			copy(y[r*l.Out:(r+1)*l.Out], l.Bias.Value)
		}
	}
	t.Mul(rows, l.Out, l.In, 1, dense(x, l.In), dense(l.Weight.Value, l.Out), beta, y, l.Out)
}

// Backward adds to the parameters' gradients and sets dx, which may be nil. x is what Forward was given.
func (l *Linear) Backward(t *Team, dx, x, dy []float32, rows int) {
	t.Mul(l.In, l.Out, rows, 1, transposed(x, l.In), dense(dy, l.Out), 1, l.Weight.Grad, l.Out)
	if l.Bias != nil {
		l.partial = sumRows(t, l.Bias.Grad, dy, rows, l.partial)
	}
	if dx != nil {
		t.Mul(rows, l.In, l.Out, 1, dense(dy, l.Out), transposed(l.Weight.Value, l.Out), 0, dx, l.In)
	}
}

// sumGrain is the number of rows of a partial sum.
const sumGrain = 512

// sumRows adds the rows of x to sum, by pieces whose sums are added in order. partial is scratch, returned for the next time.
func sumRows(t *Team, sum, x []float32, rows int, partial []float32) []float32 {
	d := len(sum)
	pieces := (rows + sumGrain - 1) / sumGrain
	partial = grow(partial, pieces*d)
	t.Each(pieces, func(_, piece int) {
		out := partial[piece*d : (piece+1)*d]
		clear(out)
		for r := piece * sumGrain; r < min((piece+1)*sumGrain, rows); r++ {
			vec.Axpy(1, x[r*d:(r+1)*d], out)
		}
	})
	for piece := range pieces {
		vec.Axpy(1, partial[piece*d:(piece+1)*d], sum)
	}
	return partial
}
