package vec

import "math"

// cholBlock is the rows that a Cholesky step factors at a time: eight rows of a column chunk fit the registers.
const cholBlock = 8

// Cholesky factors the symmetric positive definite n x n row-major matrix whose upper triangle is in a, n a multiple of
// SyrkTile, into U^T U, leaving U in the upper triangle of a and the reciprocals of U's diagonal in inv[:n]. What lies
// below the diagonal is undefined afterwards, save that it is zero inside each 8 x 8 diagonal block. It reports whether the
// matrix was positive definite in float32; when it was not, a and inv hold rubbish.
//
// The order is left-looking by blocks of eight rows: all earlier rows' contribution to a block is taken off at once by the
// rank-k kernel that Syrk uses, then the block is factored in registers.
func Cholesky(a []float32, n int, inv []float32) bool {
	if n%SyrkTile != 0 || len(a) < n*n || len(inv) < n {
		panic("vec: Cholesky: sizes do not fit")
	}
	for i := 0; i < n; i += cholBlock {
		if i > 0 {
			// A block that starts half-way through a tile lets the tile run over into the lower triangle to its
			// left, which nobody reads.
			j := i &^ (SyrkTile - 1)
			tiles := (n - j) / SyrkTile
			panel(a[i*n+j:], a[i:], a[j:], n, i, tiles, true)
			panel(a[(i+4)*n+j:], a[i+4:], a[j:], n, i, tiles, true)
		}
		cholRows(a[i*n+i:], n, n-i, inv[i:i+cholBlock])
		for _, v := range inv[i : i+cholBlock] {
			// A negative pivot's root is NaN, a zero one's reciprocal infinite; both fail this.
			if !(v > 0 && v <= math.MaxFloat32) {
				return false
			}
		}
	}
	return true
}

// CholeskySolve solves U^T U x = b in place of b for a matrix that Cholesky factored.
func CholeskySolve(u []float32, n int, inv, b []float32) {
	if n%SyrkTile != 0 || len(u) < n*n || len(inv) < n || len(b) < n {
		panic("vec: CholeskySolve: sizes do not fit")
	}
	if n > 0 {
		cholSolve(u, n, inv, b)
	}
}

// cholRowsGeneric factors the 8 x cols block at a (row stride ld), whose first 8 columns are the diagonal block.
func cholRowsGeneric(a []float32, ld, cols int, inv []float32) {
	for k := range cholBlock {
		row := a[k*ld : k*ld+cols]
		clear(row[:k])
		r := float32(1 / math.Sqrt(float64(row[k])))
		inv[k] = r
		for j := k; j < cols; j++ {
			row[j] *= r
		}
		for i := k + 1; i < cholBlock; i++ {
			f := row[i]
			below := a[i*ld : i*ld+cols]
			for j := i; j < cols; j++ {
				below[j] -= f * row[j]
			}
		}
	}
}

func cholSolveGeneric(u []float32, n int, inv, b []float32) {
	for k := range n {
		y := b[k] * inv[k]
		b[k] = y
		row := u[k*n : k*n+n]
		for j := k + 1; j < n; j++ {
			b[j] -= y * row[j]
		}
	}
	for k := n - 1; k >= 0; k-- {
		row := u[k*n : k*n+n]
		sum := b[k]
		for j := k + 1; j < n; j++ {
			sum -= row[j] * b[j]
		}
		b[k] = sum * inv[k]
	}
}
