package model

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestWithoutTheNamedTitleTheScoreIsLower takes from random histories the title that a recommended one's score would miss most: folded
// in anew, the profile likes that one less.
func TestWithoutTheNamedTitleTheScoreIsLower(t *testing.T) {
	for _, dim := range []int{8, 64} {
		b := opened(t, folderOf(written(t, release(300, dim, 9))))
		rng := rand.New(rand.NewPCG(5, uint64(dim)))
		s, x, fewer := b.NewScratch(), make([]float32, dim), make([]float32, dim)
		for range 200 {
			var history []Interaction
			for _, row := range rng.Perm(b.Len())[:2+rng.IntN(40)] {
				history = append(history, Interaction{uint32(row), float32(rng.IntN(5))/2 - 0.5}) // some abandoned, some worth nothing
			}
			history[0].Strength = 1
			if err := b.FoldIn(x, history, s); err != nil {
				t.Fatal(err)
			}
			scores := make([]float32, b.Len())
			b.ScoreAll(scores, x)
			for _, h := range history {
				scores[h.Row] = -1
			}
			title := uint32(slices.Index(scores, slices.Max(scores)))
			parts, missed := make([]float32, len(history)), make([]float32, dim)
			for k, h := range history {
				if err := b.Removal(missed, x, h, s); err != nil {
					t.Fatal(err)
				}
				parts[k] = b.Score(title, missed)
			}
			named := slices.Index(parts, slices.Max(parts))
			rest := slices.Delete(slices.Clone(history), named, named+1)
			if err := b.FoldIn(fewer, rest, s); err != nil {
				t.Fatal(err)
			}
			if with, without := b.Score(title, x), b.Score(title, fewer); !(without < with) {
				t.Fatalf("dimension %d: title %d scores %g, and %g without title %d, whose part was %g of %v", dim, title, with, without, history[named].Row, parts[named], parts)
			}
		}
	}
}
