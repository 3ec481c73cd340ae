// Package compare says whether one model is better than another on the same users: tests of paired differences, corrections
// for many comparisons, and how large a difference is. All take one metric of the same users under both models, in the
// same order.
package compare

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// ErrPairs is wrapped by every error about the values compared.
var ErrPairs = errors.New("cannot compare")

// differences checks the pairs and returns a minus b.
func differences(a, b []float64) ([]float64, error) {
	if len(a) != len(b) || len(a) == 0 {
		return nil, fmt.Errorf("%w: %d and %d values are not of the same users", ErrPairs, len(a), len(b))
	}
	d := make([]float64, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
		if math.IsNaN(d[i]) || math.IsInf(d[i], 0) {
			return nil, fmt.Errorf("%w: user %d has %g and %g", ErrPairs, i, a[i], b[i])
		}
	}
	return d, nil
}

// Permutation is the two-sided p-value of the paired randomization test (Fisher 1935; for rankings Smucker, Allan and Carterette
// 2007): how often the mean difference is as far from 0 when signs are given by chance. Up to 20 users all sign patterns are
// tried; beyond, rounds of them are drawn, and the observed one counts among them, so that p is never 0.
func Permutation(a, b []float64, rounds int, seed uint64) (float64, error) {
	d, err := differences(a, b)
	if err != nil {
		return 0, err
	}
	var observed float64
	for _, v := range d {
		observed += v
	}
	// Sums of the same numbers in another order may differ in the last bits, and must count as equal.
	reach := math.Abs(observed) * (1 - 1e-12)
	if len(d) <= 20 {
		return exactPermutation(d, reach), nil
	}
	if rounds < 100 {
		return 0, fmt.Errorf("%w: %d rounds of the permutation test, want 100 or more", ErrPairs, rounds)
	}
	rng := rand.New(rand.NewPCG(seed, 0x7065726d))
	far := 1
	for range rounds {
		var sum float64
		var bits uint64
		for i, v := range d {
			if i%64 == 0 {
				bits = rng.Uint64()
			}
			if bits&1 == 0 {
				v = -v
			}
			bits >>= 1
			sum += v
		}
		if math.Abs(sum) >= reach {
			far++
		}
	}
	return float64(far) / float64(rounds+1), nil
}

func exactPermutation(d []float64, reach float64) float64 {
	far, all := 0, 1<<len(d)
	for signs := range all {
		var sum float64
		for i, v := range d {
			if signs>>i&1 == 0 {
				v = -v
			}
			sum += v
		}
		if math.Abs(sum) >= reach {
			far++
		}
	}
	return float64(far) / float64(all)
}

// Wilcoxon is the two-sided p-value of the signed-rank test (Wilcoxon 1945) by its normal approximation with the variance
// corrected for ties, users without a difference left out; W is the smaller sum of ranks. Without any difference p is 1.
func Wilcoxon(a, b []float64) (w, p float64, err error) {
	d, err := differences(a, b)
	if err != nil {
		return 0, 0, err
	}
	d = slices.DeleteFunc(d, func(v float64) bool { return v == 0 })
	if len(d) == 0 {
		return 0, 1, nil
	}
	slices.SortFunc(d, func(x, y float64) int { return cmp.Compare(math.Abs(x), math.Abs(y)) })
	var plus, minus, ties float64
	for i := 0; i < len(d); {
		j := i
		for j < len(d) && math.Abs(d[j]) == math.Abs(d[i]) {
			j++
		}
		rank := float64(i+1+j) / 2
		for _, v := range d[i:j] {
			if v > 0 {
				plus += rank
			} else {
				minus += rank
			}
		}
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	n := float64(len(d))
	w = min(plus, minus)
	variance := n*(n+1)*(2*n+1)/24 - ties/48
	z := (w - n*(n+1)/4) / math.Sqrt(variance)
	return w, min(math.Erfc(-z/math.Sqrt2), 1), nil
}

// Holm adjusts the p-values of several comparisons so that the chance of any false claim among them stays below the level they
// are held against (Holm 1979). The result is in the order given.
func Holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	out := make([]float64, len(p))
	highest := 0.0
	for rank, i := range order {
		highest = max(highest, min(p[i]*float64(len(p)-rank), 1))
		out[i] = highest
	}
	return out
}

// Effect is the mean difference in units of the differences' standard deviation (Cohen's d for pairs, d_z): about .2 is called small, .5
// medium, .8 large. It is 0 where all differences are 0 and infinite where all are equal and not 0.
func Effect(a, b []float64) (float64, error) {
	d, err := differences(a, b)
	if err != nil {
		return 0, err
	}
	if len(d) < 2 {
		return 0, fmt.Errorf("%w: an effect size needs two users or more", ErrPairs)
	}
	var sum, squares float64
	for _, v := range d {
		sum += v
	}
	mean := sum / float64(len(d))
	for _, v := range d {
		squares += (v - mean) * (v - mean)
	}
	if mean == 0 {
		return 0, nil
	}
	return mean / math.Sqrt(squares/float64(len(d)-1)), nil
}
