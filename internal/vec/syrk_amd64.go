//go:build amd64 && !purego

package vec

//go:noescape
func panelAVX2(c *float32, a, b *float32, ld, k, tiles, sub int)

//go:noescape
func packScaledAVX2(dst, acc, src *float32, chunks int, s, q float32)

func panel(c, a, b []float32, ld, k, tiles int, sub bool) {
	if !Accelerated() {
		panelGeneric(c, a, b, ld, k, tiles, sub)
		return
	}
	mode := 0
	if sub {
		mode = 1
	}
	panelAVX2(&c[0], &a[0], &b[0], ld, k, tiles, mode)
}

// packScaled handles as many leading elements as the kernel takes and returns how many.
func packScaled(dst, acc, src []float32, s, q float32) int {
	chunks := len(src) / 8
	if chunks == 0 || !Accelerated() {
		return 0
	}
	packScaledAVX2(&dst[0], &acc[0], &src[0], chunks, s, q)
	return chunks * 8
}
