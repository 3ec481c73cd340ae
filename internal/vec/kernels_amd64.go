//go:build amd64 && !purego

package vec

import "golang.org/x/sys/cpu"

// Accelerated reports whether the assembly kernels are in use.
func Accelerated() bool { return cpu.X86.HasAVX2 && cpu.X86.HasFMA }

// Below these lengths a call costs more than it saves, and the int8 kernels need one whole register to overlap their
// tail with.
const (
	minFloat = 8
	minInt8  = 32
)

func dot(a, b []float32) float32 {
	if len(a) < minFloat || !Accelerated() {
		return dotGeneric(a, b)
	}
	return dotAVX2(&a[0], &b[0], len(a))
}

func axpy(alpha float32, x, y []float32) {
	if len(x) < minFloat || !Accelerated() {
		axpyGeneric(alpha, x, y)
		return
	}
	axpyAVX2(alpha, &x[0], &y[0], len(x))
}

func gemv(dst, m, x []float32) {
	if len(dst) == 0 {
		return
	}
	if !Accelerated() {
		gemvGeneric(dst, m, x)
		return
	}
	gemvAVX2(&x[0], &m[0], len(x), len(dst), &dst[0])
}

func negL2Rows(dst, m, x []float32) {
	if len(dst) == 0 {
		return
	}
	if !Accelerated() {
		negL2RowsGeneric(dst, m, x)
		return
	}
	negL2RowsAVX2(&x[0], &m[0], len(x), len(dst), &dst[0])
}

// The gather kernels return how many ids are left to do: none, or those from the first group of four on that holds one
// out of range.

func gatherDot(dst, m, x []float32, ids []uint32, rows int) bool {
	if rows == 0 || !Accelerated() {
		return gatherDotGeneric(dst, m, x, ids, rows)
	}
	return gatherDotAVX2(&x[0], &m[0], rows, len(x), &ids[0], len(ids), &dst[0]) == 0
}

func gatherNegL2(dst, m, x []float32, ids []uint32, rows int) bool {
	if rows == 0 || !Accelerated() {
		return gatherNegL2Generic(dst, m, x, ids, rows)
	}
	return gatherNegL2AVX2(&x[0], &m[0], rows, len(x), &ids[0], len(ids), &dst[0]) == 0
}

func dotInt8(a, b []int8) int32 {
	if len(a) < minInt8 || !Accelerated() {
		return dotInt8Generic(a, b)
	}
	return dotInt8AVX2(&a[0], &b[0], len(a))
}

func gemvInt8(dst []int32, m, x []int8) {
	if len(dst) == 0 {
		return
	}
	if len(x) < minInt8 || !Accelerated() {
		gemvInt8Generic(dst, m, x)
		return
	}
	gemvInt8AVX2(&x[0], &m[0], len(x), len(dst), &dst[0])
}

func gatherDotInt8(dst []int32, m, x []int8, ids []uint32, rows int) bool {
	if rows == 0 || len(x) < minInt8 || !Accelerated() {
		return gatherDotInt8Generic(dst, m, x, ids, rows)
	}
	return gatherDotInt8AVX2(&x[0], &m[0], rows, len(x), &ids[0], len(ids), &dst[0]) == 0
}

func above(dst []uint32, scores []float32, threshold float32) int {
	whole := len(scores) &^ 7
	if whole == 0 || !Accelerated() {
		return aboveGeneric(dst, scores, threshold)
	}
	n := aboveAVX2(&scores[0], whole, threshold, &dst[0])
	for i := whole; i < len(scores); i++ {
		if scores[i] > threshold {
			dst[n] = uint32(i)
			n++
		}
	}
	return n
}

func aboveInt32(dst []uint32, scores []int32, threshold int32) int {
	whole := len(scores) &^ 7
	if whole == 0 || !Accelerated() {
		return aboveGeneric(dst, scores, threshold)
	}
	n := aboveInt32AVX2(&scores[0], whole, threshold, &dst[0])
	for i := whole; i < len(scores); i++ {
		if scores[i] > threshold {
			dst[n] = uint32(i)
			n++
		}
	}
	return n
}

// Prefetch asks for the cache line at p and the one after it; it never faults.
//
//go:noescape
func Prefetch(p *uint32)

//go:noescape
func dotAVX2(a, b *float32, n int) float32

//go:noescape
func axpyAVX2(alpha float32, x, y *float32, n int)

//go:noescape
func gemvAVX2(x, m *float32, cols, rows int, dst *float32)

//go:noescape
func negL2RowsAVX2(x, m *float32, cols, rows int, dst *float32)

//go:noescape
func gatherDotAVX2(x, m *float32, rows, cols int, ids *uint32, n int, dst *float32) (left int)

//go:noescape
func gatherNegL2AVX2(x, m *float32, rows, cols int, ids *uint32, n int, dst *float32) (left int)

//go:noescape
func dotInt8AVX2(a, b *int8, n int) int32

//go:noescape
func gemvInt8AVX2(x, m *int8, cols, rows int, dst *int32)

//go:noescape
func gatherDotInt8AVX2(x, m *int8, rows, cols int, ids *uint32, n int, dst *int32) (left int)

//go:noescape
func aboveAVX2(scores *float32, n int, threshold float32, dst *uint32) int

//go:noescape
func aboveInt32AVX2(scores *int32, n int, threshold int32, dst *uint32) int
