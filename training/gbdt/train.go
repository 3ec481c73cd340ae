package gbdt

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Options are the parts of a run that do not decide its meaning, but for Validation, by which it may stop.
type Options struct {
	// Validation, where set, is what early stopping goes by; it must have the features of the training examples.
	Validation *Examples
	// Progress, where set, is told after every tree how many there are and the losses; validation is NaN without examples.
	Progress func(trees int, train, validation float64)
}

// Train makes trees for the objective. Cancelling the context stops it after the tree at hand. Errors about the examples wrap ErrData.
func Train(ctx context.Context, e Examples, objective Objective, cfg Config, opts Options) (*Model, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := e.check("training", objective); err != nil {
		return nil, err
	}
	v := opts.Validation
	if v != nil {
		if err := v.check("validation", objective); err != nil {
			return nil, err
		}
		if v.X.Cols != e.X.Cols {
			return nil, fmt.Errorf("%w: %d features to train on, %d to validate by", ErrData, e.X.Cols, v.X.Cols)
		}
	}
	t := &trainer{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x6762_6474)), grow: newGrower(cfg, bin(e.X, cfg.Bins), e.X.Rows)}
	m := &Model{Features: e.X.Cols, Base: float32(objective.base(e))}
	score := fill(e.X.Rows, m.Base)
	var held []float32
	best, kept := math.Inf(1), 0
	if v != nil {
		held = fill(v.X.Rows, m.Base)
		best = objective.loss(*v, held)
	}
	for round := range cfg.Rounds {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("train trees: stopped after %d of %d: %w", round, cfg.Rounds, err)
		}
		objective.gradients(e, score, t.grow.g, t.grow.h, t.grow.workers)
		t.choose(e)
		tree := t.grow.grow()
		if len(tree) == 1 && tree[0].Value == 0 {
			break // nothing is left to learn
		}
		m.Trees = append(m.Trees, tree)
		add(tree, e.X, score, t.grow.workers)
		loss := math.NaN()
		if v != nil {
			add(tree, v.X, held, t.grow.workers)
			if loss = objective.loss(*v, held); loss < best {
				best, kept = loss, len(m.Trees)
			}
		}
		if opts.Progress != nil {
			opts.Progress(len(m.Trees), objective.loss(e, score), loss)
		}
		if v != nil && cfg.Patience > 0 && len(m.Trees)-kept >= cfg.Patience {
			break
		}
	}
	if v != nil && cfg.Patience > 0 {
		m.Trees = slices.Clip(m.Trees[:kept])
	}
	return m, nil
}

type trainer struct {
	cfg  Config
	rng  *rand.Rand
	grow *grower
}

// choose draws the features and the rows of the next tree, rows by whole groups where there are groups.
func (t *trainer) choose(e Examples) {
	n := max(1, int(math.Round(float64(e.X.Cols)*t.cfg.FeatureShare)))
	t.grow.features = t.rng.Perm(e.X.Cols)[:n]
	slices.Sort(t.grow.features)
	rows := t.grow.rows[:0]
	in := func() bool { return t.cfg.RowShare == 1 || t.rng.Float64() < t.cfg.RowShare }
	if len(e.Groups) == 0 {
		for i := range e.X.Rows {
			if in() {
				rows = append(rows, int32(i))
			}
		}
	} else {
		at := 0
		for _, size := range e.Groups {
			if in() {
				for i := at; i < at+size; i++ {
					rows = append(rows, int32(i))
				}
			}
			at += size
		}
	}
	if len(rows) == 0 { // so few examples that none was drawn
		for i := range e.X.Rows {
			rows = append(rows, int32(i))
		}
	}
	t.grow.rows = rows
}

func fill(n int, v float32) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = v
	}
	return out
}

// add adds a tree's values to the examples' scores.
func add(tree Tree, x Matrix, score []float32, workers int) {
	chunks(x.Rows, workers, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			score[i] += tree.Value(x.Row(i))
		}
	})
}

// Scores is Raw of every row, on so many goroutines; 0 means one a processor.
func (m *Model) Scores(x Matrix, workers int) []float32 {
	out := make([]float32, x.Rows)
	chunks(x.Rows, workerCount(workers), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			out[i] = m.Raw(x.Row(i))
		}
	})
	return out
}

// Loss is the objective's on the examples: 1 - NDCG for LambdaRank, the cross entropy for Logistic, the squared error for Squared.
func (m *Model) Loss(e Examples, objective Objective) float64 {
	return objective.loss(e, m.Scores(e.X, 0))
}
