package vec

// Group is how many rows PackTransposed takes at a time.
const Group = 8

// PackTransposed writes eight vectors as columns: dst[j*ld+r] = scale[j] * rows[r][j] for every j < len(scale). len(scale) is a
// multiple of Group, no row is shorter than it, and dst holds len(scale) rows of ld. It is what turns vectors scattered in memory into an
// operand of Syrk and MulTransposed.
func PackTransposed(dst []float32, ld int, rows *[Group][]float32, scale []float32) {
	n := len(scale)
	if n%Group != 0 || ld < Group || n > 0 && len(dst) < (n-1)*ld+Group {
		panic("vec: PackTransposed: sizes do not fit")
	}
	for _, r := range rows {
		if len(r) < n {
			panic("vec: PackTransposed: a row is too short")
		}
	}
	if n > 0 {
		packTransposed(dst, ld, rows, scale)
	}
}

func packTransposedGeneric(dst []float32, ld int, rows *[Group][]float32, scale []float32) {
	for r, row := range rows {
		for j, s := range scale {
			dst[j*ld+r] = s * row[j]
		}
	}
}

// MulTransposed adds A^T B to the first rows rows of c, rows a multiple of 4: A, B and c have row stride n, a multiple of SyrkTile, A and B
// have n rows, and only the first rows columns of A are read.
func MulTransposed(c, a, b []float32, rows, n int) {
	if n%SyrkTile != 0 || rows%4 != 0 || rows > n || len(c) < rows*n || len(b) < n*n || rows > 0 && len(a) < (n-1)*n+rows {
		panic("vec: MulTransposed: sizes do not fit")
	}
	if n == 0 {
		return
	}
	for k := 0; k < n; k += syrkDepth {
		depth := min(syrkDepth, n-k)
		for i := 0; i < rows; i += 4 {
			panel(c[i*n:], a[k*n+i:], b[k*n:], n, depth, n/SyrkTile, false)
		}
	}
}

// GemvT adds to dst the rows of m, each times its element of v: a transposed matrix times a vector. m has len(v) rows and len(dst)
// columns.
func GemvT(dst, m, v []float32) {
	n := len(dst)
	if len(m) != n*len(v) {
		panic("vec: GemvT of a matrix that is not len(v) x len(dst)")
	}
	if n == 0 || len(v) == 0 {
		return
	}
	done := gemvT(dst, m, v)
	if done == n {
		return
	}
	for k, f := range v {
		row := m[k*n : k*n+n]
		for j := done; j < n; j++ {
			dst[j] += f * row[j]
		}
	}
}
