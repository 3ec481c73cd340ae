// Package gbdt trains gradient boosted regression trees (Friedman, Greedy Function Approximation: A Gradient Boosting Machine,
// 2001) on binned features, growing each tree at the leaf that gains most (as LightGBM does: Ke et al. 2017), for probabilities,
// for quantities and for order within groups (LambdaMART: Burges, From RankNet to LambdaRank to LambdaMART, 2010).
//
// The same examples, configuration and seed give the same trees, whatever the number of goroutines.
package gbdt

import (
	"errors"
	"fmt"
	"math"
)

// ErrData is wrapped by every error about the examples given.
var ErrData = errors.New("cannot train trees on these examples")

// Matrix is a table of examples x features, row-major. NaN stands for a value that is not known; infinities are refused.
type Matrix struct {
	Rows, Cols int
	Values     []float32 // Rows * Cols
}

// Row returns the features of one example, sharing memory.
func (m Matrix) Row(i int) []float32 { return m.Values[i*m.Cols : (i+1)*m.Cols : (i+1)*m.Cols] }

// Examples are what trees are trained on or judged by.
type Examples struct {
	X Matrix
	// Label is parallel to the rows: for Logistic a share from 0 to 1, for Clicks 0 or 1, for Squared any finite number, for LambdaRank a relevance of
	// 0 to 31, whose gain is 2^relevance - 1.
	Label []float32
	// Weight is parallel to the rows, finite and not negative; nil weighs every example 1.
	Weight []float32
	// Groups are the lengths of runs of consecutive rows that are ranked together; LambdaRank needs them.
	Groups []int
	// Positions are parallel to the rows: where each stood. Clicks needs them.
	Positions []Position
}

// Config is what decides the trees besides the examples.
type Config struct {
	// Rounds is the largest number of trees, 1 to 10,000.
	Rounds int `koanf:"rounds"`
	// Leaves is the largest number of leaves of a tree, 2 to 1,024. Trees of at most 8 answer ten times as fast.
	Leaves int `koanf:"leaves"`
	// MinLeaf is the smallest number of examples in a leaf, 1 or more.
	MinLeaf int `koanf:"min_leaf"`
	// LearningRate scales every tree's values, above 0, at most 1.
	LearningRate float64 `koanf:"learning_rate"`
	// L2 is the regularisation of the leaves' values, 0 or more.
	L2 float64 `koanf:"l2"`
	// MinGain is what a split must improve the objective by, 0 or more.
	MinGain float64 `koanf:"min_gain"`
	// FeatureShare and RowShare are the shares of features and of examples (of groups, where there are groups) that each tree sees,
	// above 0, at most 1.
	FeatureShare float64 `koanf:"feature_share"`
	RowShare     float64 `koanf:"row_share"`
	// Bins is the largest number of intervals a feature's known values are put in, 2 to 255.
	Bins int `koanf:"bins"`
	// Patience is after how many trees without improvement on the validation examples training stops, the best trees being kept;
	// 0 never stops early.
	Patience int `koanf:"patience"`
	// Seed decides which features and examples each tree sees.
	Seed uint64 `koanf:"seed"`
	// Workers is the number of goroutines; 0 means one a processor. It does not affect the result.
	Workers int `koanf:"workers"`
}

// DefaultConfig returns trees of moderate size that generalise on some ten thousand examples and more.
func DefaultConfig() Config {
	return Config{Rounds: 400, Leaves: 31, MinLeaf: 50, LearningRate: 0.05, L2: 1, FeatureShare: 0.8, RowShare: 0.8, Bins: 255, Patience: 40, Seed: 1}
}

// Validate reports every field out of its range.
func (c Config) Validate() error {
	var errs []error
	whole := func(name string, v, lo, hi int) {
		if v < lo || v > hi {
			errs = append(errs, fmt.Errorf("%s must be between %d and %d, is %d", name, lo, hi, v))
		}
	}
	share := func(name string, v float64) {
		if !(v > 0 && v <= 1) {
			errs = append(errs, fmt.Errorf("%s must be above 0 and at most 1, is %g", name, v))
		}
	}
	whole("rounds", c.Rounds, 1, 10_000)
	whole("leaves", c.Leaves, 2, 1024)
	whole("min_leaf", c.MinLeaf, 1, math.MaxInt32)
	whole("bins", c.Bins, 2, 255)
	whole("patience", c.Patience, 0, 10_000)
	whole("workers", c.Workers, 0, 4096)
	share("learning_rate", c.LearningRate)
	share("feature_share", c.FeatureShare)
	share("row_share", c.RowShare)
	for _, f := range []struct {
		name string
		v    float64
	}{{"l2", c.L2}, {"min_gain", c.MinGain}} {
		if !(f.v >= 0) || math.IsInf(f.v, 0) {
			errs = append(errs, fmt.Errorf("%s must be 0 or more and finite, is %g", f.name, f.v))
		}
	}
	return errors.Join(errs...)
}

// Node is one node of a tree. A leaf has Left 0 and a Value; node 0 is the root, so 0 is nobody's child.
type Node struct {
	Feature     int32
	Threshold   float32 // at most this goes left
	Left, Right int32
	MissingLeft bool // NaN goes left
	Value       float32
}

// Tree is a regression tree: node 0 is its root, children come after their parents.
type Tree []Node

// Value is the tree's value for one example.
func (t Tree) Value(row []float32) float32 {
	n := &t[0]
	for n.Left != 0 {
		x := row[n.Feature]
		if x <= n.Threshold || n.MissingLeft && x != x {
			n = &t[n.Left]
		} else {
			n = &t[n.Right]
		}
	}
	return n.Value
}

// Model is a sum of trees. It is immutable and safe for concurrent use.
type Model struct {
	Features int // how many an example has
	Base     float32
	Trees    []Tree
}

// Raw is the sum of the trees for one example: log-odds for Logistic, the quantity itself for Squared, a score whose order alone means
// something for LambdaRank. It adds in float32, as ONNX Runtime does.
func (m *Model) Raw(row []float32) float32 {
	var s float32
	for _, t := range m.Trees {
		s += t.Value(row)
	}
	return s + m.Base
}

// splits is each feature's share of the splits, all 0 where no tree splits.
func (m *Model) splits() []float64 {
	out, total := make([]float64, m.Features), 0.0
	for _, t := range m.Trees {
		for _, n := range t {
			if n.Left != 0 {
				out[n.Feature]++
				total++
			}
		}
	}
	for f := range out {
		out[f] /= max(total, 1)
	}
	return out
}

// Validate checks that trees are trees over the features: what was read from outside must pass before it is used.
func (m *Model) Validate() error {
	for i, t := range m.Trees {
		if len(t) == 0 {
			return fmt.Errorf("%w: tree %d has no node", ErrData, i)
		}
		for j, n := range t {
			switch {
			case n.Left == 0 && n.Right == 0:
			case int(n.Left) <= j || int(n.Left) >= len(t) || int(n.Right) <= j || int(n.Right) >= len(t):
				return fmt.Errorf("%w: node %d of tree %d has children %d and %d of %d nodes", ErrData, j, i, n.Left, n.Right, len(t))
			case n.Feature < 0 || int(n.Feature) >= m.Features:
				return fmt.Errorf("%w: node %d of tree %d splits feature %d of %d", ErrData, j, i, n.Feature, m.Features)
			}
		}
	}
	return nil
}
