package vec

// SubTransposed takes A^T B from c: all three are n x n row-major, n a multiple of SyrkTile. It is the inner step of factoring a matrix
// that is kept in square tiles.
func SubTransposed(c, a, b []float32, n int) { tileProduct(c, a, b, n, true) }

// AddTransposed adds A^T B to c, like SubTransposed.
func AddTransposed(c, a, b []float32, n int) { tileProduct(c, a, b, n, false) }

func tileProduct(c, a, b []float32, n int, sub bool) {
	if n%SyrkTile != 0 || len(c) < n*n || len(a) < n*n || len(b) < n*n {
		panic("vec: product of tiles: sizes do not fit")
	}
	for k := 0; k < n; k += syrkDepth {
		depth := min(syrkDepth, n-k)
		for i := 0; i < n; i += 4 {
			panel(c[i*n:], a[k*n+i:], b[k*n:], n, depth, n/SyrkTile, sub)
		}
	}
}
