package ann

import (
	"hash/maphash"
	"slices"

	"marquee/internal/vec"
)

// connect makes every row reachable from the entry on layer 0. The choice of links leaves some rows without a link to
// them, and without this no search could ever return those.
//
// It walks the graph breadth first and keeps, for each row, the one it was reached from. A row left over is searched for
// like a query and linked to from a row reached, never in the place of a link the tree needs: so nothing reached is ever
// lost.
func (b *builder) connect() {
	c := connector{inserter: b.newInserter(), parent: make([]uint32, b.nodes)}
	for i := range c.parent {
		c.parent[i] = none
	}
	c.reach(b.entry, b.entry)
	for row := range uint32(b.nodes) {
		if c.parent[row] == none {
			c.reach(row, c.adopt(row))
		}
	}
}

// connector is the tree that connect grows.
type connector struct {
	*inserter
	parent  []uint32 // of each row reached; none of the others
	reached []uint32 // in order
	full    int      // so many of the first reached have no place for a link
}

// reach adds to the tree a row, linked to from another, and all that can be reached from it.
func (c *connector) reach(row, from uint32) {
	c.parent[row] = from
	at := len(c.reached)
	c.reached = append(c.reached, row)
	for ; at < len(c.reached); at++ {
		from := c.reached[at]
		for _, row := range c.links(from, 0) {
			if row == none {
				break
			}
			if c.parent[row] == none {
				c.parent[row] = from
				c.reached = append(c.reached, row)
			}
		}
	}
}

// adoptEF is how many of the rows nearest to one left over are looked at for a free place.
const adoptEF = 64

// adopt links to u from a row reached, and returns that row: one of the nearest with a free place. Where all these are
// full it takes the row reached last, and so makes a chain of the rows left over, which have free places since nothing
// links to them and so nothing is linked back; failing that, a place of any row the tree does not need. There is one: the
// tree needs fewer links than there are rows. Places of links that were chosen go last because those links are what a
// walk needs: by inner product a tenth and more of the rows are left over, the shortest, and what leads to the others
// is not to suffer for them.
func (c *connector) adopt(u uint32) (from uint32) {
	c.similar(u, []uint32{c.entry})
	c.search(u, c.entry, c.keys[0], 0, min(c.ef, adoptEF))
	for _, e := range c.pool.e[:c.pool.n] {
		if c.append(candidateRow(e), u) {
			return candidateRow(e)
		}
	}
	if last := c.reached[len(c.reached)-1]; c.append(last, u) {
		return last
	}
	for !c.append(c.reached[c.full], u) && !c.replace(c.reached[c.full], u) {
		c.full++
	}
	return c.reached[c.full]
}

// append puts u in a free place of the links of a row, if there is one.
func (c *connector) append(from, u uint32) bool {
	list := c.links(from, 0)
	i := slices.Index(list, none)
	if i < 0 {
		return false
	}
	list[i] = u
	return true
}

// replace puts u in the place of a link of a row that the tree does not need, if there is one.
func (c *connector) replace(from, u uint32) bool {
	list := c.links(from, 0)
	for i := len(list) - 1; i >= 0; i-- {
		if c.parent[list[i]] != from {
			list[i] = u
			return true
		}
	}
	return false
}

// headLen bounds the head of an index of n vectors: 1% of all, but not so few that the next best are missed, nor so many
// that scoring them is no longer a small part of a search: 4096 rows of 64 components cost about 15 us.
func headLen(n int) int { return min(max(n/96, 512), 4096, n/4) }

// headRows returns those of the first n rows that make the head, the longest first: those more than half as long again as
// the median, headLen at most, in whole words of a bitmap. There is no head if these are less than half as many: a graph
// finds a few by itself.
func (st *store) headRows(n int) []uint32 {
	norms := make([]float32, n)
	for i := range norms {
		norms[i] = vec.Dot(st.row(i), st.row(i))
	}
	var top topK
	top.reset(headLen(n))
	if top.k == 0 {
		return nil
	}
	for i, norm := range norms {
		top.push(entry(keyOf(norm), uint32(i)))
	}
	slices.Sort(norms)
	long := keyOf(1.5 * 1.5 * norms[n/2])
	slices.Sort(top.e)
	rows := make([]uint32, 0, top.k)
	for _, e := range slices.Backward(top.e) {
		if uint32(e>>32) > long {
			rows = append(rows, entryRow(e))
		}
	}
	if len(rows) < top.k/2 {
		return nil
	}
	return rows[:len(rows)&^63]
}

// distinctFirst moves the rows so that those which differ from all before them come first, and those that repeat one
// come after these, and returns for each of the first the rows, as they now are, of its copies. It keeps the old
// numbers as ids.
//
// The graph is over distinct vectors alone. Copies would fill each other's lists, and a plateau of them, such as all the
// titles that have no factors yet, is where a walk ends.
func (ix *index) distinctFirst() (copies [][]uint32) {
	seed := maphash.MakeSeed()
	firsts := make(map[uint64]uint32, ix.n)
	distinct := make([]uint32, 0, ix.n)
	var repeated, node []uint32 // rows that repeat another, and the position among the distinct of what they repeat
	for row := range uint32(ix.n) {
		v := ix.row(int(row))
		for h := maphash.Bytes(seed, bytesOf(v)); ; h++ {
			first, taken := firsts[h]
			if !taken {
				firsts[h] = uint32(len(distinct))
				distinct = append(distinct, row)
				break
			}
			if slices.Equal(v, ix.row(int(distinct[first]))) {
				repeated, node = append(repeated, row), append(node, first)
				break
			}
		}
	}
	copies = make([][]uint32, len(distinct))
	for i, first := range node {
		copies[first] = append(copies[first], uint32(len(distinct)+i))
	}
	ix.ids = append(distinct, repeated...)
	if len(repeated) > 0 {
		ix.rows = permute(ix.rows, ix.ids, ix.stride)
	}
	return copies
}

// reorder numbers the rows anew: the head of the index first, then the other nodes of the graph in breadth-first order
// from the entry, so that rows which a walk meets together lie together, then the copies in the order of their nodes.
//
// An index by inner product has a head, the vectors much longer than most. In a graph that treats all vectors alike,
// they, which are the answer to many a query, are met late: with factors of items whose lengths follow their popularity,
// a walk of 64 candidates found half to four fifths of the ten best. To score the head first, in one scan, costs less
// than a tenth of the walk, finds most of these, and starts the walk beside the rest.
func (ix *index) reorder(copies [][]uint32, head []uint32) {
	g := ix.graph
	renumber := make([]uint32, g.nodes)
	for i := range renumber {
		renumber[i] = none
	}
	order := make([]uint32, 0, ix.n)
	add := func(row uint32) {
		if renumber[row] == none {
			renumber[row] = uint32(len(order))
			order = append(order, row)
		}
	}
	g.head = len(head)
	for _, row := range head {
		add(row)
	}
	add(g.entry)
	for i := 0; i < len(order); i++ {
		for _, row := range g.links(order[i], 0) {
			if row == none {
				break
			}
			add(row)
		}
	}
	g.renumber(renumber, order)
	if g.nodes < ix.n {
		g.copies = []uint32{uint32(g.nodes)}
		for _, row := range order[:g.nodes] {
			order = append(order, copies[row]...)
			g.copies = append(g.copies, uint32(len(order)))
		}
	}
	ix.rows = permute(ix.rows, order, ix.stride)
	ix.ids = permute(ix.ids, order, 1)
	ix.rowOf = make([]uint32, ix.n)
	for row, id := range ix.ids {
		ix.rowOf[id] = uint32(row)
	}
}

// renumber applies a new order of the nodes to the graph; to[row] is the place of a row in it.
func (g *graph) renumber(to, order []uint32) {
	g.base = permute(g.base, order, 2*g.m)
	g.upperAt = permute(g.upperAt, order, 1)
	g.entry = to[g.entry]
	for _, links := range [][]uint32{g.base, g.upper} {
		for i, row := range links {
			if row != none {
				links[i] = to[row]
			}
		}
	}
}

// permute returns the rows of m, each of size elements, in the order given.
func permute[T any](m []T, order []uint32, size int) []T {
	out := makeHuge[T](len(m))[:0]
	for _, i := range order {
		out = append(out, m[int(i)*size:(int(i)+1)*size]...)
	}
	return out
}
