package knn

import (
	"fmt"
	"math"

	"marquee/internal/sparse"
)

// positive is m without the entries of strength 0 and below.
func positive(m *sparse.CSR) (*sparse.CSR, error) {
	if m == nil {
		return nil, fmt.Errorf("%w: no matrix", ErrData)
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrData, err)
	}
	p := &sparse.CSR{Rows: m.Rows, Cols: m.Cols, Indptr: make([]int64, m.Rows+1)}
	for r := range m.Rows {
		cols, vals := m.Row(r)
		for i, v := range vals {
			if v > 0 {
				p.Indices, p.Values = append(p.Indices, cols[i]), append(p.Values, v)
			}
		}
		p.Indptr[r+1] = int64(len(p.Indices))
	}
	if p.NNZ() == 0 {
		return nil, fmt.Errorf("%w: none of the %d entries of the %d x %d matrix has a strength above 0", ErrData, m.NNZ(), m.Rows, m.Cols)
	}
	return p, nil
}

// weighting is how the entries of a row are weighed before rows are compared. It is taken from the rows that train and applies to
// others alike.
type weighting struct {
	k1, b float64
	scale []float64 // by column: its number of entries to the power of -Activity
	idf   []float64 // by column; nil without BM25
	mean  float64   // sum of a row, on average
}

func newWeighting(rows *sparse.CSR, cfg Config) *weighting {
	count := make([]float64, rows.Cols)
	for _, c := range rows.Indices {
		count[c]++
	}
	w := &weighting{k1: cfg.K1, b: cfg.B, scale: make([]float64, rows.Cols)}
	for c, n := range count {
		w.scale[c] = math.Pow(max(n, 1), -cfg.Activity)
	}
	if cfg.K1 == 0 {
		return w
	}
	w.idf = make([]float64, rows.Cols)
	for c, n := range count {
		w.idf[c] = max(math.Log(float64(rows.Rows))-math.Log1p(n), 0)
	}
	var total float64
	for i, v := range rows.Values {
		total += float64(v) * w.scale[rows.Indices[i]]
	}
	w.mean = total / float64(rows.Rows)
	return w
}

// weigh replaces the strengths of a row by their weights and returns their squared norm.
func (w *weighting) weigh(cols []uint32, vals []float32) (norm float64) {
	var length float64
	for i, v := range vals {
		vals[i] = float32(float64(v) * w.scale[cols[i]])
		length += float64(vals[i])
	}
	if w.idf != nil {
		k := w.k1 * (1 - w.b + w.b*length/w.mean)
		for i, v := range vals {
			vals[i] = float32(w.idf[cols[i]] * float64(v) * (w.k1 + 1) / (k + float64(v)))
		}
	}
	for _, v := range vals {
		norm += float64(v) * float64(v)
	}
	return norm
}

// table is weighed rows with what is needed to compare others with them.
type table struct {
	cfg     Config
	weights *weighting
	rows    *sparse.CSR // weighed
	columns *sparse.CSR // rows, transposed
	norm    []float64   // of each row, squared
}

// newTable weighs rows in place.
func newTable(rows *sparse.CSR, cfg Config) *table {
	t := &table{cfg: cfg, weights: newWeighting(rows, cfg), rows: rows, norm: make([]float64, rows.Rows)}
	for r := range t.norm {
		t.norm[r] = t.weights.weigh(rows.Row(r))
	}
	t.columns = rows.Transpose()
	return t
}
