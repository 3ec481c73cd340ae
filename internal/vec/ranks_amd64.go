//go:build amd64 && !purego

package vec

//go:noescape
func rankAllAVX2(dst *int32, x *float32, groups, n int)

// rankAll handles as many leading elements as the kernel takes and returns how many.
func rankAll(dst []int32, x []float32) int {
	groups := len(x) / 4
	if groups == 0 || !Accelerated() {
		return 0
	}
	rankAllAVX2(&dst[0], &x[0], groups, len(x))
	return 4 * groups
}
