package vec

import "math/bits"

// TreeBlock is how many examples SumTrees takes at a time.
const TreeBlock = 16

// TreeLeaves is the largest number of leaves of a tree that SumTrees takes: one register of their values.
const TreeLeaves = 8

// TreeTest is one inner node of a tree: an example whose value in a column is above the bound cannot end in some of the leaves.
type TreeTest struct {
	// Column is where the column starts among the columns, in bytes.
	Column uint32
	Above  float32
	// Drops has a bit for each leaf below the node's left side, the first leaf from the left being bit 0.
	Drops uint32
}

// SumTrees writes to sums, for a block of examples, the sum over trees of the value of the leaf that each ends in, added in the order of the
// trees: the first leaf that no test drops (Lucchese et al., QuickScorer: a Fast Algorithm to Rank Documents with Additive
// Ensembles of Regression Trees, 2015, without its order of tests, since all of a block's are made at once). columns are columns x
// TreeBlock; tests are TreeLeaves - 1 a tree, those that are not needed dropping nothing; leaves are TreeLeaves a tree, rotated by one: leaf
// k at place (k + 7) mod 8. That no test looks beyond the columns is the caller's to see to.
func SumTrees(sums *[TreeBlock]float32, columns []float32, tests []TreeTest, leaves []float32) {
	trees := len(leaves) / TreeLeaves
	if len(tests) < trees*(TreeLeaves-1) {
		panic("vec: too few tests for the trees' leaves")
	}
	if trees == 0 || len(columns) == 0 {
		clear(sums[:])
		return
	}
	sumTrees(sums, columns, tests, leaves, trees)
}

func sumTreesGeneric(sums *[TreeBlock]float32, columns []float32, tests []TreeTest, leaves []float32, trees int) {
	clear(sums[:])
	for t := range trees {
		left := [TreeBlock]uint32{}
		for i := range tests[t*(TreeLeaves-1) : (t+1)*(TreeLeaves-1)] {
			n := &tests[t*(TreeLeaves-1)+i]
			at := int(n.Column / 4)
			for e, x := range columns[at : at+TreeBlock] {
				if x > n.Above {
					left[e] |= n.Drops
				}
			}
		}
		values := leaves[t*TreeLeaves : (t+1)*TreeLeaves]
		for e, dropped := range left {
			sums[e] += values[(bits.TrailingZeros32(^dropped)+TreeLeaves-1)%TreeLeaves]
		}
	}
}
