//go:build !amd64 || purego

package vec

func gatherCopy(dst, packed, m, x []float32, ids []uint32, rows int) bool {
	return gatherCopyGeneric(dst, packed, m, x, ids, rows)
}

// diagonal, advance and direct do as many leading elements as the kernels take and return how many.

func diagonal(_, _, _ []float32, _, _, _ float32) int { return 0 }

func advance(_ float32, _, _, _, _, _, _ []float32) (int, float32) { return 0, 0 }

func direct(_ float32, _, _, _, _ []float32) int { return 0 }
