package metric

import "fmt"

// Ties says where a relevant title stands among candidates with the very same score. A model whose scores are all equal is
// perfect under Best, so that mode is for finding such a model out, never for reporting.
type Ties int

const (
	// Worst puts it behind all of them.
	Worst Ties = iota
	// Expected averages the metric over all orders of the tied titles.
	Expected
	// Best puts it before all of them.
	Best
)

// String names the mode as reports do.
func (t Ties) String() string {
	switch t {
	case Worst:
		return "worst"
	case Expected:
		return "expected"
	case Best:
		return "best"
	default:
		return fmt.Sprintf("Ties(%d)", int(t))
	}
}

// Standing is where one relevant title stands among sampled candidates: how many score above it and how many tie with it.
type Standing struct{ Above, Tied int }

// Stand compares a relevant title's score with those of the other candidates. A NaN on either side compares as a tie, so
// that under Worst a model that returns NaN gains nothing by it.
func Stand(score float32, others []float32) Standing {
	var s Standing
	for _, o := range others {
		switch {
		case o > score:
			s.Above++
		case o < score:
		default:
			s.Tied++
		}
	}
	return s
}

// HitRate is 1 if the title is among the first k, else 0; under Expected the probability of it.
func (s Standing) HitRate(k int, t Ties) float64 {
	return s.average(k, t, func(int) float64 { return 1 })
}

// NDCG is 1/log2(position+2) if the title is among the first k, else 0: the binary NDCG with one relevant title.
func (s Standing) NDCG(k int, t Ties) float64 { return s.average(k, t, discount) }

// ReciprocalRank is 1/(position+1) if the title is among the first k, else 0.
func (s Standing) ReciprocalRank(k int, t Ties) float64 {
	return s.average(k, t, func(pos int) float64 { return 1 / float64(pos+1) })
}

// AUC is the share of candidates it beats, of others candidates besides it; 0.5 where there are none.
func (s Standing) AUC(others int, t Ties) float64 {
	if others < 1 {
		return 0.5
	}
	lost := float64(s.Above)
	switch t {
	case Best:
	case Expected:
		lost += float64(s.Tied) / 2
	default:
		lost += float64(s.Tied)
	}
	return 1 - lost/float64(others)
}

// average applies f to the positions below k that the title may take.
func (s Standing) average(k int, t Ties, f func(pos int) float64) float64 {
	lo, hi := s.Above+s.Tied, s.Above+s.Tied
	switch t {
	case Best:
		lo, hi = s.Above, s.Above
	case Expected:
		lo = s.Above
	}
	var sum float64
	for pos := lo; pos <= hi && pos < k; pos++ {
		sum += f(pos)
	}
	return sum / float64(hi-lo+1)
}
