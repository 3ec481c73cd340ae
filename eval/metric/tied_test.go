package metric

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// orders calls f with the hits of every order of tied titles, all equally likely.
func orders(l TieList, f func(hits []int)) {
	var titles []struct {
		group    int
		relevant bool
	}
	for g, grp := range l {
		for i := range grp.Size {
			titles = append(titles, struct {
				group    int
				relevant bool
			}{g, i < grp.Relevant})
		}
	}
	var permute func(at int)
	permute = func(at int) {
		if at == len(titles) {
			var hits []int
			for i, x := range titles {
				if x.relevant {
					hits = append(hits, i)
				}
			}
			f(hits)
			return
		}
		for i := at; i < len(titles) && titles[i].group == titles[at].group; i++ {
			titles[at], titles[i] = titles[i], titles[at]
			permute(at + 1)
			titles[at], titles[i] = titles[i], titles[at]
		}
	}
	permute(0)
}

// TestTiesOverAllOrders holds worst, expected and best against every order there is.
func TestTiesOverAllOrders(t *testing.T) {
	lists := []TieList{
		{{1, 1}, {3, 1}, {2, 0}, {2, 2}}, {{4, 2}, {3, 3}}, {{7, 3}}, {{1, 0}, {1, 1}, {1, 0}, {5, 1}}, {{2, 0}, {6, 5}}, {{3, 0}, {2, 0}},
	}
	for _, l := range lists {
		relevant := 0
		for _, g := range l {
			relevant += g.Relevant
		}
		relevant++ // One is ranked nowhere.
		for _, k := range []int{1, 2, 3, 5, 7} {
			for name, m := range map[string]struct {
				plain func(hits []int) float64
				tied  func(Ties) float64
			}{
				"precision": {func(h []int) float64 { return Precision(h, k) }, func(t Ties) float64 { return l.Precision(k, t) }},
				"recall":    {func(h []int) float64 { return Recall(h, relevant, k) }, func(t Ties) float64 { return l.Recall(relevant, k, t) }},
				"capped":    {func(h []int) float64 { return CappedRecall(h, relevant, k) }, func(t Ties) float64 { return l.CappedRecall(relevant, k, t) }},
				"hit rate":  {func(h []int) float64 { return HitRate(h, k) }, func(t Ties) float64 { return l.HitRate(k, t) }},
				"ndcg":      {func(h []int) float64 { return NDCG(h, relevant, k) }, func(t Ties) float64 { return l.NDCG(relevant, k, t) }},
				"mrr":       {func(h []int) float64 { return ReciprocalRank(h, k) }, func(t Ties) float64 { return l.ReciprocalRank(k, t) }},
				"map":       {func(h []int) float64 { return AveragePrecision(h, relevant, k) }, func(t Ties) float64 { return l.AveragePrecision(relevant, k, t) }},
			} {
				sum, n, lo, hi := 0.0, 0.0, math.Inf(1), math.Inf(-1)
				orders(l, func(hits []int) {
					v := m.plain(hits)
					sum += v
					n++
					lo, hi = min(lo, v), max(hi, v)
				})
				for ties, want := range map[Ties]float64{Worst: lo, Expected: sum / n, Best: hi} {
					if got := m.tied(ties); math.Abs(got-want) > 1e-12 {
						t.Errorf("%s@%d of %v, ties %v: %.12f, want %.12f", name, k, l, ties, got, want)
					}
				}
			}
		}
	}
}

func TestGroupsOfARanking(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 200 {
		scores := make([]float32, 30)
		var relevant []uint32
		for i := range scores {
			scores[i] = float32(rng.IntN(6))
			if rng.IntN(4) == 0 {
				relevant = append(relevant, uint32(i))
			}
			if rng.IntN(5) == 0 {
				scores[i] = float32(math.Inf(-1))
			}
		}
		var sel Selector
		list := slices.Clone(sel.Top(scores, 8, relevant))
		got := TieGroups(nil, scores, list, relevant)
		var want TieList
		for level := float32(5); level >= 0; level-- {
			covered := 0
			for _, g := range want {
				covered += g.Size
			}
			var g TieGroup
			for i, s := range scores {
				if s == level {
					g.Size++
					if slices.Contains(relevant, uint32(i)) {
						g.Relevant++
					}
				}
			}
			if g.Size > 0 && covered < 8 {
				want = append(want, g)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v of %v: %v, want %v", list, scores, got, want)
		}
	}
}

func TestSelectorOverManyStretches(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	scores := make([]float32, 5000)
	var relevant []uint32
	for i := range scores {
		scores[i] = float32(rng.IntN(500))
		if rng.IntN(10) == 0 {
			relevant = append(relevant, uint32(i))
		}
		if i < 40 {
			scores[i] = float32(math.Inf(-1))
		}
	}
	order := make([]picked, 0, len(scores))
	for i, s := range scores[40:] {
		order = append(order, picked{s, contains(relevant, uint32(i+40)), uint32(i + 40)})
	}
	slices.SortFunc(order, func(a, b picked) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	var sel Selector
	for i, title := range sel.Top(scores, 100, relevant) {
		if title != order[i].title {
			t.Fatalf("place %d is %d, want %d", i, title, order[i].title)
		}
	}
}
