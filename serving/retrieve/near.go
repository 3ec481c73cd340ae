package retrieve

import (
	"math"
	"slices"

	"marquee/serving/view"
)

// nearness is what the neighbours of a history say of titles: for each, the sum over the history of strength times similarity.
type nearness struct {
	score   []float32 // by model row; 0 for what is not touched
	touched []uint32
	order   []uint64 // scores falling, then rows
	summed  bool
}

func (n *nearness) forget() {
	for _, row := range n.touched {
		n.score[row] = 0
	}
	n.touched, n.summed = n.touched[:0], false
}

// sumNear adds up the neighbours of what was folded in, once a request.
func (q *Query) sumNear() {
	n := &q.near
	if n.summed {
		return
	}
	n.summed = true
	if rows := q.Picture.ModelRows(); len(n.score) < rows {
		n.score = make([]float32, rows)
	}
	for _, h := range q.Interactions {
		rows, similarity := q.Picture.Bundle.Near(h.Row)
		for i, row := range rows {
			if n.score[row] == 0 {
				n.touched = append(n.touched, row)
			}
			n.score[row] += h.Strength * similarity[i]
		}
	}
}

// NearScore is what the neighbours of the history say of a title of the release: NaN where they say nothing.
func (q *Query) NearScore(row uint32) float32 {
	q.sumNear()
	if s := q.near.score[row]; s != 0 {
		return s
	}
	return float32(math.NaN())
}

// FromNear adds the count titles that the neighbours of the history speak most for.
func (q *Query) FromNear(count int) {
	q.sumNear()
	n := &q.near
	n.order = n.order[:0]
	for _, row := range n.touched {
		if s := n.score[row]; s > 0 && q.Open.Has(row) {
			n.order = append(n.order, uint64(^math.Float32bits(s))<<32|uint64(row)) // positive floats order as their bits do
		}
	}
	for _, packed := range first(n.order, count) {
		row := uint32(packed)
		q.Add(Candidate{Row: row, Source: Near, Subject: view.None, Score: n.score[row]})
	}
}

// first moves the n smallest of s to its front, in order, and returns them without repetitions: a row whose score went through 0 on
// the way is there twice. To select before sorting matters: a history touches thousands.
func first(s []uint64, n int) []uint64 {
	lo, hi := 0, len(s)-1
	for lo < hi && n < len(s) {
		pivot := s[lo+(hi-lo)/2]
		i, j := lo, hi
		for i <= j {
			for s[i] < pivot {
				i++
			}
			for s[j] > pivot {
				j--
			}
			if i <= j {
				s[i], s[j] = s[j], s[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case n-1 <= j:
			hi = j
		case n-1 >= i:
			lo = i
		default:
			lo = hi
		}
	}
	s = s[:min(n, len(s))]
	slices.Sort(s)
	return slices.Compact(s)
}
