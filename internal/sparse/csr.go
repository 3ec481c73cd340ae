// Package sparse holds the compressed sparse row matrix that data sets are read into and models are trained on.
//
// It stores no zero it was not given: an explicit value of 0 is an entry like any other, which is how an
// abandoned title ("seen, weight nothing") is told from one never met.
package sparse

import (
	"errors"
	"fmt"
	"math"
)

// ErrInvalid is wrapped by every error about the content of a matrix.
var ErrInvalid = errors.New("invalid sparse matrix")

// CSR is a Rows x Cols matrix in compressed sparse row form. Row r holds entries Indptr[r] to Indptr[r+1]
// (exclusive) of Indices and Values, with its columns strictly ascending.
// An empty matrix still has one row pointer.
//
// A CSR is immutable once built and safe for concurrent readers.
type CSR struct {
	Rows, Cols int
	Indptr     []int64   // length Rows+1, non-decreasing, Indptr[0] == 0
	Indices    []uint32  // length Indptr[Rows], each in [0, Cols)
	Values     []float32 // same length as Indices, finite
}

// NNZ returns the number of stored entries.
func (m *CSR) NNZ() int { return len(m.Indices) }

// Row returns row r's columns and values, sharing the matrix's memory.
func (m *CSR) Row(r int) ([]uint32, []float32) {
	lo, hi := m.Indptr[r], m.Indptr[r+1]
	return m.Indices[lo:hi:hi], m.Values[lo:hi:hi]
}

// RowLen returns the number of entries in row r.
func (m *CSR) RowLen(r int) int { return int(m.Indptr[r+1] - m.Indptr[r]) }

// Has reports whether row r has an entry at column c, in time logarithmic in the row's length.
func (m *CSR) Has(r int, c uint32) bool {
	cols, _ := m.Row(r)
	lo, hi := 0, len(cols)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if cols[mid] < c {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(cols) && cols[lo] == c
}

// Transpose returns the Cols x Rows transpose (the CSC view of the same entries), in time linear in entries.
func (m *CSR) Transpose() *CSR {
	t := &CSR{
		Rows: m.Cols, Cols: m.Rows,
		Indptr:  make([]int64, m.Cols+1),
		Indices: make([]uint32, len(m.Indices)),
		Values:  make([]float32, len(m.Values)),
	}
	for _, c := range m.Indices {
		t.Indptr[c+1]++
	}
	for c := range m.Cols {
		t.Indptr[c+1] += t.Indptr[c]
	}
	next := make([]int64, m.Cols)
	copy(next, t.Indptr)
	// Rows are visited in order, so each transposed row comes out with ascending columns.
	for r := range m.Rows {
		for k := m.Indptr[r]; k < m.Indptr[r+1]; k++ {
			c := m.Indices[k]
			t.Indices[next[c]] = uint32(r)
			t.Values[next[c]] = m.Values[k]
			next[c]++
		}
	}
	return t
}

// Validate checks every invariant stated on CSR. Its errors wrap ErrInvalid and name the row and entry at fault.
func (m *CSR) Validate() error {
	if err := m.validateShape(); err != nil {
		return err
	}
	for r := range m.Rows {
		if m.Indptr[r+1] < m.Indptr[r] || m.Indptr[r+1] > int64(len(m.Indices)) {
			return fmt.Errorf("%w: row %d ends at entry %d, which must be between %d and %d",
				ErrInvalid, r, m.Indptr[r+1], m.Indptr[r], len(m.Indices))
		}
		if err := m.validateRow(r); err != nil {
			return err
		}
	}
	return nil
}

func (m *CSR) validateShape() error {
	if err := checkDims(m.Rows, m.Cols); err != nil {
		return err
	}
	if len(m.Indptr) != m.Rows+1 {
		return fmt.Errorf("%w: %d row pointers for %d rows, want %d", ErrInvalid, len(m.Indptr), m.Rows, m.Rows+1)
	}
	if len(m.Indices) != len(m.Values) {
		return fmt.Errorf("%w: %d column indices but %d values", ErrInvalid, len(m.Indices), len(m.Values))
	}
	if m.Indptr[0] != 0 || m.Indptr[m.Rows] != int64(len(m.Indices)) {
		return fmt.Errorf("%w: row pointers run from %d to %d, want 0 to %d",
			ErrInvalid, m.Indptr[0], m.Indptr[m.Rows], len(m.Indices))
	}
	return nil
}

func (m *CSR) validateRow(r int) error {
	cols, vals := m.Row(r)
	for k, c := range cols {
		if int64(c) >= int64(m.Cols) {
			return fmt.Errorf("%w: row %d has column %d, but there are %d columns", ErrInvalid, r, c, m.Cols)
		}
		if k > 0 && cols[k-1] >= c {
			return fmt.Errorf("%w: row %d has column %d after column %d, want strictly ascending", ErrInvalid, r, c, cols[k-1])
		}
		if !finite(vals[k]) {
			return fmt.Errorf("%w: row %d column %d has value %v, want a finite number", ErrInvalid, r, c, vals[k])
		}
	}
	return nil
}

func checkDims(rows, cols int) error {
	if rows < 0 || cols < 0 || int64(rows) > math.MaxUint32 || int64(cols) > math.MaxUint32 {
		return fmt.Errorf("%w: shape %d x %d, each side must be between 0 and %d", ErrInvalid, rows, cols, uint32(math.MaxUint32))
	}
	return nil
}

func finite(v float32) bool { return v-v == 0 }
