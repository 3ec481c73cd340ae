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

// calibrate fits the two numbers to labels of 0 to 1 by Newton's method with step halving. seen, where not nil, is the chance that an
// example was noticed at all: labels are then of what was noticed and wanted, and the odds of what is wanted. Where the labels are all
// alike, or the odds are, only the intercept can be told, and a slope of 0 or below, which would turn the order round, is not believed.
func calibrate(odds, label, seen []float32) Calibration {
	if len(odds) == 0 {
		return same()
	}
	a, b := 1.0, 0.0
	loss := platt(odds, label, seen, a, b)
	for range 50 {
		var ga, gb, haa, hab, hbb float64
		for i, x := range odds {
			x := float64(x)
			p, y, e := 1/(1+math.Exp(-(a*x+b))), float64(label[i]), noticed(seen, i)
			left := max(1-e*p, 1e-12)
			d, h := p-y-(1-y)*(1-e)*p/left, max(e*p*(1-p)*(1-p)/left, 1e-12)
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
			if l := platt(odds, label, seen, a-step*da, b-step*db); l < loss {
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

func noticed(seen []float32, i int) float64 {
	if seen == nil {
		return 1
	}
	return float64(seen[i])
}

// platt is the mean negative log-likelihood.
func platt(odds, label, seen []float32, a, b float64) float64 {
	var s float64
	for i, x := range odds {
		z, y, e := a*float64(x)+b, float64(label[i]), noticed(seen, i)
		// The logarithm of the chance, and of that of its opposite, without overflow.
		yes := math.Min(z, 0) - math.Log1p(math.Exp(-math.Abs(z)))
		no := yes - z
		if e < 1 {
			no = math.Log1p(-e * math.Exp(yes))
		}
		s -= y*(yes+math.Log(e)) + (1-y)*no
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
