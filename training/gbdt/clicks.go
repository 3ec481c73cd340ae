package gbdt

import (
	"fmt"
	"math"
)

// Position is where an example stood on the screen: in which row, and at which rank of it, both from 0. What lies beyond MaxPosition
// counts as there.
type Position struct{ Row, Rank uint32 }

// MaxPosition is the last row and the last rank that are told apart.
const MaxPosition = 99

// priorViews is how many examples' worth of belief there is, before any was seen, that a rank is noticed as often as the one before.
const priorViews = 10

// Clicks is the objective of a position-based click model: a title is clicked when it is noticed, which hangs on where it stands alone,
// and wanted, which hangs on the features alone; scores become the log-odds of being wanted. Both are learnt at once by
// regression-EM (Wang, Golbandi, Bendersky, Metzler and Najork, "Position Bias Estimation for Unbiased Learning to Rank in
// Personal Search", WSDM 2018): before every tree the chance of being noticed takes a Newton step towards its likeliest value under the
// present scores, and what was not clicked is then, with the chance that it was not noticed, taken to have been wanted all the same. Only the
// product of the two chances can be seen, so the very first place is noticed for certain, and the others relative to it.
//
// A Clicks is of one training: it is changed by it, and must not be shared by two at once.
type Clicks struct {
	// Ranks and Rows are the chances that a rank, or a row, is noticed, relative to the first; a place's is the product of its two.
	Ranks, Rows []float64

	wanted []float64 // by example
}

// NewClicks is the objective of a training to come.
func NewClicks() *Clicks { return &Clicks{Ranks: []float64{1}, Rows: []float64{1}} }

// Examination is the chance that what stands at p is noticed, relative to the first place.
func (c *Clicks) Examination(p Position) float64 {
	return c.Ranks[min(int(p.Rank), len(c.Ranks)-1)] * c.Rows[min(int(p.Row), len(c.Rows)-1)]
}

func (c *Clicks) check(what string, e Examples) error {
	if len(e.Positions) != e.X.Rows {
		return fmt.Errorf("%w: %s: %d rows stood at %d positions", ErrData, what, e.X.Rows, len(e.Positions))
	}
	for i, y := range e.Label {
		if y != 0 && y != 1 {
			return fmt.Errorf("%w: %s: row %d has label %g; clicks are 0 or 1", ErrData, what, i, y)
		}
	}
	return nil
}

// base also begins what is known of positions: with the rate of clicks there.
func (c *Clicks) base(e Examples) float64 {
	var ranks, rows tally
	for i, p := range e.Positions {
		w := e.weight(i)
		ranks.add(int(p.Rank), w, w*float64(e.Label[i]))
		rows.add(int(p.Row), w, w*float64(e.Label[i]))
	}
	c.Ranks, c.Rows = ranks.relative(), rows.relative()
	var clicks, views float64
	for i, p := range e.Positions {
		clicks, views = clicks+e.weight(i)*float64(e.Label[i]), views+e.weight(i)*c.Examination(p)
	}
	rate := min(max(clicks/max(views, math.SmallestNonzeroFloat64), 1/float64(e.X.Rows+1)), 1-1/float64(e.X.Rows+1))
	return math.Log(rate / (1 - rate))
}

// tally counts views and clicks by place.
type tally struct{ views, clicks []float64 }

func (t *tally) add(at int, views, clicks float64) {
	at = min(at, MaxPosition)
	for len(t.views) <= at {
		t.views, t.clicks = append(t.views, 0), append(t.clicks, 0)
	}
	t.views[at] += views
	t.clicks[at] += clicks
}

// relative is the rate of clicks by place over that of the first.
func (t *tally) relative() []float64 {
	out := make([]float64, max(1, len(t.views)))
	out[0] = 1
	for at := 1; at < len(out); at++ {
		first := (t.clicks[0] + 1) / (t.views[0] + 1)
		rate := (t.clicks[at] + priorViews*first*out[at-1]) / (t.views[at] + priorViews)
		out[at] = bounded(rate / first)
	}
	return out
}

// bounded keeps a chance where logarithms are finite.
func bounded(x float64) float64 { return min(max(x, 1e-3), 1) }

func (c *Clicks) gradients(e Examples, score, g, h []float32, workers int) {
	if len(c.wanted) != len(score) {
		c.wanted = make([]float64, len(score))
	}
	chunks(len(score), workers, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			c.wanted[i] = sigmoid(float64(score[i]))
		}
	})
	c.improve(e)
	chunks(len(score), workers, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			p, w, want := c.wanted[i], e.weight(i), float64(1)
			seen := c.Examination(e.Positions[i])
			if e.Label[i] == 0 {
				want = (1 - seen) * p / (1 - seen*p)
			}
			g[i] = float32(w * (p - want))
			// The expected curvature (Fisher's). EM's own, p(1-p), is of steps so short that the common level of all wishes hardly moves.
			h[i] = float32(w * max(seen*p*(1-p)*(1-p)/max(1-seen*p, 1e-9), 1e-9))
		}
	})
}

// improve takes a Newton step in the ranks, then one in the rows.
func (c *Clicks) improve(e Examples) {
	c.step(c.Ranks, e, func(p Position) (int, float64) {
		rank := min(int(p.Rank), len(c.Ranks)-1)
		return rank, c.Rows[min(int(p.Row), len(c.Rows)-1)]
	})
	if len(c.Rows) > 1 {
		c.step(c.Rows, e, func(p Position) (int, float64) {
			row := min(int(p.Row), len(c.Rows)-1)
			return row, c.Ranks[min(int(p.Rank), len(c.Ranks)-1)]
		})
	}
}

// step moves chances towards the likeliest; of tells an example's place among them, and the chance that it is noticed for all else.
func (c *Clicks) step(chances []float64, e Examples, of func(Position) (int, float64)) {
	first, second := make([]float64, len(chances)), make([]float64, len(chances))
	for i, p := range e.Positions {
		at, rest := of(p)
		if at == 0 {
			continue // it is what the others are relative to
		}
		x, w := chances[at], e.weight(i)
		if e.Label[i] != 0 {
			first[at] += w / x
			second[at] += w / (x * x)
			continue
		}
		rest *= c.wanted[i]
		d := rest / max(1-x*rest, 1e-9)
		first[at] -= w * d
		second[at] += w * d * d
	}
	for at := 1; at < len(chances); at++ {
		x, before := chances[at], chances[at-1]
		first[at] += priorViews * (before/x - (1-before)/max(1-x, 1e-3))
		second[at] += priorViews * (before/(x*x) + (1-before)/max((1-x)*(1-x), 1e-6))
		chances[at] = bounded(min(max(x+first[at]/second[at], x/2), 2*x))
	}
}

// loss is the mean negative log-likelihood of what was clicked and what was not.
func (c *Clicks) loss(e Examples, score []float32) float64 {
	var s, n float64
	for i, x := range score {
		w, p := e.weight(i), c.Examination(e.Positions[i])*sigmoid(float64(x))
		if e.Label[i] == 0 {
			p = 1 - p
		}
		s -= w * math.Log(max(p, 1e-12))
		n += w
	}
	return s / max(n, math.SmallestNonzeroFloat64)
}
