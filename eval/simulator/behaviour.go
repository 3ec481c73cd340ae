package simulator

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/integrate/quad"
)

const (
	// SlateSize is how many titles a slate has.
	SlateSize = 20
	// playsPerSlate is how many of the titles clicked in a slate are played, the first ones.
	playsPerSlate = 3
	// reluctance is what stands between liking a title and wanting it now, in logits.
	reluctance = 1.3
	// whim is the standard deviation of how a play turns out, in logits.
	whim = 0.7
	// finished is the fraction from which on a playable counts as watched to its end.
	finished = 0.9
)

// Examination is the chance that a viewer notices the title at a 0-based rank: 1/sqrt(rank+1), the position bias of this world.
func Examination(rank int) float64 { return 1 / math.Sqrt(float64(rank+1)) }

// attraction is the chance that a noticed title is clicked.
func attraction(affinity float32) float64 { return sigmoid(float64(affinity) - reluctance) }

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// fraction is how much of a playable is watched: all but the credits with the logit's chance, else a part that grows with it.
func fraction(r *rand.Rand, logit float64) float64 {
	p := sigmoid(logit)
	if r.Float64() < p {
		return finished + (1-finished)*r.Float64()
	}
	return math.Min(finished, r.Float64()*(0.1+p))
}

// meanFraction is the expectation of fraction.
func meanFraction(logit float64) float64 {
	p := sigmoid(logit)
	part := (0.1 + p) / 2
	if most := 0.1 + p; most > finished {
		part = finished - finished*finished/(2*most)
	}
	return p*(1+finished)/2 + (1-p)*part
}

// quadrature integrates over a normal distribution: Gauss-Hermite, exact for polynomials up to degree 31.
type quadrature struct{ x, weight []float64 }

func newQuadrature() quadrature {
	const n = 16
	q := quadrature{make([]float64, n), make([]float64, n)}
	quad.Hermite{}.FixedLocations(q.x, q.weight, math.Inf(-1), math.Inf(1))
	for i := range q.x {
		q.x[i] *= math.Sqrt2
		q.weight[i] /= math.Sqrt(math.Pi)
	}
	return q
}

// mean is the expectation of f at mean + sd*Z.
func (q quadrature) mean(mean, sd float64, f func(float64) float64) float64 {
	sum := 0.0
	for i, x := range q.x {
		sum += q.weight[i] * f(mean+sd*x)
	}
	return sum
}
