//go:build amd64 && !purego

package vec

// eight is how many numbers a register of the kernels below holds; what is left over is the caller's.
const eight = 8

func gatherCopy(dst, packed, m, x []float32, ids []uint32, rows int) bool {
	if rows == 0 || len(x)%eight != 0 || !Accelerated() {
		return gatherCopyGeneric(dst, packed, m, x, ids, rows)
	}
	return gatherCopyAVX2(&x[0], &m[0], rows, len(x), &ids[0], len(ids), &dst[0], &packed[0]) == 0
}

func diagonal(diag, inverse, values []float32, scale, shift, mean float32) int {
	n := len(values) / eight
	if n == 0 || !Accelerated() {
		return 0
	}
	diagonalAVX2(&diag[0], &inverse[0], &values[0], n, scale, shift, mean, least)
	return n * eight
}

func advance(alpha float32, x, r, z, p, ap, inverse []float32) (int, float32) {
	n := len(x) / eight
	if n == 0 || !Accelerated() {
		return 0, 0
	}
	return n * eight, advanceAVX2(alpha, &x[0], &r[0], &z[0], &p[0], &ap[0], &inverse[0], n)
}

func direct(beta float32, p, ap, z, diag []float32) int {
	n := len(p) / eight
	if n == 0 || !Accelerated() {
		return 0
	}
	directAVX2(beta, &p[0], &ap[0], &z[0], &diag[0], n)
	return n * eight
}

//go:noescape
func gatherCopyAVX2(x, m *float32, rows, cols int, ids *uint32, n int, dst, packed *float32) (left int)

//go:noescape
func diagonalAVX2(diag, inverse, values *float32, chunks int, scale, shift, mean, least float32)

//go:noescape
func advanceAVX2(alpha float32, x, r, z, p, ap, inverse *float32, chunks int) float32

//go:noescape
func directAVX2(beta float32, p, ap, z, diag *float32, chunks int)
