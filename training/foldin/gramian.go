package foldin

import (
	"sync"
	"sync/atomic"

	"marquee/internal/vec"
)

// The rows of a Gramian are cut into lanes and the lanes into blocks by their number alone, never by the number of
// workers: sums are taken in the same order on any machine.
const (
	gramLanes = 16
	gramBlock = 512
)

// Gramian returns the Dim x Dim matrix of sums over rows of y y^T, computed by up to workers goroutines. Blocks of rows are summed in
// float32 and the blocks in float64, in an order that does not depend on workers.
func Gramian(f Factors, workers int) []float64 {
	lanes := make([][]float64, min(gramLanes, (f.Rows+gramBlock-1)/gramBlock))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(max(workers, 1), len(lanes)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(lanes) {
					return
				}
				lanes[i] = gramLane(f, i*f.Rows/len(lanes), (i+1)*f.Rows/len(lanes))
			}
		})
	}
	wg.Wait()
	sum := make([]float64, f.Dim*f.Dim)
	for _, lane := range lanes {
		for i, v := range lane {
			sum[i] += v
		}
	}
	for i := range f.Dim {
		for j := range i {
			sum[i*f.Dim+j] = sum[j*f.Dim+i]
		}
	}
	return sum
}

// gramLane sums rows lo to hi into the upper triangle of a Dim x Dim matrix.
func gramLane(f Factors, lo, hi int) []float64 {
	pad := vec.SyrkPad(f.Dim)
	sum := make([]float64, f.Dim*f.Dim)
	block := make([]float32, pad*pad)
	var packed []float32
	if f.Stride != pad {
		packed = make([]float32, gramBlock*pad)
	}
	for r := lo; r < hi; r += gramBlock {
		n := min(gramBlock, hi-r)
		rows := f.Data[r*f.Stride:]
		if packed != nil {
			for k := range n {
				copy(packed[k*pad:], f.Row(r+k))
			}
			rows = packed
		}
		clear(block)
		vec.Syrk(block, rows, n, pad)
		for i := range f.Dim {
			for j := i; j < f.Dim; j++ {
				sum[i*f.Dim+j] += float64(block[i*pad+j])
			}
		}
	}
	return sum
}
