package metric

import (
	"fmt"
	"math"
	"slices"
)

// RPrecision is (hits in the first relevant places) / relevant.
func RPrecision(hits []int, relevant int) float64 {
	if relevant < 1 {
		return 0
	}
	return float64(within(hits, relevant)) / float64(relevant)
}

// RBP is the rank-biased precision (Moffat and Zobel 2008) of a whole list: (1-p) times the sum of gains[i]*p^i along it, where p
// in (0, 1) is the probability that the viewer looks at the next place. Gains are 1 for a relevant title and 0 for another, or
// grades.
func RBP(gains []float64, p float64) float64 {
	sum, weight := 0.0, 1-p
	for _, g := range gains {
		sum += g * weight
		weight *= p
	}
	return sum
}

// Exposure counts how often each title of a catalogue was recommended.
type Exposure struct{ Counts []int }

// NewExposure returns an empty count over titles numbered 0 to catalogue-1.
func NewExposure(catalogue int) *Exposure { return &Exposure{make([]int, catalogue)} }

// Add records one list. Titles outside the catalogue do not count.
func (e *Exposure) Add(ranked []uint32) {
	for _, t := range ranked {
		if int64(t) < int64(len(e.Counts)) {
			e.Counts[t]++
		}
	}
}

// Gini is the Gini coefficient of the titles' exposure, over the whole catalogue: 0 where all are shown alike, towards 1 where one
// is shown alone. It is 0 where nothing was shown.
func (e *Exposure) Gini() float64 {
	sorted := slices.Clone(e.Counts)
	slices.Sort(sorted)
	var sum, weighted float64
	for i, c := range sorted {
		sum += float64(c)
		weighted += float64(i+1) * float64(c)
	}
	if sum == 0 {
		return 0
	}
	n := float64(len(sorted))
	return 2*weighted/(n*sum) - (n+1)/n
}

// Entropy is the Shannon entropy of exposure in bits: log2(catalogue) where all are shown alike.
func (e *Exposure) Entropy() float64 {
	var sum, out float64
	for _, c := range e.Counts {
		sum += float64(c)
	}
	for _, c := range e.Counts {
		if c > 0 {
			p := float64(c) / sum
			out -= p * math.Log2(p)
		}
	}
	return out
}

// Novelty is the mean self-information of a list in bits, -log2(users[t]/n): users[t] of n users met the title in training
// (Zhou et al. 2010; the mean inverse user frequency). A title that nobody met counts as met by one.
func Novelty(list []uint32, users []float32, n int) float64 {
	if len(list) == 0 {
		return 0
	}
	var sum float64
	for _, t := range list {
		sum -= math.Log2(max(float64(users[t]), 1) / float64(n))
	}
	return sum / float64(len(list))
}

// RecommendedPopularity is the mean number of users that met a list's titles in training (average recommendation popularity,
// Yin et al. 2012). Its mean over users, over that of what the users watched themselves, is the popularity lift.
func RecommendedPopularity(list []uint32, users []float32) float64 {
	if len(list) == 0 {
		return 0
	}
	var sum float64
	for _, t := range list {
		sum += float64(users[t])
	}
	return sum / float64(len(list))
}

// Diversity is the mean of distance over all pairs of a list (intra-list diversity, Ziegler et al. 2005), 0 below two titles.
func Diversity(list []uint32, distance func(a, b uint32) float64) float64 {
	if len(list) < 2 {
		return 0
	}
	var sum float64
	for i, a := range list {
		for _, b := range list[i+1:] {
			sum += distance(a, b)
		}
	}
	n := float64(len(list))
	return sum / (n * (n - 1) / 2)
}

// Hamming is the share of a title's attributes in which two titles differ, of rows of 0 and 1, width wide.
func Hamming(rows []uint8, width int) func(a, b uint32) float64 {
	return func(a, b uint32) float64 {
		n := 0
		for i := range width {
			if rows[int(a)*width+i] != rows[int(b)*width+i] {
				n++
			}
		}
		return float64(n) / float64(width)
	}
}

// Serendipity is the mean over the first k places of a hit's unexpectedness, its popularity rank's distance from the place it
// was given: max((rank of the title by popularity) - (its place), 0) / catalogue, where ranks begin at 1 with the most
// popular and places at 1. It is what RecTools computes: relevant, and not what popularity would have shown there.
func Serendipity(list, relevant []uint32, popularityRank []float64, k int) float64 {
	if k < 1 {
		return 0
	}
	catalogue := float64(len(popularityRank))
	var sum float64
	for i, t := range list[:min(k, len(list))] {
		if contains(relevant, t) {
			sum += max((catalogue+1-float64(i+1))/catalogue-(catalogue+1-popularityRank[t])/catalogue, 0)
		}
	}
	return sum / float64(k)
}

// Miscalibration is how far the genres of a list are from those of a history: the Kullback-Leibler divergence of the list's
// distribution from the history's, in nats, the list's smoothed with alpha of the history's (Steck, Calibrated
// recommendations, 2018; alpha .01 there). Both are non-negative weights by genre and need not be normalised. It is 0 where they agree.
func Miscalibration(history, list []float64, alpha float64) (float64, error) {
	if len(history) != len(list) {
		return 0, fmt.Errorf("a history over %d genres and a list over %d", len(history), len(list))
	}
	var hs, ls float64
	for i := range history {
		hs += history[i]
		ls += list[i]
	}
	if !(hs > 0) || !(ls > 0) {
		return 0, fmt.Errorf("no genre has weight in the history (%g) or in the list (%g)", hs, ls)
	}
	var kl float64
	for i := range history {
		p := history[i] / hs
		if p > 0 {
			kl += p * math.Log(p/((1-alpha)*list[i]/ls+alpha*p))
		}
	}
	return kl, nil
}
