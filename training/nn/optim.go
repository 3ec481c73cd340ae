package nn

import (
	"errors"
	"fmt"
	"math"

	"marquee/internal/vec"
)

// Optimizer changes parameters by their gradients.
type Optimizer interface {
	// Step takes one step of every parameter and clears the gradients. Of a sparse parameter only the touched rows change.
	Step(t *Team, params []*Param)
	// Steps is the number of steps taken; SetSteps resumes after so many.
	Steps() int
	SetSteps(n int)
}

// Adam is the method of Kingma and Ba (2015) with bias-corrected moments. With g the gradient plus Decay times the value, step n is
//
//	m = Beta1 m + (1-Beta1) g;  v = Beta2 v + (1-Beta2) g^2
//	value -= Rate (m / (1-Beta1^n)) / (sqrt(v / (1-Beta2^n)) + Epsilon)
//
// A sparse parameter's rows are moved lazily: a row that was not touched keeps its moments, and n counts all steps (as PyTorch's SparseAdam).
type Adam struct {
	Rate, Beta1, Beta2, Epsilon, Decay float64

	steps int
}

// NewAdam returns the customary parameters with that rate.
func NewAdam(rate float64) *Adam { return &Adam{Rate: rate, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8} }

// Validate reports every field out of its range.
func (a *Adam) Validate() error {
	var errs []error
	if !(a.Rate > 0) || math.IsInf(a.Rate, 0) {
		errs = append(errs, fmt.Errorf("rate must be above 0, is %g", a.Rate))
	}
	for name, b := range map[string]float64{"beta1": a.Beta1, "beta2": a.Beta2} {
		if !(b >= 0 && b < 1) {
			errs = append(errs, fmt.Errorf("%s must be at least 0 and below 1, is %g", name, b))
		}
	}
	if !(a.Epsilon > 0) || !(a.Decay >= 0) {
		errs = append(errs, fmt.Errorf("epsilon must be above 0 and decay not below, are %g and %g", a.Epsilon, a.Decay))
	}
	return errors.Join(errs...)
}

// Steps is the number of steps taken.
func (a *Adam) Steps() int { return a.steps }

// SetSteps resumes after so many.
func (a *Adam) SetSteps(n int) { a.steps = n }

// Step takes one.
func (a *Adam) Step(t *Team, params []*Param) {
	a.steps++
	n := float64(a.steps)
	c1, c2 := 1-math.Pow(a.Beta1, n), math.Sqrt(1-math.Pow(a.Beta2, n))
	s := &vec.AdamStep{
		Keep1: float32(a.Beta1), Take1: float32(1 - a.Beta1), Keep2: float32(a.Beta2), Take2: float32(1 - a.Beta2),
		Rate: float32(a.Rate * c2 / c1), Epsilon: float32(a.Epsilon * c2), Decay: float32(a.Decay),
	}
	for _, p := range params {
		p.needState(2)
		m, v := p.state[0], p.state[1]
		p.each(t, func(lo, hi int) { vec.Adam(p.Value[lo:hi], p.Grad[lo:hi], m[lo:hi], v[lo:hi], s) })
	}
}

// Adagrad is the method of Duchi, Hazan and Singer (2011): v += g^2; value -= Rate g / (sqrt(v) + Epsilon). Rows that were not touched have
// no gradient and so do not change, sparse or not.
type Adagrad struct {
	Rate, Epsilon float64

	steps int
}

// NewAdagrad returns the customary parameters with that rate.
func NewAdagrad(rate float64) *Adagrad { return &Adagrad{Rate: rate, Epsilon: 1e-10} }

// Steps is the number of steps taken.
func (a *Adagrad) Steps() int { return a.steps }

// SetSteps resumes after so many.
func (a *Adagrad) SetSteps(n int) { a.steps = n }

// Step takes one.
func (a *Adagrad) Step(t *Team, params []*Param) {
	a.steps++
	rate, epsilon := float32(a.Rate), float32(a.Epsilon)
	for _, p := range params {
		p.needState(1)
		v := p.state[0]
		p.each(t, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				g := p.Grad[i]
				v[i] += g * g
				p.Value[i] -= rate * g / (float32(math.Sqrt(float64(v[i]))) + epsilon)
				p.Grad[i] = 0
			}
		})
	}
}

func (p *Param) needState(n int) {
	for i := range n {
		if p.state[i] == nil {
			p.state[i] = vec.Large(len(p.Value))
		}
	}
}

// each calls f for the parts of the parameter that a step changes, and begins a new step.
func (p *Param) each(t *Team, f func(lo, hi int)) {
	if p.Sparse {
		d := p.Dim()
		t.Rows(len(p.rows), rowGrain, func(_, lo, hi int) {
			for _, r := range p.rows[lo:hi] {
				f(int(r)*d, (int(r)+1)*d)
			}
		})
	} else {
		t.Rows(len(p.Value), activationGrain, func(_, lo, hi int) { f(lo, hi) })
	}
	p.forget()
}
