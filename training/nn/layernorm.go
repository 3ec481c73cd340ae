package nn

import (
	"math"

	"marquee/internal/vec"
)

// LayerNorm is y = (x - mean) / sqrt(variance + Epsilon) * gain + bias over each row (Ba, Kiros and Hinton 2016).
type LayerNorm struct {
	Dim        int
	Epsilon    float32
	Gain, Bias *Param

	mean, inverse []float32 // of the last Forward's rows
	partial       []float32
}

// NewLayerNorm returns a layer with gains of 1 and biases of 0.
func NewLayerNorm(name string, dim int) *LayerNorm {
	l := &LayerNorm{Dim: dim, Epsilon: 1e-8, Gain: NewParam(name+".gain", dim), Bias: NewParam(name+".bias", dim)}
	l.Gain.Fill(1)
	return l
}

// Params are the layer's.
func (l *LayerNorm) Params() []*Param { return []*Param{l.Gain, l.Bias} }

// rowGrain is the number of rows of a piece of row-by-row work.
const rowGrain = 128

// Forward sets y, rows x Dim.
func (l *LayerNorm) Forward(t *Team, y, x []float32, rows int) {
	d := l.Dim
	l.mean, l.inverse = grow(l.mean, rows), grow(l.inverse, rows)
	gain, bias := l.Gain.Value[:d], l.Bias.Value[:d]
	t.Rows(rows, rowGrain, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			in, out := x[r*d:(r+1)*d], y[r*d:(r+1)*d]
			var sum float32
			for _, v := range in {
				sum += v
			}
			mean := sum / float32(d)
			var square float32
			for j, v := range in {
				v -= mean
				out[j] = v
				square += v * v
			}
			inverse := 1 / float32(math.Sqrt(float64(square/float32(d)+l.Epsilon)))
			for j, g := range gain {
				out[j] = out[j]*inverse*g + bias[j]
			}
			l.mean[r], l.inverse[r] = mean, inverse
		}
	})
}

// Backward adds to the parameters' gradients and adds the input's gradient to dx. x is what Forward was given.
func (l *LayerNorm) Backward(t *Team, dx, x, dy []float32, rows int) {
	d := l.Dim
	pieces := (rows + rowGrain - 1) / rowGrain
	l.partial = grow(l.partial, pieces*2*d)
	gain := l.Gain.Value[:d]
	t.Each(pieces, func(_, piece int) {
		dGain, dBias := l.partial[piece*2*d:piece*2*d+d], l.partial[piece*2*d+d:(piece+1)*2*d]
		clear(dGain)
		clear(dBias)
		for r := piece * rowGrain; r < min((piece+1)*rowGrain, rows); r++ {
			in, grad, out := x[r*d:(r+1)*d], dy[r*d:(r+1)*d], dx[r*d:(r+1)*d]
			mean, inverse := l.mean[r], l.inverse[r]
			// With n the normalised row and g the gradient times the gain: dx = (g - mean(g) - n mean(g n)) / deviation.
			var sumG, sumGN float32
			for j, v := range in {
				n := (v - mean) * inverse
				dGain[j] += grad[j] * n
				g := grad[j] * gain[j]
				sumG += g
				sumGN += g * n
			}
			vec.Axpy(1, grad, dBias)
			sumG /= float32(d)
			sumGN /= float32(d)
			for j, v := range in {
				n := (v - mean) * inverse
				out[j] += (grad[j]*gain[j] - sumG - n*sumGN) * inverse
			}
		}
	})
	for piece := range pieces {
		vec.Axpy(1, l.partial[piece*2*d:piece*2*d+d], l.Gain.Grad)
		vec.Axpy(1, l.partial[piece*2*d+d:(piece+1)*2*d], l.Bias.Grad)
	}
}
