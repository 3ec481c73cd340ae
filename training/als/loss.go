package als

import (
	"context"

	"marquee/internal/vec"
	"marquee/training/foldin"
)

// loss returns the value of the loss that training minimises, at the current factors. The unobserved part is the
// elementwise product of the two Gramians; the rest is a sum over interactions, taken chunk by chunk in float64. In
// the 2008 form a constant (a0 an interaction) is added so that it is that paper's loss.
func (t *trainer) loss() float64 {
	p := t.cfg.Params()
	var sum float64
	items := foldin.Gramian(t.items.factors, t.workers)
	for i, v := range foldin.Gramian(t.users.factors, t.workers) {
		sum += p.Unobserved * v * items[i]
	}
	partial := make([]float64, len(t.users.chunks)-1)
	// Neither the background context nor the worker can fail, hence no error to handle.
	_ = t.eachChunk(context.Background(), t.users.chunks, func() func(chunk, lo, hi int) error {
		return func(chunk, lo, hi int) error {
			partial[chunk] = t.observedLoss(p, lo, hi)
			return nil
		}
	})
	for _, v := range partial {
		sum += v
	}
	return sum + regularisation(p, &t.users, t.items.factors.Rows) + regularisation(p, &t.items, t.users.factors.Rows)
}

func (t *trainer) observedLoss(p foldin.Params, lo, hi int) float64 {
	var sum float64
	for u := lo; u < hi; u++ {
		x := t.users.factors.Row(u)
		cols, strength := t.users.rows.Row(u)
		for k, c := range cols {
			w, pull := p.Cell(strength[k])
			s := float64(vec.Dot(x, t.items.factors.Row(int(c))))
			// w (t-s)^2 in the usual form, where pull = w t; in the 2008 form (w+a0)(1-s)^2 less the a0 s^2 counted
			// with the Gramians. Both are w s^2 - 2 pull s + pull.
			sum += w*s*s - 2*pull*s + pull
		}
	}
	return sum
}

func regularisation(p foldin.Params, a *side, others int) float64 {
	var sum float64
	for r := range a.factors.Rows {
		x := a.factors.Row(r)
		var norm float64
		for _, v := range x {
			norm += float64(v) * float64(v)
		}
		sum += p.Reg(a.rows.RowLen(r), others) * norm
	}
	return sum
}
