package benchmark

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"marquee/eval/metric/judge"
	"marquee/internal/sparse"
)

// Validation cuts a validation split out of what b lets a model be fitted to, as the layout cuts its test: the last title of
// each user where there is an order, with others sampled beside it where the layout samples; a tenth of each user's titles
// by chance where there is none. The test side has no part in it. Hyper-parameters are chosen here.
func (b *Benchmark) Validation(seed uint64) (*Benchmark, error) {
	rng := rand.New(rand.NewPCG(seed, 0x76616c))
	held := holdout{}
	for u := range b.Fit.Rows {
		titles, _ := b.Fit.Row(u)
		if len(titles) < 2 {
			continue
		}
		held[uint32(u)] = b.holdOut(u, titles, rng)
	}
	v := &Benchmark{Format: b.Format, Dir: b.Dir, Cutoffs: b.Cutoffs, Holdout: &judge.Holdout{}}
	v.Fit = without(b.Fit, held)
	v.Holdout.Train = v.Fit
	v.Holdout.Users, v.Holdout.Relevant = held.lists()
	if b.Holdout.Candidates != nil {
		v.Holdout.Candidates = sampleOthers(b.Fit, v.Holdout, len(b.Holdout.Candidates[0])-1, rng)
	}
	for u, s := range b.Sequences {
		keep := slices.DeleteFunc(slices.Clone(s), func(t uint32) bool { return !v.Fit.Has(u, t) })
		v.Sequences = append(v.Sequences, keep)
	}
	if err := v.Holdout.Validate(); err != nil {
		return nil, fmt.Errorf("cut a validation split: %w", err)
	}
	return v, nil
}

func (b *Benchmark) holdOut(u int, titles []uint32, rng *rand.Rand) []uint32 {
	if b.Sequences != nil {
		for _, t := range slices.Backward(b.Sequences[u]) {
			if b.Fit.Has(u, t) {
				return []uint32{t}
			}
		}
	}
	l := slices.Clone(titles)
	rng.Shuffle(len(l), func(i, j int) { l[i], l[j] = l[j], l[i] })
	return l[:max(len(l)/10, 1)]
}

func without(m *sparse.CSR, held holdout) *sparse.CSR {
	out := &sparse.CSR{Rows: m.Rows, Cols: m.Cols, Indptr: make([]int64, m.Rows+1)}
	for u := range m.Rows {
		cols, vals := m.Row(u)
		for i, t := range cols {
			if !slices.Contains(held[uint32(u)], t) {
				out.Indices, out.Values = append(out.Indices, t), append(out.Values, vals[i])
			}
		}
		out.Indptr[u+1] = int64(len(out.Indices))
	}
	return out
}

// sampleOthers draws n titles the user has not met beside each held-out one.
func sampleOthers(all *sparse.CSR, h *judge.Holdout, n int, rng *rand.Rand) [][]uint32 {
	out := make([][]uint32, len(h.Users))
	for i, u := range h.Users {
		list := slices.Clone(h.Relevant[i])
		for tries := 0; len(list) < n+len(h.Relevant[i]) && tries < 100*n; tries++ {
			t := uint32(rng.IntN(all.Cols))
			if !all.Has(int(u), t) && !slices.Contains(list, t) {
				list = append(list, t)
			}
		}
		slices.Sort(list)
		out[i] = list
	}
	return out
}
