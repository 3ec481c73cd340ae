package twotower

import (
	"math"
	"math/rand/v2"
	"slices"

	"marquee/training/nn"
)

// sets makes the batch of users whose history is parted in what is read and what is to be predicted.
func (a *assembler) sets(b *batch, examples []example, rng *rand.Rand) {
	b.bounds = append(b.bounds, 0)
	for _, e := range examples {
		h := &a.data.Histories[e.user]
		n := len(h.Titles)
		order := rng.Perm(n)
		out := min(1+rng.IntN(max(1, int(math.Round(a.cfg.SetShare*float64(n))))), n-1)
		keep := order[out:min(n, out+a.cfg.MaxHistory)]
		slices.Sort(keep)
		a.user(b, e.user, nobody, h, keep, 0)
		from := len(b.targets)
		for _, i := range order[:out] {
			if p := a.at(b, h.Titles[i]); !slices.Contains(b.targets[from:], p) {
				b.targets = append(b.targets, p)
			}
		}
		b.bounds = append(b.bounds, len(b.targets))
	}
	a.setCandidates(b, rng)
}

// setCandidates are all titles, or the different ones among the targets and the sampled, with the logarithm of the chance to be among them.
func (a *assembler) setCandidates(b *batch, rng *rand.Rand) {
	all := a.cfg.Negatives >= a.data.Titles
	if all {
		for t := range a.data.Titles {
			a.at(b, uint32(t))
		}
	}
	drawn := b.drawn[:0]
	for _, p := range b.targets {
		drawn = append(drawn, b.titles[p])
	}
	if !all {
		for range a.cfg.Negatives {
			t := rng.Uint32N(uint32(a.data.Titles))
			a.at(b, t)
			drawn = append(drawn, t)
		}
	}
	b.slots = slices.Grow(b.slots[:0], len(b.titles))[:len(b.titles)]
	for p := range b.slots {
		b.slots[p] = -1
	}
	if all {
		drawn = append(drawn[:0], b.titles...)
	}
	expected := float64(len(b.targets))
	b.drawn = drawn[:0]
	for _, t := range drawn {
		p := a.place[t]
		if b.slots[p] >= 0 {
			continue
		}
		b.slots[p] = int32(len(b.candidates))
		b.candidates, b.drawn = append(b.candidates, p), append(b.drawn, t)
		q := float32(0)
		if !all {
			q = float32(math.Log(-math.Expm1(-expected*float64(a.share[t]) - float64(a.cfg.Negatives)/float64(a.data.Titles))))
		}
		b.logQ = append(b.logQ, q)
	}
}

// setLoss is the loss of the batch's examples.
func (b *batch) setLoss() nn.RowLoss {
	l := nn.SetSoftmax{LogQ: b.logQ, Weight: 1 / float32(len(b.targets))}
	return func(row int, _ float32, scores []float32) (float64, float32) {
		places := func(yield func(int) bool, from []uint32) {
			for _, p := range from {
				if s := b.slots[p]; s >= 0 && !yield(int(s)) {
					return
				}
			}
		}
		read := b.history.IDs[b.history.Offsets[row]:b.history.Offsets[row+1]]
		return l.Row(scores, func(yield func(int) bool) { places(yield, b.targets[b.bounds[row]:b.bounds[row+1]]) },
			func(yield func(int) bool) { places(yield, read) }), 0
	}
}
