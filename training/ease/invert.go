package ease

import (
	"context"
	"sync"
	"sync/atomic"

	"marquee/internal/vec"
)

// side is that of a tile: three of them lie in a second-level cache.
const side = 192

// tiled is a square matrix kept as square tiles, each row-major and contiguous. It is padded with the identity.
type tiled struct {
	n, tiles int
	data     []float32
}

func newTiled(n int) *tiled {
	t := (n + side - 1) / side
	m := &tiled{n: n, tiles: t, data: make([]float32, t*t*side*side)}
	for i := n; i < t*side; i++ {
		m.add(i, i, 1)
	}
	return m
}

func (m *tiled) tile(i, j int) []float32 {
	at := (i*m.tiles + j) * side * side
	return m.data[at : at+side*side : at+side*side]
}

// row is the part of row i that lies in the tiles of column j.
func (m *tiled) row(i, j int) []float32 {
	return m.tile(i/side, j)[i%side*side : (i%side+1)*side]
}

func (m *tiled) at(i, j int) float32     { return m.row(i, j/side)[j%side] }
func (m *tiled) add(i, j int, v float32) { m.row(i, j/side)[j%side] += v }

// run inverts a positive definite matrix whose upper tiles are given, in place: it is factored into U^T U (upper tiles), then
// V = U^-T fills the lower ones, and V^T V is the inverse. Every step is a product A^T B of tiles.
type run struct {
	ctx      context.Context
	workers  int
	m        *tiled
	progress func(float64)
	// inverse holds U_kk^-1 of each diagonal tile, upper triangular, and lower its transpose: V_kk.
	inverse, lower [][]float32
	done           float64 // tile products, of tiles^3/2
	mu             sync.Mutex
}

func (r *run) invert() error {
	r.inverse, r.lower = make([][]float32, r.m.tiles), make([][]float32, r.m.tiles)
	for k := range r.m.tiles {
		if err := r.factorRow(k); err != nil {
			return err
		}
	}
	if err := r.parallel(r.m.tiles, r.lowerColumn); err != nil {
		return err
	}
	if err := r.parallel(r.m.tiles, r.productRow); err != nil {
		return err
	}
	return r.parallel(r.m.tiles, func(i int) error {
		for j := i + 1; j < r.m.tiles; j++ {
			transpose(r.m.tile(j, i), r.m.tile(i, j))
		}
		return nil
	})
}

// factorRow makes row k of tiles of U.
func (r *run) factorRow(k int) error {
	m := r.m
	err := r.parallel(m.tiles-k, func(n int) error {
		j := k + n
		for above := range k {
			vec.SubTransposed(m.tile(k, j), m.tile(above, k), m.tile(above, j), side)
		}
		r.count(k)
		return nil
	})
	if err != nil {
		return err
	}
	diagonal := m.tile(k, k)
	if !vec.Cholesky(diagonal, side, make([]float32, side)) {
		return ErrSingular
	}
	r.inverse[k], r.lower[k] = make([]float32, side*side), make([]float32, side*side)
	invertUpper(r.inverse[k], diagonal)
	transpose(r.lower[k], r.inverse[k])
	return r.parallel(m.tiles-k-1, func(n int) error {
		t := m.tile(k, k+1+n)
		product := make([]float32, side*side)
		vec.AddTransposed(product, r.inverse[k], t, side)
		copy(t, product)
		return nil
	})
}

// lowerColumn makes column j of tiles of V: V_ij = -U_ii^-T (sum over k from j to i-1 of U_ki^T V_kj).
func (r *run) lowerColumn(j int) error {
	m := r.m
	product := make([]float32, side*side)
	for i := j + 1; i < m.tiles; i++ {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		t := m.tile(i, j)
		clear(t)
		vec.AddTransposed(t, m.tile(j, i), r.lower[j], side)
		for k := j + 1; k < i; k++ {
			vec.AddTransposed(t, m.tile(k, i), m.tile(k, j), side)
		}
		clear(product)
		vec.SubTransposed(product, r.inverse[i], t, side)
		copy(t, product)
		r.count(i - j)
	}
	return nil
}

// productRow makes row i of tiles of the inverse from the diagonal on: P_ij = sum over k from j of V_ki^T V_kj.
func (r *run) productRow(i int) error {
	m := r.m
	for j := i; j < m.tiles; j++ {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		t := m.tile(i, j)
		clear(t)
		first := r.lower[i]
		if j > i {
			first = m.tile(j, i)
		}
		vec.AddTransposed(t, first, r.lower[j], side)
		for k := j + 1; k < m.tiles; k++ {
			vec.AddTransposed(t, m.tile(k, i), m.tile(k, j), side)
		}
		r.count(m.tiles - j)
	}
	return nil
}

func (r *run) count(products int) {
	if r.progress == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.done
	t := float64(r.m.tiles)
	r.done += float64(products) / (t * t * t / 2)
	if int(100*before) != int(100*r.done) {
		r.progress(min(r.done, 1))
	}
}

// parallel does tasks 0 to n-1, in that order as goroutines come free.
func (r *run) parallel(n int, task func(i int) error) error {
	var next atomic.Int64
	workers := min(r.workers, n)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if errs[w] = r.ctx.Err(); errs[w] == nil {
					errs[w] = task(i)
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// invertUpper writes the inverse of an upper triangular tile to dst, which holds zeros.
func invertUpper(dst, u []float32) {
	for i := side - 1; i >= 0; i-- {
		row := dst[i*side : (i+1)*side]
		row[i] = 1
		for k := i + 1; k < side; k++ {
			if f := u[i*side+k]; f != 0 {
				vec.Axpy(-f, dst[k*side:(k+1)*side], row)
			}
		}
		d := 1 / u[i*side+i]
		for j := i; j < side; j++ {
			row[j] *= d
		}
	}
}

func transpose(dst, src []float32) {
	for i := range side {
		for j := range side {
			dst[j*side+i] = src[i*side+j]
		}
	}
}
