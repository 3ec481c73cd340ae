//go:build amd64 && !purego

package vec

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// Accelerated reports whether the assembly kernels are in use.
func Accelerated() bool { return cpu.X86.HasAVX2 && cpu.X86.HasFMA }

// wide reports whether the kernels on registers of 512 bits are in use. Processors that have VPDPBUSD do not slow down for
// them as earlier ones do.
func wide() bool {
	return cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VNNI && Accelerated()
}

// Below these lengths a call costs more than it saves, and the int8 kernels need one whole register to overlap their
// tail with.
const (
	minFloat = 8
	minInt8  = 32
)

// far reports whether to scan a matrix a row at a time: it is larger than the second-level cache, and its rows are so long that adding up a row's
// sums is little of the work. By BenchmarkGemv that is 1.5 to 3 times as fast out of memory.
func far(cells, cols int) bool { return cells > 1<<18 && cols >= 64 }

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
	if far(len(m), len(x)) {
		gemvFarAVX2(&x[0], &m[0], len(x), len(dst), &dst[0])
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
	if far(len(m), len(x)) {
		negL2RowsFarAVX2(&x[0], &m[0], len(x), len(dst), &dst[0])
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
	if wide() {
		return gatherDot512(&x[0], &m[0], rows, len(x), &ids[0], len(ids), &dst[0]) == 0
	}
	return gatherDotAVX2(&x[0], &m[0], rows, len(x), &ids[0], len(ids), &dst[0]) == 0
}

func gatherNegL2(dst, m, x []float32, ids []uint32, rows int) bool {
	if rows == 0 || !Accelerated() {
		return gatherNegL2Generic(dst, m, x, ids, rows)
	}
	if wide() {
		return gatherNegL2512(&x[0], &m[0], rows, len(x), &ids[0], len(ids), &dst[0]) == 0
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
	if wide() {
		gemvInt8512(&x[0], &m[0], len(x), len(dst), &dst[0])
		return
	}
	gemvInt8AVX2(&x[0], &m[0], len(x), len(dst), &dst[0])
}

func gatherDotInt8(dst []int32, m, x []int8, ids []uint32, rows int) bool {
	if rows == 0 || len(x) < minInt8 || !Accelerated() {
		return gatherDotInt8Generic(dst, m, x, ids, rows)
	}
	if wide() {
		return gatherDotInt8512(&x[0], &m[0], rows, len(x), &ids[0], len(ids), &dst[0]) == 0
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

// PrefetchRows asks for the rows of m, which are stride long, with the numbers ids: the first 512 bytes of each, the rest
// being what the processor then asks for by itself. A number out of range does no harm.
func PrefetchRows[T int8 | float32](m []T, stride int, ids []uint32) {
	if len(m) > 0 && len(ids) > 0 {
		prefetchRows(unsafe.Pointer(&m[0]), stride*int(unsafe.Sizeof(m[0])), &ids[0], len(ids))
	}
}

//go:noescape
func prefetchRows(m unsafe.Pointer, stride int, ids *uint32, n int)

//go:noescape
func gatherDot512(x, m *float32, rows, cols int, ids *uint32, n int, dst *float32) (left int)

//go:noescape
func gatherNegL2512(x, m *float32, rows, cols int, ids *uint32, n int, dst *float32) (left int)

//go:noescape
func gatherDotInt8512(x, m *int8, rows, cols int, ids *uint32, n int, dst *int32) (left int)

//go:noescape
func gemvInt8512(x, m *int8, cols, rows int, dst *int32)

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
func gemvFarAVX2(x, m *float32, cols, rows int, dst *float32)

//go:noescape
func negL2RowsAVX2(x, m *float32, cols, rows int, dst *float32)

//go:noescape
func negL2RowsFarAVX2(x, m *float32, cols, rows int, dst *float32)

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
