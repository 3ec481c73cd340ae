// Package forest evaluates the trees of a model for many examples at once, as serving does for a request's candidates: a block of sixteen
// goes through all trees together, without a branch. It gives exactly the numbers of gbdt.Model.Raw.
package forest

import (
	"math"

	"marquee/internal/vec"
	"marquee/training/gbdt"
)

// Leaves is the largest number of leaves that a tree of a forest may have.
const Leaves = vec.TreeLeaves

// Forest is a model made ready. It is immutable and safe for concurrent use.
type Forest struct {
	features int
	base     float32
	columns  []column
	tests    []vec.TreeTest
	leaves   []float32
}

// column is a feature as tests look at it. What is not known goes to the side its tests say: it stands as the lowest or the highest of
// numbers, and a feature whose tests disagree has a column for either.
type column struct {
	feature int
	unknown float32
}

// Scratch is the memory of one call of Raw, to be used again but not by two at once.
type Scratch struct{ block []float32 }

// New makes a model ready, which must have passed its Validate; it reports false where a tree has more than Leaves leaves.
func New(m *gbdt.Model) (*Forest, bool) {
	f := &Forest{features: m.Features, base: m.Base}
	at := map[column]int{}
	for _, t := range m.Trees {
		g := grove{f: f, at: at, tree: t}
		g.walk(0)
		if len(g.leaves) > Leaves {
			return nil, false
		}
		for len(g.tests) < Leaves-1 {
			g.tests = append(g.tests, vec.TreeTest{})
		}
		f.tests = append(f.tests, g.tests...)
		rotated := [Leaves]float32{}
		for i, v := range g.leaves {
			rotated[(i+Leaves-1)%Leaves] = v
		}
		f.leaves = append(f.leaves, rotated[:]...)
	}
	if len(f.columns) == 0 { // no tree splits; what drops nothing still looks at a column
		f.columns = []column{{}}
	}
	return f, true
}

// grove is one tree being made ready.
type grove struct {
	f      *Forest
	at     map[column]int
	tree   gbdt.Tree
	tests  []vec.TreeTest
	leaves []float32
}

// walk adds the tests and leaves below a node, from left to right.
func (g *grove) walk(node int32) {
	n := &g.tree[node]
	if n.Left == 0 {
		g.leaves = append(g.leaves, n.Value)
		return
	}
	c := column{feature: int(n.Feature), unknown: float32(math.Inf(1))}
	if n.MissingLeft {
		c.unknown = float32(math.Inf(-1))
	}
	i, known := g.at[c]
	if !known {
		i = len(g.f.columns)
		g.at[c] = i
		g.f.columns = append(g.f.columns, c)
	}
	first := len(g.leaves)
	g.walk(n.Left)
	drops := uint32(1)<<len(g.leaves) - uint32(1)<<first
	g.tests = append(g.tests, vec.TreeTest{Column: uint32(i * vec.TreeBlock * 4), Above: n.Threshold, Drops: drops})
	g.walk(n.Right)
}

// Raw writes to dst the sum of the trees for each example: rows is len(dst) x the model's features, row-major, NaN for what is not known.
func (f *Forest) Raw(dst, rows []float32, s *Scratch) {
	if len(rows) != len(dst)*f.features {
		panic("forest: the examples do not have the model's features")
	}
	if n := len(f.columns) * vec.TreeBlock; cap(s.block) < n {
		s.block = make([]float32, n)
	} else {
		s.block = s.block[:n]
	}
	var sums [vec.TreeBlock]float32
	for lo := 0; lo < len(dst); lo += vec.TreeBlock {
		n := min(vec.TreeBlock, len(dst)-lo)
		f.fill(s.block, rows[lo*f.features:], n)
		vec.SumTrees(&sums, s.block, f.tests, f.leaves)
		for i := range n {
			dst[lo+i] = sums[i] + f.base
		}
	}
}

// fill lays n examples out by column. What stands in the places beyond them does not matter.
func (f *Forest) fill(block, rows []float32, n int) {
	for c, col := range f.columns {
		to, at := block[c*vec.TreeBlock:(c+1)*vec.TreeBlock], col.feature
		for i := range n {
			x := rows[at]
			if x != x {
				x = col.unknown
			}
			to[i] = x
			at += f.features
		}
	}
}
