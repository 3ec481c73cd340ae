package metric

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

var errLabels = errors.New("scores and labels")

func checkLabels(scores []float64, positive []bool) error {
	if len(scores) != len(positive) || len(scores) == 0 {
		return fmt.Errorf("%w: %d scores and %d labels", errLabels, len(scores), len(positive))
	}
	for i, s := range scores {
		if math.IsNaN(s) {
			return fmt.Errorf("%w: score %d is NaN", errLabels, i)
		}
	}
	return nil
}

// Brier is the mean squared difference between predicted probabilities and outcomes of 0 and 1 (Brier 1950).
func Brier(probability []float64, positive []bool) (float64, error) {
	if err := checkProbabilities(probability, positive); err != nil {
		return 0, err
	}
	var sum float64
	for i, p := range probability {
		sum += (p - outcome(positive[i])) * (p - outcome(positive[i]))
	}
	return sum / float64(len(probability)), nil
}

// LogLoss is the mean negative logarithm, in nats, of the probability given to what happened. Probabilities are clipped to
// [eps, 1-eps], eps being the spacing of float64 at 1, so that a certain mistake is finite.
func LogLoss(probability []float64, positive []bool) (float64, error) {
	if err := checkProbabilities(probability, positive); err != nil {
		return 0, err
	}
	const eps = 0x1p-52
	var sum float64
	for i, p := range probability {
		p = min(max(p, eps), 1-eps)
		if !positive[i] {
			p = 1 - p
		}
		sum -= math.Log(p)
	}
	return sum / float64(len(probability)), nil
}

func outcome(positive bool) float64 {
	if positive {
		return 1
	}
	return 0
}

func checkProbabilities(probability []float64, positive []bool) error {
	if err := checkLabels(probability, positive); err != nil {
		return err
	}
	for i, p := range probability {
		if p < 0 || p > 1 {
			return fmt.Errorf("%w: %g at %d is no probability", errLabels, p, i)
		}
	}
	return nil
}

// AUC is the probability that a positive scores above a negative, ties counting half: the Mann-Whitney statistic over all
// pairs. Given one user's scores it is the user-wise AUC, given everybody's the pooled one; the two differ, since
// the pooled one also compares across users. Without a pair to compare it is an error.
func AUC(scores []float64, positive []bool) (float64, error) {
	if err := checkLabels(scores, positive); err != nil {
		return 0, err
	}
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case scores[a] < scores[b]:
			return -1
		case scores[a] > scores[b]:
			return 1
		}
		return 0
	})
	var won, negatives, positives float64
	for i := 0; i < len(order); {
		var p, n float64
		for at := scores[order[i]]; i < len(order) && scores[order[i]] == at; i++ {
			if positive[order[i]] {
				p++
			} else {
				n++
			}
		}
		won += p * (negatives + n/2)
		positives += p
		negatives += n
	}
	if positives == 0 || negatives == 0 {
		return 0, fmt.Errorf("%w: AUC needs positives and negatives, there are %g and %g", errLabels, positives, negatives)
	}
	return won / (positives * negatives), nil
}
