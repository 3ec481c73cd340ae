package als

import (
	"context"
	"sync"
	"sync/atomic"

	"marquee/internal/sparse"
)

// chunkTarget is about how many pieces a side's work is cut into: enough that the last ones even out among workers, few enough that
// taking one costs nothing.
const chunkTarget = 256

// cut returns boundaries 0 = b0 < b1 < ... < bn = rows of consecutive rows with about equal work each. A row's work is its
// entries' share of the normal matrix plus the factorization, in units of dim^2 operations.
func cut(m *sparse.CSR, dim int) []int {
	fixed := int64(dim/3 + 1)
	total := int64(m.NNZ()) + fixed*int64(m.Rows)
	per := max(total/chunkTarget, 1)
	bounds := []int{0}
	var work int64
	for r := range m.Rows {
		work += int64(m.RowLen(r)) + fixed
		if work >= per || r == m.Rows-1 {
			bounds = append(bounds, r+1)
			work = 0
		}
	}
	return bounds
}

// eachChunk calls a worker's function for every chunk; newWorker is called once a goroutine. It returns the first error of
// the lowest chunk that failed, or the context's.
func (t *trainer) eachChunk(ctx context.Context, bounds []int, newWorker func() func(chunk, lo, hi int) error) error {
	var (
		next   atomic.Int64
		failed atomic.Bool
		wg     sync.WaitGroup
		errs   = make([]error, len(bounds)-1)
	)
	for range min(t.workers, len(errs)) {
		wg.Go(func() {
			work := newWorker()
			for !failed.Load() && ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(errs) {
					return
				}
				if errs[i] = work(i, bounds[i], bounds[i+1]); errs[i] != nil {
					failed.Store(true)
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
	return ctx.Err()
}
