package vec

// GatherCopy writes row ids[i] of m, which has rows of len(x) columns, to row i of packed and its inner product with x to dst[i], for
// every i < len(ids). Rows are asked for ahead of their use. It reports false, with the contents of dst and packed undefined, if an id
// is not a row of m. packed and dst hold len(ids) rows.
func GatherCopy(dst, packed, m, x []float32, ids []uint32) bool {
	rows := gatherRows(len(dst), len(m), len(x), len(ids))
	if len(packed) < len(ids)*len(x) {
		panic("vec: GatherCopy into fewer rows than ids")
	}
	if len(ids) == 0 {
		return true
	}
	return gatherCopy(dst, packed, m, x, ids, rows)
}

func gatherCopyGeneric(dst, packed, m, x []float32, ids []uint32, rows int) bool {
	for i, id := range ids {
		if int64(id) >= int64(rows) {
			return false
		}
		row := packed[i*len(x) : (i+1)*len(x)]
		copy(row, m[int(id)*len(x):])
		dst[i] = dotGeneric(x, row)
	}
	return true
}

// least is the smallest diagonal element that Diagonal inverts: the inverse of a smaller one is beyond float32's use.
const least = 1e-30

// Diagonal sets diag to scale*values + shift, and inverse to the inverse of diag + mean*values, or 0 where that is below 1e-30. All have
// one length.
func Diagonal(diag, inverse, values []float32, scale, shift, mean float32) {
	sameLength("Diagonal", len(values), len(diag), len(inverse))
	for i := diagonal(diag, inverse, values, scale, shift, mean); i < len(values); i++ {
		d := scale*values[i] + shift
		diag[i], inverse[i] = d, 0
		if d += mean * values[i]; d >= least {
			inverse[i] = 1 / d
		}
	}
}

// Advance is the middle of a step of preconditioned conjugate gradients: it adds alpha*p to x, takes alpha*ap from r, sets z to the
// products of r's and inverse's elements, and returns the inner product of r and z. All have one length.
func Advance(alpha float32, x, r, z, p, ap, inverse []float32) float32 {
	n := len(x)
	sameLength("Advance", n, len(r), len(z), len(p), len(ap), len(inverse))
	i, sum := advance(alpha, x, r, z, p, ap, inverse)
	for ; i < n; i++ {
		x[i] += alpha * p[i]
		r[i] -= alpha * ap[i]
		z[i] = r[i] * inverse[i]
		sum += r[i] * z[i]
	}
	return sum
}

// Direct is the end of a step of conjugate gradients: it sets p to z + beta*p, and ap to the products of diag's and p's elements. All have
// one length.
func Direct(beta float32, p, ap, z, diag []float32) {
	sameLength("Direct", len(p), len(ap), len(z), len(diag))
	for i := direct(beta, p, ap, z, diag); i < len(p); i++ {
		p[i] = z[i] + beta*p[i]
		ap[i] = diag[i] * p[i]
	}
}

func sameLength(what string, n int, others ...int) {
	for _, o := range others {
		if o != n {
			panic("vec: " + what + " of vectors of different lengths")
		}
	}
}
