package vec

import "math"

// ExpShift sets dst[i] to e^(x[i]-shift) and returns the sum. What is below the least normal float32 becomes 0, what is above the
// largest e^88. The relative error is below 3e-7. dst may be x.
func ExpShift(dst, x []float32, shift float32) float32 {
	if len(dst) != len(x) {
		panic("vec: ExpShift: lengths differ")
	}
	return expShift(dst, x, shift)
}

// expLeast is where e^x leaves the normal numbers, expMost where it nears the largest.
const (
	expLeast = -87.33654
	expMost  = 88
)

func expShiftGeneric(dst, x []float32, shift float32) float32 {
	var sum float32
	for i, v := range x {
		v -= shift
		switch {
		case v < expLeast:
			v = 0
		default:
			v = float32(math.Exp(float64(min(v, expMost))))
		}
		dst[i] = v
		sum += v
	}
	return sum
}

// Largest returns the largest of x, which is not empty. A NaN may be passed over.
func Largest(x []float32) float32 { return largest(x) }

func largestGeneric(x []float32) float32 {
	m := x[0]
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

// Scale multiplies x by s.
func Scale(s float32, x []float32) {
	for i := range x {
		x[i] *= s
	}
}

// AdamStep is what one step of Adam multiplies by.
type AdamStep struct {
	// Keep1 and Keep2 are the decay rates of the moments, Take1 and Take2 what is left of 1.
	Keep1, Take1, Keep2, Take2 float32
	// Rate and Epsilon are of the step, the corrections of the moments' bias within. Decay is the weight of the parameters in the gradient.
	Rate, Epsilon, Decay float32
}

// Adam takes a step: with g the gradient plus Decay*w, m = Keep1*m + Take1*g, v = Keep2*v + Take2*g^2, w -= Rate*m/(sqrt(v)+Epsilon). The
// four are of one length. It clears grad.
func Adam(w, grad, m, v []float32, s *AdamStep) {
	if len(grad) != len(w) || len(m) != len(w) || len(v) != len(w) {
		panic("vec: Adam: lengths differ")
	}
	n := adam(w, grad, m, v, s)
	for i := n; i < len(w); i++ {
		g := grad[i] + s.Decay*w[i]
		m[i] = s.Keep1*m[i] + s.Take1*g
		v[i] = s.Keep2*v[i] + s.Take2*g*g
		w[i] -= s.Rate * m[i] / (float32(math.Sqrt(float64(v[i]))) + s.Epsilon)
		grad[i] = 0
	}
}
