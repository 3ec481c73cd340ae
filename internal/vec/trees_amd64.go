//go:build amd64 && !purego

package vec

//go:noescape
func sumTreesAVX2(sums *[TreeBlock]float32, columns *float32, tests *TreeTest, leaves *float32, trees int)

func sumTrees(sums *[TreeBlock]float32, columns []float32, tests []TreeTest, leaves []float32, trees int) {
	if !Accelerated() {
		sumTreesGeneric(sums, columns, tests, leaves, trees)
		return
	}
	sumTreesAVX2(sums, &columns[0], &tests[0], &leaves[0], trees)
}
