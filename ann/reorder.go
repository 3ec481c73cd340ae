package ann

import (
	"slices"

	"marquee/internal/vec"
)

// connect makes every row reachable from the entry on layer 0. The choice of links leaves some rows without a link to
// them, and without this no search could ever return those.
//
// It walks the graph breadth first and keeps, for each row, the one it was reached from. A row left over is searched for
// like a query and linked to from one of the nearest rows reached, in a free place or in that of a link the tree does
// not need: so nothing reached is ever lost.
func (b *builder) connect() {
	in := b.newInserter()
	parent := make([]uint32, b.n)
	for i := range parent {
		parent[i] = none
	}
	parent[b.entry] = b.entry
	queue := b.spread([]uint32{b.entry}, parent)
	for row := range uint32(b.n) {
		if parent[row] != none {
			continue
		}
		if from, ok := in.adopt(row, parent); ok {
			parent[row] = from
			queue = b.spread(append(queue[:0], row), parent)
		}
	}
}

// spread visits what can be reached from the rows in queue, and returns queue for reuse.
func (b *builder) spread(queue, parent []uint32) []uint32 {
	for i := 0; i < len(queue); i++ {
		for _, row := range b.links(queue[i], 0) {
			if row == none {
				break
			}
			if parent[row] == none {
				parent[row] = queue[i]
				queue = append(queue, row)
			}
		}
	}
	return queue
}

// adopt links to u from a row that has been reached, and returns that row.
func (in *inserter) adopt(u uint32, parent []uint32) (from uint32, ok bool) {
	in.similar(u, []uint32{in.entry})
	in.search(u, in.entry, in.keys[0], 0, in.ef)
	for _, c := range in.pool.e[:in.pool.n] {
		from := candidateRow(c)
		list := in.links(from, 0)
		for i := len(list) - 1; i >= 0; i-- {
			free := list[i] == none && (i == 0 || list[i-1] != none)
			spare := list[i] != none && parent[list[i]] != from
			if free || spare {
				list[i] = u
				return from, true
			}
		}
	}
	return 0, false
}

// headLen bounds the head of an index of n vectors: 3% of all, but not so few that the next best are missed, nor so many
// that scoring them is no longer a small part of a search: 4096 rows of 64 components cost about 10 us.
func headLen(n int) int { return min(max(n/32, 1024), 4096, n/4) }

// headRows returns the rows of the head, the longest first: those more than half as long again as the median, headLen
// at most, in whole words of a bitmap.
func (st *store) headRows() []uint32 {
	norms := make([]float32, st.n)
	for i := range norms {
		norms[i] = vec.Dot(st.row(i), st.row(i))
	}
	var top topK
	top.reset(headLen(st.n))
	if top.k == 0 {
		return nil
	}
	for i, norm := range norms {
		top.push(entry(keyOf(norm), uint32(i)))
	}
	slices.Sort(norms)
	long := keyOf(1.5 * 1.5 * norms[st.n/2])
	slices.Sort(top.e)
	rows := make([]uint32, 0, top.k)
	for _, e := range slices.Backward(top.e) {
		if uint32(e>>32) > long {
			rows = append(rows, entryRow(e))
		}
	}
	return rows[:len(rows)&^63]
}

// reorder numbers the rows anew and keeps the old numbers as ids: the head of the index first, then the others in
// breadth-first order from the entry, so that rows which a walk meets together lie together.
//
// An index by inner product has a head, the vectors much longer than most. In a graph that treats all vectors alike, they, which are
// the answer to many a query, are met late: with factors of items whose lengths follow their popularity, a walk of 64
// candidates found half to four fifths of the ten best. To score the head first, in one scan, costs less than a tenth
// of the walk, finds most of these, and starts the walk beside the rest.
func (ix *index) reorder() {
	g := ix.graph
	rowOf := make([]uint32, ix.n)
	for i := range rowOf {
		rowOf[i] = none
	}
	ids := make([]uint32, 0, ix.n)
	add := func(id uint32) {
		if rowOf[id] == none {
			rowOf[id] = uint32(len(ids))
			ids = append(ids, id)
		}
	}
	if ix.metric == InnerProduct {
		head := ix.headRows()
		g.head = len(head)
		for _, id := range head {
			add(id)
		}
	}
	add(g.entry)
	for i := 0; i < len(ids); i++ {
		for _, id := range g.links(ids[i], 0) {
			if id == none {
				break
			}
			add(id)
		}
	}
	for id := range uint32(ix.n) { // none, unless connect found no place for one
		add(id)
	}
	ix.ids, ix.rowOf = ids, rowOf
	ix.rows = permute(ix.rows, ids, ix.stride)
	g.base = permute(g.base, ids, 2*g.m)
	g.upperAt = permute(g.upperAt, ids, 1)
	g.entry = rowOf[g.entry]
	for _, links := range [][]uint32{g.base, g.upper} {
		for i, id := range links {
			if id != none {
				links[i] = rowOf[id]
			}
		}
	}
}

// permute returns the rows of m, each of size elements, in the order given.
func permute[T any](m []T, order []uint32, size int) []T {
	out := make([]T, 0, len(m))
	for _, i := range order {
		out = append(out, m[int(i)*size:(int(i)+1)*size]...)
	}
	return out
}
