package sparse

import (
	"fmt"
	"slices"
)

// Combine says what becomes of several triplets for the same cell.
type Combine int

const (
	// Reject makes a repeated cell an error.
	Reject Combine = iota
	// Sum adds the values up, in the order given.
	Sum
	// Max keeps the largest value.
	Max
	// Last keeps the value given last.
	Last
)

// FromTriplets builds a rows x cols matrix from entries (row[i], col[i], val[i]) in any order; a nil val means 1
// everywhere. Time is linear in entries plus a sort within each row. Errors wrap ErrInvalid and name the offending entry
// by its position i.
func FromTriplets(rows, cols int, row, col []uint32, val []float32, how Combine) (*CSR, error) {
	if err := checkTriplets(rows, cols, row, col, val); err != nil {
		return nil, err
	}
	m := &CSR{Rows: rows, Cols: cols, Indptr: make([]int64, rows+1)}
	for _, r := range row {
		m.Indptr[r+1]++
	}
	for r := range rows {
		m.Indptr[r+1] += m.Indptr[r]
	}
	m.Indices = make([]uint32, len(col))
	m.Values = make([]float32, len(col))
	next := slices.Clone(m.Indptr[:rows])
	for i, r := range row {
		k := next[r]
		next[r]++
		m.Indices[k] = col[i]
		m.Values[k] = 1
		if val != nil {
			m.Values[k] = val[i]
		}
	}
	if err := m.sortRows(how); err != nil {
		return nil, err
	}
	return m, nil
}

func checkTriplets(rows, cols int, row, col []uint32, val []float32) error {
	if err := checkDims(rows, cols); err != nil {
		return err
	}
	if len(row) != len(col) || (val != nil && len(val) != len(row)) {
		return fmt.Errorf("%w: %d rows, %d columns and %d values given, want equally many", ErrInvalid, len(row), len(col), len(val))
	}
	for i := range row {
		if int64(row[i]) >= int64(rows) || int64(col[i]) >= int64(cols) {
			return fmt.Errorf("%w: entry %d is at (%d, %d), outside %d x %d", ErrInvalid, i, row[i], col[i], rows, cols)
		}
		if val != nil && !finite(val[i]) {
			return fmt.Errorf("%w: entry %d at (%d, %d) has value %v, want a finite number", ErrInvalid, i, row[i], col[i], val[i])
		}
	}
	return nil
}

type cell struct {
	col uint32
	val float32
}

// sortRows orders every row by column (stable, so "in the order given" means something), merges repeated cells and
// closes the gaps that merging leaves.
func (m *CSR) sortRows(how Combine) error {
	var buf []cell
	var out int64
	start := m.Indptr[0]
	for r := range m.Rows {
		end := m.Indptr[r+1]
		buf = buf[:0]
		for k := start; k < end; k++ {
			buf = append(buf, cell{m.Indices[k], m.Values[k]})
		}
		slices.SortStableFunc(buf, func(a, b cell) int { return int(int64(a.col) - int64(b.col)) })
		rowStart := out
		for _, c := range buf {
			if out > rowStart && m.Indices[out-1] == c.col {
				v, err := how.merge(m.Values[out-1], c.val)
				if err != nil {
					return fmt.Errorf("%w: row %d column %d %w", ErrInvalid, r, c.col, err)
				}
				m.Values[out-1] = v
				continue
			}
			m.Indices[out], m.Values[out] = c.col, c.val
			out++
		}
		start = end
		m.Indptr[r+1] = out
	}
	m.Indices, m.Values = m.Indices[:out:out], m.Values[:out:out]
	return nil
}

func (how Combine) merge(old, v float32) (float32, error) {
	switch how {
	case Sum:
		if !finite(old + v) {
			return 0, fmt.Errorf("sums to %v, want a finite number", old+v)
		}
		return old + v, nil
	case Max:
		return max(old, v), nil
	case Last:
		return v, nil
	case Reject:
		return 0, fmt.Errorf("is given more than once")
	default:
		return 0, fmt.Errorf("is given more than once and Combine(%d) is unknown", int(how))
	}
}
