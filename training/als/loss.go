package als

import (
	"context"
	"fmt"

	"marquee/internal/sparse"
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

// Loss returns the loss of a factorization of m, wherever its vectors are from: model's Dim, Users, Items and Params are read. Errors
// about m or the sizes wrap ErrData.
func Loss(m *sparse.CSR, model *Model, workers int) (float64, error) {
	if m == nil || len(model.Users) != m.Rows*model.Dim || len(model.Items) != m.Cols*model.Dim {
		return 0, fmt.Errorf("%w: %d and %d values of dimension %d are no factors of it", ErrData, len(model.Users), len(model.Items), model.Dim)
	}
	if err := m.Validate(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrData, err)
	}
	p := model.Params
	t := &trainer{workers: workers, cfg: Config{
		Dim: model.Dim, Alpha: p.Alpha, UnobservedWeight: p.Unobserved, Regularization: p.Lambda, RegularizationExponent: p.Nu, ReplaceUnobserved: p.Replace,
	}}
	t.users, t.items = newSide(m, model.Dim), newSide(m.Transpose(), model.Dim)
	for r := range m.Rows {
		copy(t.users.factors.Row(r), model.Users[r*model.Dim:])
	}
	for r := range m.Cols {
		copy(t.items.factors.Row(r), model.Items[r*model.Dim:])
	}
	return t.loss(), nil
}
