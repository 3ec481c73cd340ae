package retrieve

import (
	"cmp"
	"math"
	"slices"

	"marquee/serving/view"
)

// nearness is what the neighbours of a history say of titles: for each, the sum over the history of strength times similarity.
type nearness struct {
	score   []float32 // by model row; 0 for what is not touched
	touched []uint32
	order   []uint32
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
		if n.score[row] > 0 && q.Open.Has(row) {
			n.order = append(n.order, row)
		}
	}
	slices.SortFunc(n.order, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(n.score[b], n.score[a]), cmp.Compare(a, b))
	})
	// A row that went through 0 on the way is touched twice.
	for _, row := range slices.Compact(n.order) {
		if count <= 0 {
			return
		}
		count--
		q.Add(Candidate{Row: row, Source: Near, Subject: view.None, Score: n.score[row]})
	}
}
