package gbdt

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// binned holds the examples column by column, each value as the number of its interval: 0 for NaN, i+1 for values above edge i-1 and
// at most edge i.
type binned struct {
	columns [][]uint8
	edges   [][]float32
}

// sampleRows bounds how many rows the edges are chosen from.
const sampleRows = 200_000

func bin(x Matrix, bins int) *binned {
	b := &binned{columns: make([][]uint8, x.Cols), edges: make([][]float32, x.Cols)}
	step := max(1, x.Rows/sampleRows)
	values := make([]float32, 0, x.Rows/step+1)
	for f := range x.Cols {
		values = values[:0]
		for i := 0; i < x.Rows; i += step {
			if v := x.Values[i*x.Cols+f]; v == v {
				values = append(values, v)
			}
		}
		slices.Sort(values)
		b.edges[f] = edges(values, bins)
		b.columns[f] = make([]uint8, x.Rows)
		for i := range x.Rows {
			b.columns[f][i] = place(b.edges[f], x.Values[i*x.Cols+f])
		}
	}
	return b
}

// place is the number of a value's interval.
func place(edges []float32, v float32) uint8 {
	if v != v {
		return 0
	}
	return uint8(1 + sort.Search(len(edges), func(i int) bool { return v <= edges[i] }))
}

// edges cuts sorted values into at most bins intervals of about equal numbers, between distinct values.
func edges(sorted []float32, bins int) []float32 {
	type run struct {
		v float32
		n int
	}
	var runs []run
	for _, v := range sorted {
		if len(runs) > 0 && runs[len(runs)-1].v == v {
			runs[len(runs)-1].n++
		} else {
			runs = append(runs, run{v, 1})
		}
	}
	var out []float32
	left, open := len(sorted), 0
	for i := 0; i+1 < len(runs) && len(out)+1 < bins; i++ {
		open += runs[i].n
		// What is left is shared evenly by the intervals left; fewer distinct values than intervals get one each.
		if rest := bins - len(out); open*rest >= left || len(runs)-i <= rest {
			out = append(out, between(runs[i].v, runs[i+1].v))
			left -= open
			open = 0
		}
	}
	return out
}

// between is a number at least a and below b: the middle where float32 has one.
func between(a, b float32) float32 {
	if m := a + (b-a)/2; m >= a && m < b {
		return m
	}
	return a
}

func (e Examples) check(what string, objective Objective) error {
	if e.X.Rows < 1 || e.X.Cols < 1 || len(e.X.Values) != e.X.Rows*e.X.Cols {
		return fmt.Errorf("%w: %s: %d x %d features in %d values", ErrData, what, e.X.Rows, e.X.Cols, len(e.X.Values))
	}
	if len(e.Label) != e.X.Rows || e.Weight != nil && len(e.Weight) != e.X.Rows {
		return fmt.Errorf("%w: %s: %d rows have %d labels and %d weights", ErrData, what, e.X.Rows, len(e.Label), len(e.Weight))
	}
	for i, v := range e.X.Values {
		if math.IsInf(float64(v), 0) {
			return fmt.Errorf("%w: %s: feature %d of row %d is infinite; NaN stands for what is not known", ErrData, what, i%e.X.Cols, i/e.X.Cols)
		}
	}
	for i, w := range e.Weight {
		if !(w >= 0) || math.IsInf(float64(w), 0) {
			return fmt.Errorf("%w: %s: row %d weighs %g; weights are finite and not negative", ErrData, what, i, w)
		}
	}
	total := 0
	for i, n := range e.Groups {
		if n < 1 {
			return fmt.Errorf("%w: %s: group %d has %d rows", ErrData, what, i, n)
		}
		total += n
	}
	if len(e.Groups) > 0 && total != e.X.Rows {
		return fmt.Errorf("%w: %s: groups of %d rows in all, but %d rows", ErrData, what, total, e.X.Rows)
	}
	return objective.check(what, e)
}

func (e Examples) weight(i int) float64 {
	if e.Weight == nil {
		return 1
	}
	return float64(e.Weight[i])
}
