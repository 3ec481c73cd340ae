//go:build !amd64 || purego

package vec

func gemmNR() int { return gemmMR }

func gemmTile(a, b, c []float32, ldc, depth int, alpha float32, add bool) {
	gemmTileGeneric(a, b, c, ldc, depth, gemmNR(), alpha, add)
}

func transposeTiles([]float32, []float32, int, int, int) int { return 0 }

func copyRows([]float32, []float32, int, int, int) bool { return false }
