package als

import (
	"context"
	"fmt"

	"marquee/training/foldin"
)

// align brings both sides into the basis in which b's Gramian is diagonal, unless they are. Scores and loss stay as they are. a follows only
// where a solver begins at it.
func (t *trainer) align(a, b *side) error {
	if b.rotation != nil {
		return nil
	}
	gram := foldin.Gramian(b.factors, t.workers)
	r, err := foldin.Diagonalise(gram, t.cfg.Dim)
	if err != nil {
		return err
	}
	if err := r.Apply(b.factors, t.workers); err != nil {
		return err
	}
	if t.cfg.solver() != SolverCholesky {
		if err := r.Apply(a.factors, t.workers); err != nil {
			return err
		}
	}
	b.rotation, a.rotation = r, nil
	return nil
}

// solve recomputes every row of a from the fixed rows of b. Workers take chunks in order from a shared counter, so a heavy chunk delays no
// other.
func (t *trainer) solve(ctx context.Context, what string, a, b *side) error {
	if err := t.align(a, b); err != nil {
		return fmt.Errorf("all %ss: %w", what, err)
	}
	rows, err := foldin.NewRotated(b.factors, b.rotation, t.cfg.Params())
	if err != nil {
		return err
	}
	a.rotation = nil
	return t.eachChunk(ctx, a.chunks, func() func(chunk, lo, hi int) error {
		w := rows.NewWork()
		solve := t.rowSolver(rows, w)
		return func(_, lo, hi int) error {
			for r := lo; r < hi; r++ {
				cols, strength := a.rows.Row(r)
				if r+1 < hi {
					next, _ := a.rows.Row(r + 1)
					w.Next(next)
				}
				if err := solve(a.factors.Row(r), cols, strength); err != nil {
					return fmt.Errorf("%s %d: %w", what, r, err)
				}
			}
			return nil
		}
	})
}

// rowSolver is one goroutine's, as w is.
func (t *trainer) rowSolver(rows *foldin.Rotated, w *foldin.Work) func(dst []float32, cols []uint32, strength []float32) error {
	switch t.cfg.solver() {
	case SolverCG:
		return func(dst []float32, cols []uint32, strength []float32) error {
			return rows.Improve(dst, cols, strength, t.cfg.CGSteps, w)
		}
	case SolverBlocks:
		return func(dst []float32, cols []uint32, strength []float32) error {
			return rows.Sweep(dst, cols, strength, w)
		}
	}
	return func(dst []float32, cols []uint32, strength []float32) error {
		return rows.Solve(dst, cols, strength, w)
	}
}

// epoch solves every user, then every title.
func (t *trainer) epoch(ctx context.Context) error {
	if err := t.solve(ctx, "user", &t.users, &t.items); err != nil {
		return err
	}
	return t.solve(ctx, "title", &t.items, &t.users)
}
