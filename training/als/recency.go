package als

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"marquee/internal/sparse"
)

// Recency makes what a user watched long ago count for less: of a title after which the user watched n others, the strength is multiplied by
// Floor + (1-Floor) * 2^(-n/HalfLife). Taste drifts, and what comes next is nearer to what came last (Koren, Collaborative filtering
// with temporal dynamics, 2009). Rows of titles are weighted by the same numbers, so a title is told by who watched it lately.
type Recency struct {
	// HalfLife is a number of titles, above 0; 0 leaves strengths as they are.
	HalfLife float64
	// Floor is what the oldest titles keep of their strength, 0 to 1.
	Floor float64
}

// Validate reports every field out of its range.
func (r Recency) Validate() error {
	var errs []error
	if !(r.HalfLife >= 0) || math.IsInf(r.HalfLife, 0) {
		errs = append(errs, fmt.Errorf("recency: the half-life must be 0 or more titles, is %g", r.HalfLife))
	}
	if !(r.Floor >= 0 && r.Floor <= 1) {
		errs = append(errs, fmt.Errorf("recency: the floor must be between 0 and 1, is %g", r.Floor))
	}
	return errors.Join(errs...)
}

// Weigh returns m with strengths weighted. order[u] are user u's titles, the oldest first; titles that are not in m's row do not count, and
// one that occurs twice counts where it occurs last. Errors about m and order wrap ErrData.
func (r Recency) Weigh(m *sparse.CSR, order [][]uint32) (*sparse.CSR, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if r.HalfLife == 0 {
		return m, nil
	}
	if len(order) != m.Rows {
		return nil, fmt.Errorf("%w: the order of %d users is given and there are %d", ErrData, len(order), m.Rows)
	}
	out := *m
	out.Values = slices.Clone(m.Values)
	place := make([]int64, m.Cols) // of the row's titles in Values, plus one
	for u := range m.Rows {
		left := m.RowLen(u)
		for k := m.Indptr[u]; k < m.Indptr[u+1]; k++ {
			place[m.Indices[k]] = k + 1
		}
		n := 0
		for _, title := range slices.Backward(order[u]) {
			if int(title) >= m.Cols || place[title] == 0 {
				continue
			}
			out.Values[place[title]-1] *= float32(r.Floor + (1-r.Floor)*math.Exp2(-float64(n)/r.HalfLife))
			place[title] = 0
			n++
			left--
		}
		if left > 0 {
			return nil, fmt.Errorf("%w: %d of the %d titles of user %d have no place in the order", ErrData, left, m.RowLen(u), u)
		}
	}
	return &out, nil
}
