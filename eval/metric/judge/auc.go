package judge

import (
	"math"
	"slices"
)

// aucName is the metric's name; it has no cutoff.
const aucName = "auc"

// auc is one user's area under the ROC curve over all titles that may be ranked, ties counting half: metric.AUC without
// sorting them all. It is 1/2 where there is no pair to compare. Scores are masked; relevant titles among the masked lose every pair.
// own is scratch.
func auc(scores []float32, relevant []uint32, own []float32) (float64, []float32) {
	own = own[:0]
	for _, t := range relevant {
		own = append(own, scores[t])
	}
	slices.Sort(own)
	// Twice the pairs won, so that a tie's half is a whole number.
	var won int64
	candidates := 0
	for _, s := range scores {
		if math.IsInf(float64(s), -1) {
			continue
		}
		candidates++
		won += wonBy(own, s)
	}
	for _, s := range own {
		if !math.IsInf(float64(s), -1) {
			candidates--
			won -= wonBy(own, s)
		}
	}
	if candidates == 0 || len(own) == 0 {
		return 0.5, own
	}
	return float64(won) / 2 / float64(candidates) / float64(len(own)), own
}

// wonBy counts the ascending scores above s twice and those equal to it once.
func wonBy(own []float32, s float32) int64 {
	n := len(own)
	if n == 0 || s > own[n-1] {
		return 0
	}
	if s < own[0] {
		return int64(2 * n)
	}
	above, found := slices.BinarySearch(own, s)
	if !found {
		return int64(2 * (n - above))
	}
	equal := above
	for equal < n && own[equal] == s {
		equal++
	}
	return int64(2*(n-equal) + equal - above)
}
