package gbdt

import (
	"runtime"
	"sync"
)

// cell sums what fell into one interval of one feature.
type cell struct {
	g, h float64
	n    int
}

// leaf is a leaf of the tree that grows: a run of the row numbers, their sums feature by feature, and its best split.
type leaf struct {
	node   int
	lo, hi int // of grower.rows
	hist   [][256]cell
	total  cell
	best   split
}

type split struct {
	gain        float64
	feature     int
	bin         uint8 // up to this interval goes left
	missingLeft bool
}

// grower grows one tree after another on the same examples.
type grower struct {
	cfg      Config
	data     *binned
	rows     []int32 // of the tree, leaf by leaf
	spare    []int32
	g, h     []float32 // of every example
	og, oh   []float32 // of a leaf's rows, in their order
	features []int     // that the tree may split
	workers  int
	pool     [][][256]cell
}

func newGrower(cfg Config, data *binned, rows int) *grower {
	return &grower{
		cfg: cfg, data: data, workers: workerCount(cfg.Workers),
		rows: make([]int32, 0, rows), spare: make([]int32, rows), g: make([]float32, rows), h: make([]float32, rows),
		og: make([]float32, rows), oh: make([]float32, rows),
	}
}

// grow makes a tree of the rows and features that were set, splitting where it gains most until no split gains or the leaves are many.
func (w *grower) grow() Tree {
	tree := Tree{{}}
	root := &leaf{lo: 0, hi: len(w.rows), hist: w.histogram()}
	w.fill(root)
	w.findBest(root)
	leaves := []*leaf{root}
	for len(leaves) < w.cfg.Leaves {
		at := -1
		for i, l := range leaves {
			if l.best.gain > w.cfg.MinGain && (at < 0 || l.best.gain > leaves[at].best.gain) {
				at = i
			}
		}
		if at < 0 {
			break
		}
		left, right := w.divide(&tree, leaves[at])
		leaves[at] = left
		leaves = append(leaves, right)
	}
	for _, l := range leaves {
		tree[l.node].Value = float32(-l.total.g / (l.total.h + w.cfg.L2) * w.cfg.LearningRate)
		w.pool = append(w.pool, l.hist)
	}
	return tree
}

func (w *grower) histogram() [][256]cell {
	if n := len(w.pool); n > 0 {
		h := w.pool[n-1]
		w.pool = w.pool[:n-1]
		return h
	}
	return make([][256]cell, len(w.data.columns))
}

// fill sums a leaf's rows, each feature by one goroutine and in order of the rows, so that the sums do not hang on how many there are.
func (w *grower) fill(l *leaf) {
	rows := w.rows[l.lo:l.hi]
	og, oh := w.og[:len(rows)], w.oh[:len(rows)]
	l.total = cell{n: len(rows)}
	for i, r := range rows {
		og[i], oh[i] = w.g[r], w.h[r]
		l.total.g += float64(og[i])
		l.total.h += float64(oh[i])
	}
	w.each(len(rows), func(f int) {
		hist, column := &l.hist[f], w.data.columns[f]
		clear(hist[:])
		for i, r := range rows {
			c := &hist[column[r]]
			c.g += float64(og[i])
			c.h += float64(oh[i])
			c.n++
		}
	})
}

// subtract makes a leaf's sums of its parent's and its sibling's, in the parent's memory.
func (w *grower) subtract(parent, sibling, l *leaf) {
	l.hist = parent.hist
	l.total = cell{parent.total.g - sibling.total.g, parent.total.h - sibling.total.h, parent.total.n - sibling.total.n}
	w.each(0, func(f int) {
		for i := range l.hist[f] {
			c, s := &l.hist[f][i], &sibling.hist[f][i]
			c.n -= s.n
			if c.n == 0 { // without a rest of rounding
				c.g, c.h = 0, 0
				continue
			}
			c.g -= s.g
			c.h -= s.h
		}
	})
}

// divide splits a leaf by its best split.
func (w *grower) divide(tree *Tree, l *leaf) (left, right *leaf) {
	column, s := w.data.columns[l.best.feature], l.best
	rows, spare := w.rows[l.lo:l.hi], w.spare[:0]
	n := 0
	for _, r := range rows {
		if b := column[r]; b == 0 && s.missingLeft || b != 0 && b <= s.bin {
			rows[n] = r
			n++
		} else {
			spare = append(spare, r)
		}
	}
	copy(rows[n:], spare)
	at := len(*tree)
	node := &(*tree)[l.node]
	node.Feature, node.Threshold, node.MissingLeft = int32(s.feature), w.data.edges[s.feature][s.bin-1], s.missingLeft
	node.Left, node.Right = int32(at), int32(at+1)
	*tree = append(*tree, Node{}, Node{})
	left, right = &leaf{node: at, lo: l.lo, hi: l.lo + n}, &leaf{node: at + 1, lo: l.lo + n, hi: l.hi}
	small, large := left, right
	if right.hi-right.lo < left.hi-left.lo {
		small, large = right, left
	}
	small.hist = w.histogram()
	w.fill(small)
	w.subtract(l, small, large)
	w.findBest(left)
	w.findBest(right)
	return left, right
}

// findBest finds the split that gains most; of equals the first feature and interval.
func (w *grower) findBest(l *leaf) {
	if l.hi-l.lo < 2*w.cfg.MinLeaf {
		return
	}
	best := make([]split, len(w.data.columns))
	w.each(0, func(f int) { best[f] = w.bestOf(l, f) })
	for _, f := range w.features {
		if best[f].gain > l.best.gain {
			l.best = best[f]
		}
	}
}

func (w *grower) bestOf(l *leaf, f int) (best split) {
	hist := &l.hist[f]
	missing, whole := hist[0], w.worth(l.total.g, l.total.h)
	sides := []bool{false}
	if missing.n > 0 {
		sides = []bool{false, true}
	}
	for _, missingLeft := range sides {
		var left cell
		if missingLeft {
			left = missing
		}
		for b := 1; b <= len(w.data.edges[f]); b++ {
			c := hist[b]
			left.g, left.h, left.n = left.g+c.g, left.h+c.h, left.n+c.n
			if left.n < w.cfg.MinLeaf {
				continue
			}
			if l.total.n-left.n < w.cfg.MinLeaf {
				break
			}
			if gain := w.worth(left.g, left.h) + w.worth(l.total.g-left.g, l.total.h-left.h) - whole; gain > best.gain {
				best = split{gain, f, uint8(b), missingLeft}
			}
		}
	}
	return best
}

func (w *grower) worth(g, h float64) float64 { return g * g / max(h+w.cfg.L2, 1e-12) }

// each calls f for every feature of the tree, side by side where the rows are enough to be worth it.
func (w *grower) each(rows int, f func(feature int)) {
	if w.workers == 1 || rows > 0 && rows*len(w.features) < 1<<15 {
		for _, feature := range w.features {
			f(feature)
		}
		return
	}
	chunks(len(w.features), w.workers, func(lo, hi int) {
		for _, feature := range w.features[lo:hi] {
			f(feature)
		}
	})
}

func workerCount(n int) int {
	if n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}

// chunks calls f for consecutive parts of 0 to n, one a worker.
func chunks(n, workers int, f func(lo, hi int)) {
	workers = min(workers, n)
	if workers <= 1 {
		f(0, n)
		return
	}
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { f(n*i/workers, n*(i+1)/workers) })
	}
	wg.Wait()
}
