//go:build !amd64 || purego

package vec

func packTransposed(dst []float32, ld int, rows *[Group][]float32, scale []float32) {
	packTransposedGeneric(dst, ld, rows, scale)
}

// gemvT handles as many leading columns as the kernel takes and returns how many.
func gemvT(_, _, _ []float32) int { return 0 }
