// Package metric measures rankings. Each function states its formula, since the same name stands for different
// formulas in different papers.
//
// A ranked list is judged once, by Hits or Selector, into the ascending 0-based positions at which its relevant titles stand; the
// metrics of the list are functions of those positions and of how many relevant titles there are in all. None of them
// allocates. A user without any relevant title has no metrics: callers leave such users out, and the functions return 0.
package metric

import "math"

// Hits appends to dst the 0-based positions in ranked at which a relevant title stands, ascending. relevant must be
// sorted ascending and free of repeats; so must ranked be free of repeats, or a title would count twice.
func Hits(dst []int, ranked, relevant []uint32) []int {
	for i, title := range ranked {
		if contains(relevant, title) {
			dst = append(dst, i)
		}
	}
	return dst
}

func contains(sorted []uint32, v uint32) bool {
	lo, hi := 0, len(sorted)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if sorted[mid] < v {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(sorted) && sorted[lo] == v
}

// within counts the hits at positions below k.
func within(hits []int, k int) int {
	n := 0
	for n < len(hits) && hits[n] < k {
		n++
	}
	return n
}

// Precision is (hits in the first k) / k, also where the list is shorter than k.
func Precision(hits []int, k int) float64 {
	if k < 1 {
		return 0
	}
	return float64(within(hits, k)) / float64(k)
}

// Recall is (hits in the first k) / relevant. Above k relevant titles it cannot reach 1; see CappedRecall.
func Recall(hits []int, relevant, k int) float64 {
	if relevant < 1 {
		return 0
	}
	return float64(within(hits, k)) / float64(relevant)
}

// CappedRecall is (hits in the first k) / min(k, relevant), so that a perfect list has 1.
func CappedRecall(hits []int, relevant, k int) float64 {
	if relevant < 1 || k < 1 {
		return 0
	}
	return float64(within(hits, k)) / float64(min(k, relevant))
}

// HitRate is 1 if any of the first k is relevant, else 0.
func HitRate(hits []int, k int) float64 {
	if within(hits, k) > 0 {
		return 1
	}
	return 0
}

// discount is the weight 1/log2(i+2) of the 0-based position i.
func discount(i int) float64 { return 1 / math.Log2(float64(i)+2) }

// NDCG is the binary normalised discounted cumulative gain of the first k: the sum over hits of 1/log2(position+2), divided by
// the same sum for a list that begins with min(k, relevant) hits.
func NDCG(hits []int, relevant, k int) float64 {
	var dcg, ideal float64
	for _, pos := range hits[:within(hits, k)] {
		dcg += discount(pos)
	}
	for i := range min(k, relevant) {
		ideal += discount(i)
	}
	if ideal == 0 {
		return 0
	}
	return dcg / ideal
}

// GradedNDCG is the normalised discounted cumulative gain of the first k for graded relevance: the sum of
// gains[i]/log2(i+2) along the list, divided by the same sum along ideal, which holds the gains of all relevant titles in
// descending order. Gains are used as given; for the exponential form pass 2^grade - 1.
func GradedNDCG(gains, ideal []float64, k int) float64 {
	dcg := func(g []float64) (sum float64) {
		for i := range min(k, len(g)) {
			sum += g[i] * discount(i)
		}
		return sum
	}
	best := dcg(ideal)
	if !(best > 0) {
		return 0
	}
	return dcg(gains) / best
}

// ReciprocalRank is 1/(position of the first hit + 1) if that position is below k, else 0. Its mean over users is MRR@k.
func ReciprocalRank(hits []int, k int) float64 {
	if within(hits, k) == 0 {
		return 0
	}
	return 1 / float64(hits[0]+1)
}

// AveragePrecision is the mean, over min(k, relevant) places, of the precision at each hit in the first k. Its mean over users is
// MAP@k.
func AveragePrecision(hits []int, relevant, k int) float64 {
	if relevant < 1 || k < 1 {
		return 0
	}
	var sum float64
	for n, pos := range hits[:within(hits, k)] {
		sum += float64(n+1) / float64(pos+1)
	}
	return sum / float64(min(k, relevant))
}

// RankedAUC is the share of (relevant, irrelevant) pairs that a complete ranking of candidates titles puts in the right
// order; hits must hold every relevant title's position. It is 0.5 where there is no such pair.
func RankedAUC(hits []int, candidates int) float64 {
	relevant := len(hits)
	irrelevant := candidates - relevant
	if relevant < 1 || irrelevant < 1 {
		return 0.5
	}
	var wrong float64
	for n, pos := range hits {
		wrong += float64(pos - n) // irrelevant titles above this hit
	}
	return 1 - wrong/(float64(relevant)*float64(irrelevant))
}

// Coverage counts which of a catalogue's titles were recommended to anyone.
type Coverage struct {
	seen  []bool
	count int
}

// NewCoverage returns an empty count over titles numbered 0 to catalogue-1.
func NewCoverage(catalogue int) *Coverage { return &Coverage{seen: make([]bool, catalogue)} }

// Add records one list. Titles outside the catalogue do not count.
func (c *Coverage) Add(ranked []uint32) {
	for _, title := range ranked {
		if int64(title) < int64(len(c.seen)) && !c.seen[title] {
			c.seen[title] = true
			c.count++
		}
	}
}

// Value is (titles recommended at least once) / (titles in the catalogue), 0 for an empty catalogue.
func (c *Coverage) Value() float64 {
	if len(c.seen) == 0 {
		return 0
	}
	return float64(c.count) / float64(len(c.seen))
}
