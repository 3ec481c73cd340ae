package ranker

import (
	"cmp"
	"math"
	"slices"
)

// Calibration turns a head's log-odds into log-odds that can be believed: Slope * x + Intercept (Platt, Probabilistic Outputs for Support
// Vector Machines, 1999).
type Calibration struct {
	Slope     float32 `json:"slope"`
	Intercept float32 `json:"intercept"`
}

// same leaves log-odds as they are.
func same() Calibration { return Calibration{Slope: 1} }

// calibrate fits the two numbers to labels of 0 to 1 by Newton's method with step halving. Where the labels are all alike, or the odds
// are, only the intercept can be told, and a slope of 0 or below, which would turn the order round, is not believed.
func calibrate(odds, label []float32) Calibration {
	if len(odds) == 0 {
		return same()
	}
	a, b := 1.0, 0.0
	loss := platt(odds, label, a, b)
	for range 50 {
		var ga, gb, haa, hab, hbb float64
		for i, x := range odds {
			x := float64(x)
			p := 1 / (1 + math.Exp(-(a*x + b)))
			d, h := p-float64(label[i]), max(p*(1-p), 1e-12)
			ga, gb = ga+d*x, gb+d
			haa, hab, hbb = haa+h*x*x, hab+h*x, hbb+h
		}
		haa, hbb = haa+1e-6, hbb+1e-6
		det := haa*hbb - hab*hab
		if det <= 0 {
			break
		}
		da, db := (hbb*ga-hab*gb)/det, (haa*gb-hab*ga)/det
		step, better := 1.0, false
		for range 20 {
			if l := platt(odds, label, a-step*da, b-step*db); l < loss {
				better = loss-l > 1e-10*math.Abs(loss)
				a, b, loss = a-step*da, b-step*db, l
				break
			}
			step /= 2
		}
		if !better {
			break
		}
	}
	if !(a > 0) || math.IsInf(a, 0) || math.IsNaN(b) || math.IsInf(b, 0) {
		return same()
	}
	return Calibration{float32(a), float32(b)}
}

func platt(odds, label []float32, a, b float64) float64 {
	var s float64
	for i, x := range odds {
		z := a*float64(x) + b
		s += max(z, 0) + math.Log1p(math.Exp(-math.Abs(z))) - float64(label[i])*z
	}
	return s / float64(len(odds))
}

func (c Calibration) probability(odds float32) float64 {
	return 1 / (1 + math.Exp(-float64(c.Slope*odds+c.Intercept)))
}

// bins is how many groups of about equal size calibrationError compares.
const bins = 10

// calibrationError is the mean distance, over groups of similar probability and equal size, between what was said and what happened
// (the expected calibration error).
func calibrationError(probability, label []float32) float64 {
	order := byValue(probability)
	var sum float64
	for g := range bins {
		lo, hi := len(order)*g/bins, len(order)*(g+1)/bins
		var said, was float64
		for _, i := range order[lo:hi] {
			said, was = said+float64(probability[i]), was+float64(label[i])
		}
		sum += math.Abs(said - was)
	}
	return sum / math.Max(1, float64(len(order)))
}

func byValue(v []float32) []int {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(v[a], v[b]) })
	return order
}
