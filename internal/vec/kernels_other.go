//go:build !amd64 || purego

package vec

// Accelerated reports whether the assembly kernels are in use.
func Accelerated() bool { return false }

// Prefetch asks for the cache line at p, where the machine can; it never faults.
func Prefetch(*uint32) {}

func dot(a, b []float32) float32                      { return dotGeneric(a, b) }
func axpy(alpha float32, x, y []float32)              { axpyGeneric(alpha, x, y) }
func gemv(dst, m, x []float32)                        { gemvGeneric(dst, m, x) }
func negL2Rows(dst, m, x []float32)                   { negL2RowsGeneric(dst, m, x) }
func dotInt8(a, b []int8) int32                       { return dotInt8Generic(a, b) }
func gemvInt8(dst []int32, m, x []int8)               { gemvInt8Generic(dst, m, x) }
func above(dst []uint32, s []float32, t float32) int  { return aboveGeneric(dst, s, t) }
func aboveInt32(dst []uint32, s []int32, t int32) int { return aboveGeneric(dst, s, t) }

func gatherDot(dst, m, x []float32, ids []uint32, rows int) bool {
	return gatherDotGeneric(dst, m, x, ids, rows)
}

func gatherNegL2(dst, m, x []float32, ids []uint32, rows int) bool {
	return gatherNegL2Generic(dst, m, x, ids, rows)
}

func gatherDotInt8(dst []int32, m, x []int8, ids []uint32, rows int) bool {
	return gatherDotInt8Generic(dst, m, x, ids, rows)
}

// PrefetchRows asks for the rows of m with the numbers ids, where the machine can.
func PrefetchRows[T int8 | float32](_ []T, _ int, _ []uint32) {}
