package knn

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"marquee/internal/sparse"
)

// neighbour is a row and how like another it is.
type neighbour struct {
	row uint32
	sim float32
}

// search is the working memory of one goroutine that looks for neighbours.
type search struct {
	sum     []float32 // by row; all 0 between searches
	touched []uint32
	found   []neighbour
}

func (t *table) newSearch() *search { return &search{sum: make([]float32, t.rows.Rows)} }

// none is a row that is not in the table.
const none = -1

// nearest finds the rows most like the one given, best first and the row self left out. The result is valid until the next search.
func (t *table) nearest(s *search, self int, cols []uint32, vals []float32, norm float64) []neighbour {
	t.products(s, cols, vals)
	s.found = s.found[:0]
	for _, r := range s.touched {
		if like := t.similarity(norm, t.norm[r], s.sum[r]); like > 0 && int(r) != self {
			s.found = append(s.found, neighbour{r, like})
		}
		s.sum[r] = 0
	}
	s.found = largest(s.found, t.cfg.Neighbours)
	return s.found
}

// products adds up the inner products with every row that shares a column.
func (t *table) products(s *search, cols []uint32, vals []float32) {
	s.touched = s.touched[:0]
	for k, c := range cols {
		w := vals[k]
		if w == 0 {
			continue
		}
		rows, weights := t.columns.Row(int(c))
		for n, r := range rows {
			if weights[n] == 0 {
				continue
			}
			if s.sum[r] == 0 {
				s.touched = append(s.touched, r)
			}
			s.sum[r] += w * weights[n]
		}
	}
}

func (t *table) similarity(own, other float64, product float32) float32 {
	d := math.Sqrt(own * other)
	if a := t.cfg.Asymmetry; a != 0.5 {
		d = math.Pow(own, a) * math.Pow(other, 1-a)
	}
	if d += t.cfg.Shrinkage; d <= 0 || math.IsInf(d, 1) {
		return 0 // Products and norms of strengths beyond float32's means say nothing.
	}
	like := float32(float64(product) / d)
	if like-like != 0 {
		return 0
	}
	return like
}

// largest moves the k most similar to the front, best first and equal ones by row, and returns those. Selecting comes before
// sorting: a popular row meets tens of thousands of others.
func largest(found []neighbour, k int) []neighbour {
	before := func(a, b neighbour) int { return cmp.Or(cmp.Compare(b.sim, a.sim), cmp.Compare(a.row, b.row)) }
	if len(found) > k {
		partition(found, k, before)
		found = found[:k]
	}
	slices.SortFunc(found, before)
	return found
}

// partition reorders s so that its first k elements are those that sort first (Hoare's selection).
func partition(s []neighbour, k int, compare func(a, b neighbour) int) {
	lo, hi := 0, len(s)-1
	for lo < hi {
		pivot := s[lo+(hi-lo)/2]
		i, j := lo, hi
		for i <= j {
			for compare(s[i], pivot) < 0 {
				i++
			}
			for compare(s[j], pivot) > 0 {
				j--
			}
			if i <= j {
				s[i], s[j] = s[j], s[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case k-1 <= j:
			hi = j
		case k-1 >= i:
			lo = i
		default:
			return
		}
	}
}

// all finds the nearest of every row in parallel: row i of the result holds the rows nearest to i by number.
func (t *table) all(ctx context.Context) (*sparse.CSR, error) {
	workers := t.cfg.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	near := make([][]neighbour, t.rows.Rows)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { t.work(ctx, &next, near) })
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return matrix(near)
}

// work takes rows in runs, since neighbouring rows cost alike and a row alone is soon done.
func (t *table) work(ctx context.Context, next *atomic.Int64, near [][]neighbour) {
	const run = 64
	s := t.newSearch()
	for ctx.Err() == nil {
		lo := int(next.Add(run)) - run
		if lo >= len(near) {
			return
		}
		for i := lo; i < min(lo+run, len(near)); i++ {
			cols, vals := t.rows.Row(i)
			near[i] = slices.Clone(t.nearest(s, i, cols, vals, t.norm[i]))
			slices.SortFunc(near[i], func(a, b neighbour) int { return cmp.Compare(a.row, b.row) })
		}
	}
}

func matrix(near [][]neighbour) (*sparse.CSR, error) {
	m := &sparse.CSR{Rows: len(near), Cols: len(near), Indptr: make([]int64, len(near)+1)}
	for i, row := range near {
		for _, n := range row {
			m.Indices, m.Values = append(m.Indices, n.row), append(m.Values, n.sim)
		}
		m.Indptr[i+1] = int64(len(m.Indices))
	}
	return m, m.Validate()
}
