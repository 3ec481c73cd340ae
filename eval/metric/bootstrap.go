package metric

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Interval is a mean difference with its confidence interval.
type Interval struct {
	Mean float64 `json:"mean"` // of a[i] - b[i]
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// NotAbove is the share of resamples in which the difference was 0 or less: small where a is reliably better.
	NotAbove float64 `json:"not_above"`
	Users    int     `json:"users"`
	Level    float64 `json:"level"`
}

// PairedBootstrap returns the mean of a[i]-b[i], a and b being one metric of the same users under two models, with the
// percentile interval of the paired bootstrap (Efron and Tibshirani 1993, chapter 13): users are drawn with replacement
// resamples times. The same seed gives the same interval. level is the interval's coverage, such as 0.95.
func PairedBootstrap(a, b []float64, resamples int, level float64, seed uint64) (Interval, error) {
	if len(a) != len(b) || len(a) == 0 {
		return Interval{}, fmt.Errorf("paired bootstrap needs the same users under both models: %d and %d values", len(a), len(b))
	}
	if resamples < 100 || !(level > 0 && level < 1) {
		return Interval{}, fmt.Errorf("paired bootstrap needs 100 resamples or more and a level in (0, 1): %d and %g", resamples, level)
	}
	diff := make([]float64, len(a))
	var sum float64
	for i := range a {
		diff[i] = a[i] - b[i]
		sum += diff[i]
	}
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		return Interval{}, fmt.Errorf("paired bootstrap of values that are not finite")
	}
	means := make([]float64, resamples)
	rng := rand.New(rand.NewPCG(seed, 0x6d6172717565))
	notAbove := 0
	for r := range means {
		var s float64
		for range diff {
			s += diff[rng.IntN(len(diff))]
		}
		means[r] = s / float64(len(diff))
		if means[r] <= 0 {
			notAbove++
		}
	}
	slices.Sort(means)
	tail := (1 - level) / 2
	return Interval{
		Mean: sum / float64(len(diff)), Low: quantile(means, tail), High: quantile(means, 1-tail),
		NotAbove: float64(notAbove) / float64(resamples), Users: len(a), Level: level,
	}, nil
}

// quantile interpolates linearly between the order statistics of sorted.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// Mean returns the mean of values, 0 for none.
func Mean(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
