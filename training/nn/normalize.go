package nn

import (
	"math"

	"marquee/internal/vec"
)

// normFloor bounds the length a row is divided by.
const normFloor = 1e-12

// Normalize sets y to the rows of x divided by their lengths, which it returns in norms; a row of zeros stays one. y may be x.
func Normalize(t *Team, y, x, norms []float32, rows, dim int) {
	t.Rows(rows, rowGrain, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			in := x[r*dim : (r+1)*dim]
			n := max(float32(math.Sqrt(float64(vec.Dot(in, in)))), normFloor)
			norms[r] = n
			out := y[r*dim : (r+1)*dim]
			copy(out, in)
			vec.Scale(1/n, out)
		}
	})
}

// NormalizeBackward sets dx, which may be dy, from the rows' gradients and what Normalize returned: dx = (dy - y (y . dy)) / norm.
func NormalizeBackward(t *Team, dx, y, dy, norms []float32, rows, dim int) {
	t.Rows(rows, rowGrain, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			unit, grad, out := y[r*dim:(r+1)*dim], dy[r*dim:(r+1)*dim], dx[r*dim:(r+1)*dim]
			along := vec.Dot(unit, grad)
			inverse := 1 / norms[r]
			for j, u := range unit {
				out[j] = (grad[j] - along*u) * inverse
			}
		}
	})
}
