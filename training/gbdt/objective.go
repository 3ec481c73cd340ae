package gbdt

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Objective is what trees are made to do: Logistic, Squared, LambdaRank or Clicks.
type Objective interface {
	check(what string, e Examples) error
	// base is the score all examples start from.
	base(e Examples) float64
	// gradients writes the first and second derivative of the loss by each example's score.
	gradients(e Examples, score []float32, g, h []float32, workers int)
	// loss is what early stopping goes by; less is better.
	loss(e Examples, score []float32) float64
}

// Logistic makes scores log-odds: the loss is the cross entropy with labels of 0 to 1.
func Logistic() Objective { return logistic{} }

// Squared makes scores quantities: the loss is the squared error.
func Squared() Objective { return squared{} }

// LambdaRank makes scores that order groups: the loss is 1 - NDCG@at, and pairs weigh what swapping them changes it by. It panics
// for an at below 1.
func LambdaRank(at int) Objective {
	if at < 1 {
		panic(fmt.Sprintf("gbdt: LambdaRank at %d", at))
	}
	return lambdaRank{at}
}

type logistic struct{}

func (logistic) check(what string, e Examples) error {
	for i, y := range e.Label {
		if !(y >= 0 && y <= 1) {
			return fmt.Errorf("%w: %s: row %d has label %g; probabilities are learnt from labels of 0 to 1", ErrData, what, i, y)
		}
	}
	return nil
}

func (logistic) base(e Examples) float64 {
	p := mean(e)
	// Where all labels are alike, odds of one example more keep the score finite.
	least := 1 / float64(e.X.Rows+1)
	p = min(max(p, least), 1-least)
	return math.Log(p / (1 - p))
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func (logistic) gradients(e Examples, score, g, h []float32, workers int) {
	chunks(len(score), workers, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			p, w := sigmoid(float64(score[i])), e.weight(i)
			g[i] = float32(w * (p - float64(e.Label[i])))
			h[i] = float32(w * max(p*(1-p), 1e-9))
		}
	})
}

func (logistic) loss(e Examples, score []float32) float64 {
	var s, n float64
	for i, x := range score {
		w, y := e.weight(i), float64(e.Label[i])
		// log(1+exp(x)) - y x, without overflow
		s += w * (max(float64(x), 0) + math.Log1p(math.Exp(-math.Abs(float64(x)))) - y*float64(x))
		n += w
	}
	return s / max(n, math.SmallestNonzeroFloat64)
}

type squared struct{}

func (squared) check(what string, e Examples) error {
	for i, y := range e.Label {
		if math.IsNaN(float64(y)) || math.IsInf(float64(y), 0) {
			return fmt.Errorf("%w: %s: row %d has label %g", ErrData, what, i, y)
		}
	}
	return nil
}

func (squared) base(e Examples) float64 { return mean(e) }

func (squared) gradients(e Examples, score, g, h []float32, workers int) {
	chunks(len(score), workers, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			w := float32(e.weight(i))
			g[i], h[i] = w*(score[i]-e.Label[i]), w
		}
	})
}

func (squared) loss(e Examples, score []float32) float64 {
	var s, n float64
	for i, x := range score {
		d, w := float64(x)-float64(e.Label[i]), e.weight(i)
		s += w * d * d
		n += w
	}
	return s / max(n, math.SmallestNonzeroFloat64)
}

func mean(e Examples) float64 {
	var s, n float64
	for i, y := range e.Label {
		w := e.weight(i)
		s += w * float64(y)
		n += w
	}
	return s / max(n, math.SmallestNonzeroFloat64)
}

type lambdaRank struct{ at int }

const maxRelevance = 31

func (lambdaRank) check(what string, e Examples) error {
	if len(e.Groups) == 0 {
		return fmt.Errorf("%w: %s: order is learnt within groups, and there are none", ErrData, what)
	}
	for i, y := range e.Label {
		if !(y >= 0 && y <= maxRelevance) {
			return fmt.Errorf("%w: %s: row %d has relevance %g; it is 0 to %d", ErrData, what, i, y, maxRelevance)
		}
	}
	return nil
}

func (lambdaRank) base(Examples) float64 { return 0 }

func (l lambdaRank) gradients(e Examples, score, g, h []float32, workers int) {
	starts := groupStarts(e.Groups)
	chunks(len(e.Groups), workers, func(lo, hi int) {
		var s groupSorter
		for i := lo; i < hi; i++ {
			a, b := starts[i], starts[i]+e.Groups[i]
			l.group(&s, e.Label[a:b], score[a:b], g[a:b], h[a:b])
			if e.Weight != nil {
				// A group weighs what its first row weighs: pairs have no weight of their own.
				w := e.Weight[a]
				for j := a; j < b; j++ {
					g[j], h[j] = g[j]*w, h[j]*w
				}
			}
		}
	})
}

// group adds, for each pair of which one of both is in the first places, the gradient of the logistic loss of their order, weighed
// by what their swap changes NDCG by.
func (l lambdaRank) group(s *groupSorter, label, score, g, h []float32) {
	clear(g)
	clear(h)
	for i := range h {
		h[i] = 1e-9
	}
	ideal := l.ideal(s, label)
	if ideal == 0 {
		return
	}
	order := s.by(score)
	for i, a := range order[:min(l.at, len(order))] {
		for j := i + 1; j < len(order); j++ {
			b := order[j]
			if label[a] == label[b] {
				continue
			}
			hi, lo := a, b
			if label[a] < label[b] {
				hi, lo = b, a
			}
			change := math.Abs((gain(label[a])-gain(label[b]))*(discount(i)-l.discount(j))) / ideal
			p := sigmoid(float64(score[lo] - score[hi]))
			d, dd := float32(change*p), float32(change*p*(1-p))
			g[hi] -= d
			g[lo] += d
			h[hi] += dd
			h[lo] += dd
		}
	}
}

func (l lambdaRank) discount(place int) float64 {
	if place >= l.at {
		return 0
	}
	return discount(place)
}

func discount(place int) float64 { return 1 / math.Log2(float64(place)+2) }

func gain(label float32) float64 { return math.Exp2(float64(label)) - 1 }

// ideal is the DCG of the best order.
func (l lambdaRank) ideal(s *groupSorter, label []float32) float64 {
	var dcg float64
	for place, i := range s.by(label) {
		if place >= l.at {
			break
		}
		dcg += gain(label[i]) * discount(place)
	}
	return dcg
}

func (l lambdaRank) loss(e Examples, score []float32) float64 {
	var s groupSorter
	var sum, n float64
	start := 0
	for _, size := range e.Groups {
		label := e.Label[start : start+size]
		w := e.weight(start)
		if ideal := l.ideal(&s, label); ideal > 0 {
			var dcg float64
			for place, i := range s.by(score[start : start+size])[:min(l.at, size)] {
				dcg += gain(label[i]) * discount(place)
			}
			sum += w * dcg / ideal
			n += w
		}
		start += size
	}
	return 1 - sum/max(n, math.SmallestNonzeroFloat64)
}

// groupSorter sorts places of a group; its memory is used again.
type groupSorter struct{ order []int }

// by returns the places by falling value; the order of equals is that of the examples.
func (s *groupSorter) by(values []float32) []int {
	s.order = s.order[:0]
	for i := range values {
		s.order = append(s.order, i)
	}
	slices.SortStableFunc(s.order, func(a, b int) int { return cmp.Compare(values[b], values[a]) })
	return s.order
}

func groupStarts(groups []int) []int {
	out, at := make([]int, len(groups)), 0
	for i, n := range groups {
		out[i] = at
		at += n
	}
	return out
}
