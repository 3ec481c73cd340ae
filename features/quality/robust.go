package quality

import (
	"math"
	"slices"
)

// scale turns a day's count or share into a number whose chance variation does not depend on its size.
type scale struct {
	share bool
	// to transforms part of whole; from takes the result back to a count, or to a share of whole.
	to   func(part, whole float64) float64
	from func(v, whole float64) float64
	// chance is the standard deviation that chance alone gives the transformed value of a day with the given whole.
	chance func(whole float64) float64
}

// counts is Anscombe's transform of a Poisson count, whose standard deviation is 1/2 (F. J. Anscombe, The transformation of
// Poisson, binomial and negative-binomial data, Biometrika 35, 1948).
func counts() scale {
	return scale{
		to:     func(part, _ float64) float64 { return math.Sqrt(part + 3.0/8) },
		from:   func(v, _ float64) float64 { return max(0, max(v, 0)*v-3.0/8) },
		chance: func(float64) float64 { return 0.5 },
	}
}

// shares is Anscombe's transform of a binomial share, whose variance is 1/(4n+2) (the same paper).
func shares() scale {
	return scale{
		share: true,
		to:    func(part, whole float64) float64 { return math.Asin(math.Sqrt((part + 3.0/8) / (whole + 3.0/4))) },
		from: func(v, whole float64) float64 {
			s := math.Sin(min(max(v, 0), math.Pi/2))
			return min(max(0, (s*s*(whole+3.0/4)-3.0/8)/max(whole, 1)), 1)
		},
		chance: func(whole float64) float64 { return 1 / math.Sqrt(4*whole+2) },
	}
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return math.NaN()
	}
	return (v[(n-1)/2] + v[n/2]) / 2
}

// spread estimates the standard deviation of a few values by the median of their distances from their median, which a bad day
// or two among them do not move (F. R. Hampel, The influence curve and its role in robust estimation, JASA 69, 1974). 1.4826
// makes it that of a normal distribution; it is too small for few values by the factors of C. Croux and P. J. Rousseeuw,
// Time-efficient algorithms for two highly robust estimators of scale, COMPSTAT 1992.
func spread(values []float64) float64 {
	m := median(values)
	distances := make([]float64, len(values))
	for i, v := range values {
		distances[i] = math.Abs(v - m)
	}
	small := []float64{0, 0, 1.196, 1.495, 1.363, 1.206, 1.200, 1.140, 1.129, 1.107}
	n := len(values)
	factor := float64(n) / (float64(n) - 0.8)
	if n < len(small) {
		factor = small[n]
	}
	return 1.4826 * factor * median(distances)
}
