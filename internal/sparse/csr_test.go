package sparse

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

func TestFromTripletsSortsAndMerges(t *testing.T) {
	row := []uint32{2, 0, 2, 0, 2}
	col := []uint32{3, 1, 0, 1, 3}
	val := []float32{5, 1, 2, 4, -1}
	tests := []struct {
		how  Combine
		want []float32
	}{
		{Sum, []float32{5, 2, 4}},
		{Max, []float32{4, 2, 5}},
		{Last, []float32{4, 2, -1}},
	}
	for _, tc := range tests {
		m, err := FromTriplets(3, 4, row, col, val, tc.how)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Validate(); err != nil {
			t.Fatal(err)
		}
		if want := []int64{0, 1, 1, 3}; !reflect.DeepEqual(m.Indptr, want) {
			t.Errorf("combine %d: row pointers %v, want %v", tc.how, m.Indptr, want)
		}
		if want := []uint32{1, 0, 3}; !reflect.DeepEqual(m.Indices, want) {
			t.Errorf("combine %d: columns %v, want %v", tc.how, m.Indices, want)
		}
		if !reflect.DeepEqual(m.Values, tc.want) {
			t.Errorf("combine %d: values %v, want %v", tc.how, m.Values, tc.want)
		}
	}
}

func TestFromTripletsRefuses(t *testing.T) {
	nan := float32(math.NaN())
	tests := []struct {
		name       string
		rows, cols int
		row, col   []uint32
		val        []float32
		how        Combine
		want       string
	}{
		{"repeated", 2, 2, []uint32{1, 1}, []uint32{0, 0}, nil, Reject, "row 1 column 0 is given more than once"},
		{"row out of range", 2, 2, []uint32{2}, []uint32{0}, nil, Sum, "entry 0 is at (2, 0), outside 2 x 2"},
		{"column out of range", 2, 2, []uint32{0, 1}, []uint32{0, 7}, nil, Sum, "entry 1 is at (1, 7)"},
		{"NaN", 2, 2, []uint32{0}, []uint32{0}, []float32{nan}, Sum, "value NaN"},
		{"infinite", 2, 2, []uint32{0}, []uint32{0}, []float32{float32(math.Inf(-1))}, Sum, "value -Inf"},
		{"overflowing sum", 1, 1, []uint32{0, 0}, []uint32{0, 0}, []float32{math.MaxFloat32, math.MaxFloat32}, Sum, "sums to +Inf"},
		{"uneven", 2, 2, []uint32{0, 1}, []uint32{0}, nil, Sum, "2 rows, 1 columns"},
		{"negative shape", -1, 2, nil, nil, nil, Sum, "shape -1 x 2"},
		{"unknown combine", 1, 1, []uint32{0, 0}, []uint32{0, 0}, nil, Combine(9), "Combine(9)"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := FromTriplets(tc.rows, tc.cols, tc.row, tc.col, tc.val, tc.how)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want ErrInvalid saying %q", err, tc.want)
			}
		})
	}
}

func TestTransposeAgainstDense(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		rows, cols, n := rng.IntN(20)+1, rng.IntN(20)+1, rng.IntN(100)
		dense := make([]float32, rows*cols)
		var row, col []uint32
		var val []float32
		for range n {
			r, c, v := rng.IntN(rows), rng.IntN(cols), float32(rng.IntN(9)+1)
			row, col, val = append(row, uint32(r)), append(col, uint32(c)), append(val, v)
			dense[r*cols+c] += v
		}
		m, err := FromTriplets(rows, cols, row, col, val, Sum)
		if err != nil {
			t.Fatal(err)
		}
		tr := m.Transpose()
		if err := tr.Validate(); err != nil {
			t.Fatal(err)
		}
		for c := range cols {
			idx, vals := tr.Row(c)
			got := make([]float32, rows)
			for k, r := range idx {
				got[r] = vals[k]
			}
			for r := range rows {
				if got[r] != dense[r*cols+c] || m.Has(r, uint32(c)) != (dense[r*cols+c] != 0) {
					t.Fatalf("cell (%d, %d): transpose has %v, dense %v", r, c, got[r], dense[r*cols+c])
				}
			}
		}
		if back := tr.Transpose(); !reflect.DeepEqual(back, m) {
			t.Fatalf("transposing twice gave another matrix")
		}
	}
}

func TestValidateNamesTheFault(t *testing.T) {
	good := func() *CSR {
		return &CSR{Rows: 2, Cols: 3, Indptr: []int64{0, 2, 3}, Indices: []uint32{0, 2, 1}, Values: []float32{1, 2, 3}}
	}
	tests := []struct {
		name  string
		spoil func(*CSR)
		want  string
	}{
		{"good", func(*CSR) {}, ""},
		{"pointers short", func(m *CSR) { m.Indptr = m.Indptr[:2] }, "2 row pointers"},
		{"pointers past the end", func(m *CSR) { m.Indptr[1] = 9 }, "row 0 ends at entry 9"},
		{"pointers fall", func(m *CSR) { m.Indptr[1] = -1 }, "row 0 ends at entry -1"},
		{"values short", func(m *CSR) { m.Values = m.Values[:2] }, "3 column indices but 2 values"},
		{"column range", func(m *CSR) { m.Indices[2] = 3 }, "row 1 has column 3"},
		{"column order", func(m *CSR) { m.Indices[0] = 2 }, "strictly ascending"},
		{"not finite", func(m *CSR) { m.Values[1] = float32(math.NaN()) }, "row 0 column 2 has value NaN"},
		{"last pointer", func(m *CSR) { m.Indptr[2] = 2 }, "run from 0 to 2"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := good()
			tc.spoil(m)
			err := m.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestEmpty(t *testing.T) {
	m, err := FromTriplets(0, 5, nil, nil, nil, Sum)
	if err != nil {
		t.Fatal(err)
	}
	tr := m.Transpose()
	if tr.Rows != 5 || tr.NNZ() != 0 || tr.Validate() != nil || tr.RowLen(4) != 0 {
		t.Fatalf("transpose of an empty matrix: %+v", tr)
	}
}
