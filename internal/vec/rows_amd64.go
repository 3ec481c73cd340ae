//go:build amd64 && !purego

package vec

//go:noescape
func packTransposedAVX2(dst *float32, ld int, rows *[Group]*float32, scale *float32, chunks int)

//go:noescape
func gemvTAVX2(dst, m, v *float32, cols, rows, tiles int)

func packTransposed(dst []float32, ld int, rows *[Group][]float32, scale []float32) {
	if !Accelerated() {
		packTransposedGeneric(dst, ld, rows, scale)
		return
	}
	var at [Group]*float32
	for r := range rows {
		at[r] = &rows[r][0]
	}
	packTransposedAVX2(&dst[0], ld, &at, &scale[0], len(scale)/Group)
}

// gemvT handles as many leading columns as the kernel takes and returns how many.
func gemvT(dst, m, v []float32) int {
	tiles := len(dst) / SyrkTile
	if tiles == 0 || !Accelerated() {
		return 0
	}
	gemvTAVX2(&dst[0], &m[0], &v[0], len(dst), len(v), tiles)
	return tiles * SyrkTile
}
