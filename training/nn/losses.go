package nn

import (
	"iter"
	"math"
	"slices"

	"marquee/internal/vec"
)

// Softmax is the cross-entropy of a softmax over all candidates: row i's title is candidate Targets[i]. Weight multiplies the loss.
type Softmax struct {
	Targets []uint32
	Weight  float32
}

// Row is the RowLoss.
func (l *Softmax) Row(row int, _ float32, scores []float32) (float64, float32) {
	return softmaxRow(scores, int(l.Targets[row]), l.Weight), 0
}

func softmaxRow(scores []float32, target int, weight float32) float64 {
	most, own := vec.Largest(scores), scores[target]
	sum := vec.ExpShift(scores, scores, most)
	vec.Scale(weight/sum, scores)
	scores[target] -= weight
	return float64(weight) * (math.Log(float64(sum)) + float64(most) - float64(own))
}

// SampledSoftmax is a softmax over sampled candidates, the batch's own titles first: row i's title is candidate i. Scores are corrected by the
// logarithm of how often a title is expected among the candidates (Yi et al. 2019); where that mixes the batch's titles with uniform
// ones, so does the expectation (Yang et al. 2020). A row's own title met again among the others is left out.
type SampledSoftmax struct {
	Titles []uint32
	LogQ   []float32 // as long as Titles
	Weight float32
}

// Row is the RowLoss.
func (l *SampledSoftmax) Row(row int, _ float32, scores []float32) (float64, float32) {
	own := l.Titles[row]
	for j, t := range l.Titles {
		scores[j] -= l.LogQ[j]
		if t == own && j != row {
			scores[j] = float32(math.Inf(-1))
		}
	}
	return softmaxRow(scores, row, l.Weight), 0
}

// SetSoftmax is a softmax of each of a row's titles against the candidates that are not the row's: the sum over the titles t of
// log(1 + sum over others j of exp(s_j - s_t)). Scores are corrected as SampledSoftmax's.
type SetSoftmax struct {
	LogQ   []float32 // as long as the scores
	Weight float32
}

// Row returns the loss and replaces scores by its derivatives. Titles are the row's, different ones; skipped are left out of the loss.
func (l *SetSoftmax) Row(scores []float32, titles, skipped iter.Seq[int]) float64 {
	vec.Axpy(-1, l.LogQ, scores)
	inf := float32(math.Inf(-1))
	var own []float32
	for j := range titles {
		own = append(own, scores[j])
		scores[j] = inf
	}
	for j := range skipped {
		scores[j] = inf
	}
	if len(own) == 0 {
		clear(scores)
		return 0
	}
	most := max(vec.Largest(scores), slices.Max(own))
	others := vec.ExpShift(scores, scores, most)
	var loss float64
	var pull float32
	k := 0
	for j := range titles {
		e := float32(math.Exp(float64(own[k] - most)))
		share := 1 / (others + e)
		loss += math.Log(float64(others+e)) + float64(most) - float64(own[k])
		pull += share
		scores[j], own[k] = 0, e*share-1
		k++
	}
	vec.Scale(l.Weight*pull, scores)
	k = 0
	for j := range titles {
		scores[j] = l.Weight * own[k]
		k++
	}
	return float64(l.Weight) * loss
}

// CosineContrastive is SimpleX's loss (Mao et al. 2021) on cosines: (1 - own) + Negative times the mean over candidates of
// max(0, score - Margin).
type CosineContrastive struct {
	Margin, Negative, Weight float32
}

// Row is the RowLoss.
func (l *CosineContrastive) Row(_ int, own float32, scores []float32) (float64, float32) {
	w := l.Weight * l.Negative / float32(len(scores))
	var over float32
	for j, s := range scores {
		var g float32
		if s > l.Margin {
			over += s - l.Margin
			g = w
		}
		scores[j] = g
	}
	return float64(l.Weight*(1-own) + w*over), -l.Weight
}

// BinaryCrossEntropy takes a row's own title as 1 and all candidates as 0. Beta is the exponent of the own title's probability: 1, or lower to undo
// what sampling few negatives does to it (gBCE: Petrov and Macdonald 2023).
type BinaryCrossEntropy struct {
	Beta, Weight float32
}

// CalibratedBeta is gBCE's exponent for a share of titles sampled as negatives; calibration is 0 (none) to 1 (full).
func CalibratedBeta(share, calibration float64) float32 {
	return float32(share * (calibration*(1-1/share) + 1/share))
}

// Row is the RowLoss.
func (l *BinaryCrossEntropy) Row(_ int, own float32, scores []float32) (float64, float32) {
	loss := float64(l.Beta) * softplus(-own)
	for j, s := range scores {
		loss += softplus(s)
		scores[j] = l.Weight * logistic(s)
	}
	return float64(l.Weight) * loss, -l.Weight * l.Beta * logistic(-own)
}

func softplus(x float32) float64 {
	return max(float64(x), 0) + math.Log1p(math.Exp(-math.Abs(float64(x))))
}

func logistic(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }
