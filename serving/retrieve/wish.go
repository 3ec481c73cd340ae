package retrieve

import (
	"marquee/ann"
	"marquee/serving/expr"
)

// wish is what the caller's expressions ask for.
type wish struct {
	filter *expr.Filter
	masks  []ann.Bitmap   // each holds the titles that a part of the filter is true of; none: no filter
	rest   []*expr.Filter // scratch
	// particular: more of the filter must be asked of each candidate.
	particular bool
	boost      *expr.Boost
	raises     []float32 // by row; nil unless the boost hangs on titles alone
	request    expr.Request
}

// mask is the rows of which what hangs on titles alone in a filter is true. It is shared.
func (p *Picture) mask(f *expr.Filter) ann.Bitmap {
	return p.masks.Get(f, func() ann.Bitmap {
		m := ann.NewBitmap(p.Rows())
		for row := range uint32(p.Rows()) {
			if p.Has(row) && f.Holds(p.Title(row)) {
				m.Set(row)
			}
		}
		return m
	})
}

// raise is what a boost that hangs on titles alone says of every row. It is shared.
func (p *Picture) raise(b *expr.Boost) []float32 {
	return p.raises.Get(b, func() []float32 {
		out := make([]float32, p.Rows())
		for row := range uint32(p.Rows()) {
			if p.Has(row) {
				out[row] = b.Of(p.Title(row), nil)
			}
		}
		return out
	})
}

// Wish narrows the query to the titles that a filter is true of, and multiplies scores by a boost; either may be nil. It comes after
// Begin and before the sources are asked. What of the filter hangs on titles alone, or does once the request is known, narrows
// every search; the rest is asked of candidates.
func (q *Query) Wish(filter *expr.Filter, boost *expr.Boost, r expr.Request) {
	q.wish.filter, q.wish.boost, q.wish.request = filter, boost, r
	if filter != nil {
		q.wish.rest, q.wish.particular = filter.Settle(&q.wish.request, append(q.wish.rest, filter))
		before := q.Open.Count()
		for _, f := range q.wish.rest {
			mask := q.Picture.mask(f)
			q.wish.masks = append(q.wish.masks, mask)
			q.Open.And(mask)
		}
		q.Refused = before - q.Open.Count()
	}
	if boost != nil && boost.Fixed() {
		q.wish.raises = q.Picture.raise(boost)
	}
}

// forget makes the wish an empty one and keeps its memory.
func (w *wish) forget() {
	clear(w.masks)
	clear(w.rest)
	*w = wish{masks: w.masks[:0], rest: w.rest[:0]}
}

// Wanted reports whether the caller's filter is true of a title of the catalogue.
func (q *Query) Wanted(row uint32) bool {
	for _, mask := range q.wish.masks {
		if !mask.Has(row) {
			return false
		}
	}
	return q.wantedNow(row)
}

// Particular reports whether a filter must be asked of each candidate, so that a search may find fewer than it was asked for.
func (q *Query) Particular() bool { return q.wish.particular }

func (q *Query) wantedNow(row uint32) bool {
	return !q.Particular() || q.wish.filter.HoldsNow(q.Picture.Title(row), &q.wish.request)
}

// Boost is what a title's score is multiplied by for the caller.
func (q *Query) Boost(row uint32) float32 {
	switch {
	case q.wish.raises != nil:
		return q.wish.raises[row]
	case q.wish.boost != nil:
		return q.wish.boost.Of(q.Picture.Title(row), &q.wish.request)
	}
	return 1
}
