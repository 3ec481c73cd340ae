package dataset

import (
	"sync"

	"marquee/internal/sparse"
)

// transpose is (*sparse.CSR).Transpose on several processors: each takes a run of rows with about as many entries as the
// others', counts its columns, and then writes where the counts of the runs before it end. The result is the same,
// columns ascending. Besides it, memory is workers x columns x 8 bytes.
func transpose(m *sparse.CSR, workers int) *sparse.CSR {
	bounds := splitRows(m, workers)
	workers = len(bounds) - 1
	next := make([][]int64, workers)
	each(workers, func(w int) {
		counts := make([]int64, m.Cols)
		for _, c := range m.Indices[m.Indptr[bounds[w]]:m.Indptr[bounds[w+1]]] {
			counts[c]++
		}
		next[w] = counts
	})
	t := &sparse.CSR{
		Rows: m.Cols, Cols: m.Rows, Indptr: make([]int64, m.Cols+1),
		Indices: make([]uint32, m.NNZ()), Values: make([]float32, m.NNZ()),
	}
	var at int64
	for c := range m.Cols {
		for w := range workers {
			at, next[w][c] = at+next[w][c], at
		}
		t.Indptr[c+1] = at
	}
	each(workers, func(w int) {
		for r := bounds[w]; r < bounds[w+1]; r++ {
			cols, vals := m.Row(r)
			for k, c := range cols {
				i := next[w][c]
				t.Indices[i], t.Values[i] = uint32(r), vals[k]
				next[w][c]++
			}
		}
	})
	return t
}

// splitRows returns the bounds of runs of rows with about equally many entries, at most parts of them.
func splitRows(m *sparse.CSR, parts int) []int {
	bounds := []int{0}
	for p := 1; p < parts; p++ {
		want := int64(p) * int64(m.NNZ()) / int64(parts)
		r := bounds[len(bounds)-1]
		for r < m.Rows && m.Indptr[r] < want {
			r++
		}
		bounds = append(bounds, r)
	}
	return append(bounds, m.Rows)
}

// each runs f(0) to f(n-1) side by side and waits for all.
func each(n int, f func(int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}
