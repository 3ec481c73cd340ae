package nn

import (
	"fmt"

	"marquee/internal/vec"
)

// Activation is a function of each number by itself.
type Activation string

// The activations: max(0, x), and x times the normal distribution function (Hendrycks and Gimpel 2016) in its form by tanh.
const (
	ReLU Activation = "relu"
	GELU Activation = "gelu"
)

// Validate refuses what is neither.
func (a Activation) Validate() error {
	if a != ReLU && a != GELU {
		return fmt.Errorf("activation must be %s or %s, is %q", ReLU, GELU, string(a))
	}
	return nil
}

const activationGrain = 1 << 14

// Forward sets y to the activations of x; y may be x for ReLU, whose Backward reads signs alone.
func (a Activation) Forward(t *Team, y, x []float32) {
	t.Rows(len(x), activationGrain, func(_, lo, hi int) {
		if a == GELU {
			geluForward(y[lo:hi], x[lo:hi])
			return
		}
		in, out := x[lo:hi], y[lo:hi]
		for i, v := range in {
			out[i] = max(v, 0)
		}
	})
}

// Backward sets dx, which may be dy, from the input (of ReLU, the output does as well).
func (a Activation) Backward(t *Team, dx, x, dy []float32) {
	t.Rows(len(x), activationGrain, func(_, lo, hi int) {
		if a == GELU {
			geluBackward(dx[lo:hi], x[lo:hi], dy[lo:hi])
			return
		}
		in, grad, out := x[lo:hi], dy[lo:hi], dx[lo:hi]
		for i, v := range in {
			g := grad[i]
			if v <= 0 {
				g = 0
			}
			out[i] = g
		}
	})
}

// GELU by tanh is x * s(2u) with s the logistic function and u = sqrt(2/pi) (x + 0.044715 x^3).
const (
	geluCubic = 0.044715
	geluScale = 1.5957691216057308 // 2 sqrt(2/pi)
)

// geluOdds sets buf to e^-2u, which the logistic function is made of.
func geluOdds(buf, x []float32) {
	for i, v := range x {
		buf[i] = -geluScale * (v + geluCubic*v*v*v)
	}
	vec.ExpShift(buf, buf, 0)
}

func geluForward(y, x []float32) {
	eachBlock(x, func(lo, hi int, buf []float32) {
		geluOdds(buf, x[lo:hi])
		for i, e := range buf {
			y[lo+i] = x[lo+i] / (1 + e)
		}
	})
}

func geluBackward(dx, x, dy []float32) {
	eachBlock(x, func(lo, hi int, buf []float32) {
		geluOdds(buf, x[lo:hi])
		for i, e := range buf {
			v, s := x[lo+i], 1/(1+e)
			slope := geluScale * (1 + 3*geluCubic*v*v)
			dx[lo+i] = dy[lo+i] * (s + v*s*(1-s)*slope)
		}
	})
}

// eachBlock cuts x into blocks with a buffer on the stack.
func eachBlock(x []float32, f func(lo, hi int, buf []float32)) {
	var buf [256]float32
	for lo := 0; lo < len(x); lo += len(buf) {
		hi := min(lo+len(buf), len(x))
		f(lo, hi, buf[:hi-lo])
	}
}
