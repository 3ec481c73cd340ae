//go:build amd64 && !purego

package vec

// The micro tiles' columns: two registers of 512 bits, or three of 256 (12 sums, three of B, one of A: all sixteen).
const (
	gemmNRWide = 32
	gemmNRAVX2 = 24
)

func gemmNR() int {
	switch {
	case wide():
		return gemmNRWide
	case Accelerated():
		return gemmNRAVX2
	}
	return gemmMR
}

func gemmTile(a, b, c []float32, ldc, depth int, alpha float32, add bool) {
	mode := 0
	if add {
		mode = 1
	}
	switch {
	case wide():
		gemmTile512(&a[0], &b[0], &c[0], ldc, depth, alpha, mode)
	case Accelerated():
		gemmTileAVX2(&a[0], &b[0], &c[0], ldc, depth, alpha, mode)
		gemmTileAVX2(&a[gemmMR/2], &b[0], &c[gemmMR/2*ldc], ldc, depth, alpha, mode)
	default:
		gemmTileGeneric(a, b, c, ldc, depth, gemmMR, alpha, add)
	}
}

// transposeTiles writes the leading whole 8 x 8 tiles of eight rows, of stride ld, transposed with row stride side, and returns how many
// columns that took.
func transposeTiles(dst, src []float32, ld, side, depth int) int {
	if depth < gemmMR || !Accelerated() {
		return 0
	}
	transpose8AVX2(&dst[0], &src[0], ld, side, depth/gemmMR)
	return depth / gemmMR * gemmMR
}

// copyRows copies depth rows of side, of stride ld, one after the other, where there is a kernel for it.
func copyRows(dst, src []float32, ld, side, depth int) bool {
	if !Accelerated() {
		return false
	}
	copyRowsAVX2(&dst[0], &src[0], ld, side/eight, depth)
	return true
}

//go:noescape
func gemmTile512(a, b, c *float32, ldc, depth int, alpha float32, add int)

//go:noescape
func gemmTileAVX2(a, b, c *float32, ldc, depth int, alpha float32, add int)

//go:noescape
func transpose8AVX2(dst, src *float32, ld, side, tiles int)

//go:noescape
func copyRowsAVX2(dst, src *float32, ld, chunks, depth int)
