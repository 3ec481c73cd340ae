//go:build !amd64 || purego

package vec

func sumTrees(sums *[TreeBlock]float32, columns []float32, tests []TreeTest, leaves []float32, trees int) {
	sumTreesGeneric(sums, columns, tests, leaves, trees)
}
