package twotower

import (
	"fmt"
	"math"
	"math/bits"

	"marquee/internal/sparse"
)

// History is what a user watched, the oldest first where the order is known.
type History struct {
	Titles []uint32
	// Strength is above 0 and at most 1e6; nil means 1 of each. Age is in days before the moment of training; nil means unknown.
	// Context is the category each was watched in, below Data.Contexts (a device, an hour); nil means unknown.
	Strength, Age []float32
	Context       []uint32
}

// Data is what is trained on.
type Data struct {
	Titles    int
	Histories []History // a user each
	// Content is titles x terms, Attributes users x attributes, with weights; nil where nothing is known.
	Content, Attributes *sparse.CSR
	Contexts            int
}

// Validate says what is wrong and where.
func (d *Data) Validate() error {
	if d.Titles < 1 || d.Titles > math.MaxInt32 || d.Contexts < 0 {
		return fmt.Errorf("%w: %d titles, %d contexts", ErrData, d.Titles, d.Contexts)
	}
	for _, m := range []struct {
		name string
		m    *sparse.CSR
		rows int
	}{{"content", d.Content, d.Titles}, {"attributes", d.Attributes, len(d.Histories)}} {
		if m.m == nil {
			continue
		}
		if err := m.m.Validate(); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrData, m.name, err)
		}
		if m.m.Rows != m.rows {
			return fmt.Errorf("%w: %s of %d rows, want %d", ErrData, m.name, m.m.Rows, m.rows)
		}
	}
	watched := 0
	for u := range d.Histories {
		if err := d.Histories[u].validate(d.Titles, d.Contexts); err != nil {
			return fmt.Errorf("%w: user %d: %w", ErrData, u, err)
		}
		watched += len(d.Histories[u].Titles)
	}
	if watched == 0 {
		return fmt.Errorf("%w: none of %d users has watched anything", ErrData, len(d.Histories))
	}
	return nil
}

// maxStrength bounds strengths, so that sums stay within float32's means.
const maxStrength = 1e6

func (h *History) validate(titles, contexts int) error {
	n := len(h.Titles)
	if h.Strength != nil && len(h.Strength) != n || h.Age != nil && len(h.Age) != n || h.Context != nil && len(h.Context) != n {
		return fmt.Errorf("%d titles with %d strengths, %d ages and %d contexts", n, len(h.Strength), len(h.Age), len(h.Context))
	}
	for i, t := range h.Titles {
		if int64(t) >= int64(titles) {
			return fmt.Errorf("title %d at place %d, there are %d titles", t, i, titles)
		}
		if h.Strength != nil && !(h.Strength[i] > 0 && h.Strength[i] <= maxStrength) {
			return fmt.Errorf("strength %v at place %d, want above 0 and at most %g", h.Strength[i], i, maxStrength)
		}
		if h.Age != nil && !(math.Abs(float64(h.Age[i])) <= math.MaxFloat32) {
			return fmt.Errorf("age %v at place %d, want a finite number of days", h.Age[i], i)
		}
		if h.Context != nil && int64(h.Context[i]) >= int64(contexts) {
			return fmt.Errorf("context %d at place %d, there are %d", h.Context[i], i, contexts)
		}
	}
	return nil
}

func (h *History) strength(i int) float32 {
	if h.Strength == nil {
		return 1
	}
	return h.Strength[i]
}

// bucket is the recency bucket of watch i at the moment when the age was now: 0 below one day, k below 2^k days; unknown is the last.
func (h *History) bucket(i int, now float32, buckets int) uint32 {
	if h.Age == nil {
		return uint32(buckets - 1)
	}
	days := h.Age[i] - now
	if !(days >= 1) {
		return 0
	}
	return uint32(min(bits.Len32(uint32(min(days, 1<<30))), buckets-1))
}
