package gbdt

import (
	"fmt"
	"math/rand/v2"
)

// Importance is, for every feature, by how much the objective's loss on the examples grows when that feature's values are dealt out
// anew among them (permutation importance: Breiman, Random Forests, 2001), in the mean of so many deals. Near 0, or below it, the model
// could do without the feature, or has another that says the same.
func (m *Model) Importance(e Examples, objective Objective, deals int, seed uint64) ([]float64, error) {
	if err := e.check("importance", objective); err != nil {
		return nil, err
	}
	if e.X.Cols != m.Features {
		return nil, fmt.Errorf("%w: the trees were trained on %d features, the examples have %d", ErrData, m.Features, e.X.Cols)
	}
	if deals < 1 {
		return nil, fmt.Errorf("importance: deals must be 1 or more, is %d", deals)
	}
	whole := objective.loss(e, m.Scores(e.X, 0))
	used, out := m.splits(), make([]float64, m.Features)
	x := Matrix{e.X.Rows, e.X.Cols, append([]float32(nil), e.X.Values...)}
	rng := rand.New(rand.NewPCG(seed, 0x7065_726d))
	for f := range out {
		if used[f] == 0 {
			continue // no tree asks for it: nothing changes
		}
		for range deals {
			for i, j := range rng.Perm(x.Rows) {
				x.Values[i*x.Cols+f] = e.X.Values[j*x.Cols+f]
			}
			out[f] += (objective.loss(e, m.Scores(x, 0)) - whole) / float64(deals)
		}
		for i := range x.Rows {
			x.Values[i*x.Cols+f] = e.X.Values[i*x.Cols+f]
		}
	}
	return out, nil
}
