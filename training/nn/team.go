package nn

import (
	"runtime"
	"sync"
	"sync/atomic"

	"marquee/internal/vec"
)

// Team shares work among goroutines, each with scratch of its own. It serves one caller at a time.
type Team struct {
	gemms []vec.Gemm
}

// NewTeam returns a team of so many workers; 0 means one a processor.
func NewTeam(workers int) *Team {
	if workers < 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	return &Team{gemms: make([]vec.Gemm, workers)}
}

// Workers is the number of goroutines a piece of work is shared among.
func (t *Team) Workers() int { return len(t.gemms) }

// Each calls f once for every piece of 0..n-1, at most Workers at a time, and returns when all are done. worker, below Workers, is the
// same for no two calls at one time.
func (t *Team) Each(n int, f func(worker, piece int)) {
	workers := min(len(t.gemms), n)
	if workers <= 1 {
		for i := range n {
			f(0, i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	run := func(worker int) {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(worker, i)
		}
	}
	for w := 1; w < workers; w++ {
		wg.Go(func() { run(w) })
	}
	run(0)
	wg.Wait()
}

// Rows calls f for pieces of at most grain rows of 0..n.
func (t *Team) Rows(n, grain int, f func(worker, lo, hi int)) {
	t.Each((n+grain-1)/grain, func(worker, piece int) {
		f(worker, piece*grain, min((piece+1)*grain, n))
	})
}

// gemmGrain is the least number of rows or columns of a product that is worth a piece of its own.
const gemmGrain = 64

// Mul sets the m x n matrix c to alpha*A*B + beta*c, see vec.Gemm.
func (t *Team) Mul(m, n, k int, alpha float32, a, b vec.Operand, beta float32, c []float32, ldc int) {
	side, byRows := n, m >= n
	if byRows {
		side = m
	}
	// Two pieces a worker even out what else the processors do; longer ones pack less.
	grain := max(gemmGrain, (side/(2*len(t.gemms))+gemmGrain-1)/gemmGrain*gemmGrain)
	if len(t.gemms) == 1 || side <= gemmGrain {
		t.gemms[0].Mul(m, n, k, alpha, a, b, beta, c, ldc)
		return
	}
	t.Rows(side, grain, func(worker, lo, hi int) {
		if byRows {
			t.gemms[worker].Mul(hi-lo, n, k, alpha, skip(a, lo, 0), b, beta, c[lo*ldc:], ldc)
		} else {
			t.gemms[worker].Mul(m, hi-lo, k, alpha, a, skip(b, 0, lo), beta, c[lo:], ldc)
		}
	})
}

// skip is the operand without its first rows and columns.
func skip(o vec.Operand, row, col int) vec.Operand {
	if o.Transposed {
		row, col = col, row
	}
	o.Data = o.Data[row*o.Stride+col:]
	return o
}

// dense is a row-major matrix of so many columns, transposed the same standing for its transpose.
func dense(data []float32, cols int) vec.Operand { return vec.Operand{Data: data, Stride: cols} }

func transposed(data []float32, cols int) vec.Operand {
	return vec.Operand{Data: data, Stride: cols, Transposed: true}
}

// grow returns buf with room for n, its content undefined.
func grow[T any](buf []T, n int) []T {
	if cap(buf) < n {
		return make([]T, n, n+n/8)
	}
	return buf[:n]
}
