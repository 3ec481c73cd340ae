package vec

// Dot returns the inner product of a and b, which must have one length.
func Dot(a, b []float32) float32 {
	if len(a) != len(b) {
		panic("vec: Dot of vectors of different lengths")
	}
	return dot(a, b)
}

// Axpy adds alpha*x to y in place. x and y must have one length and must not partly overlap.
func Axpy(alpha float32, x, y []float32) {
	if len(x) != len(y) {
		panic("vec: Axpy of vectors of different lengths")
	}
	axpy(alpha, x, y)
}

// Gemv sets dst[i] to the inner product of row i of m with x: a matrix times a vector, or the scan of a table of
// vectors with one query. m has len(dst) rows and len(x) columns.
func Gemv(dst, m, x []float32) {
	if len(m) != len(dst)*len(x) {
		panic("vec: Gemv of a matrix that is not len(dst) x len(x)")
	}
	if len(x) == 0 {
		clear(dst)
		return
	}
	gemv(dst, m, x)
}

// NegL2Rows sets dst[i] to minus the squared Euclidean distance between row i of m and x, so that, as with an inner
// product, larger is nearer. m has len(dst) rows and len(x) columns.
func NegL2Rows(dst, m, x []float32) {
	if len(m) != len(dst)*len(x) {
		panic("vec: NegL2Rows of a matrix that is not len(dst) x len(x)")
	}
	if len(x) == 0 {
		clear(dst)
		return
	}
	negL2Rows(dst, m, x)
}

// GatherDot sets dst[i] to the inner product of x with row ids[i] of m, for every i < len(ids); dst must be at least
// as long as ids, and m a whole number of rows of len(x) columns. It reports false, with the contents of dst
// undefined, if an id is not a row of m.
func GatherDot(dst, m, x []float32, ids []uint32) bool {
	rows := gatherRows(len(dst), len(m), len(x), len(ids))
	if len(ids) == 0 {
		return true
	}
	return gatherDot(dst, m, x, ids, rows)
}

// GatherNegL2 is GatherDot for minus the squared Euclidean distance.
func GatherNegL2(dst, m, x []float32, ids []uint32) bool {
	rows := gatherRows(len(dst), len(m), len(x), len(ids))
	if len(ids) == 0 {
		return true
	}
	return gatherNegL2(dst, m, x, ids, rows)
}

// gatherRows checks the lengths given to a gathering function and returns how many rows the matrix has.
func gatherRows(dst, m, cols, ids int) int {
	if dst < ids {
		panic("vec: gather into a dst shorter than ids")
	}
	if cols == 0 {
		if m != 0 {
			panic("vec: gather with an empty vector from a matrix that is not empty")
		}
		return 0
	}
	if m%cols != 0 {
		panic("vec: gather from a matrix that is not a whole number of rows")
	}
	return m / cols
}

// Above writes to dst the positions i of scores with scores[i] > threshold, in ascending order, and returns how many
// there are; dst must be at least as long as scores. A NaN is above nothing.
func Above(dst []uint32, scores []float32, threshold float32) int {
	if len(dst) < len(scores) {
		panic("vec: Above into a dst shorter than scores")
	}
	return above(dst, scores, threshold)
}

// AboveInt32 is Above for integers.
func AboveInt32(dst []uint32, scores []int32, threshold int32) int {
	if len(dst) < len(scores) {
		panic("vec: AboveInt32 into a dst shorter than scores")
	}
	return aboveInt32(dst, scores, threshold)
}
