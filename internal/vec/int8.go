package vec

// The int8 functions take values in [-127, 127], as symmetric quantisation yields them; -128 gives an undefined
// result, though never a fault. Within that range they are exact for up to MaxInt8Dim columns.

// MaxInt8Dim is the longest int8 vector whose inner product is certain to fit an int32.
const MaxInt8Dim = (1<<31 - 1) / (127 * 127)

// DotInt8 returns the inner product of a and b, which must have one length, at most MaxInt8Dim.
func DotInt8(a, b []int8) int32 {
	if len(a) != len(b) {
		panic("vec: DotInt8 of vectors of different lengths")
	}
	return dotInt8(a, b)
}

// GemvInt8 sets dst[i] to the inner product of row i of m with x. m has len(dst) rows and len(x) columns.
func GemvInt8(dst []int32, m, x []int8) {
	if len(m) != len(dst)*len(x) {
		panic("vec: GemvInt8 of a matrix that is not len(dst) x len(x)")
	}
	if len(x) == 0 {
		clear(dst)
		return
	}
	gemvInt8(dst, m, x)
}

// GatherDotInt8 sets dst[i] to the inner product of x with row ids[i] of m, for every i < len(ids), on the terms of
// GatherDot.
func GatherDotInt8(dst []int32, m, x []int8, ids []uint32) bool {
	rows := gatherRows(len(dst), len(m), len(x), len(ids))
	if len(ids) == 0 {
		return true
	}
	return gatherDotInt8(dst, m, x, ids, rows)
}
