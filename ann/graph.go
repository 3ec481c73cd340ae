package ann

// graph is a hierarchy of neighbour lists (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor
// search using Hierarchical Navigable Small World graphs", 2018) without a pointer in it. Every row takes part in
// layer 0, fewer and fewer in those above.
type graph struct {
	nodes   int      // the first so many rows of the index are in the graph, all different; the others are copies of them
	copies  []uint32 // rows copies[i] to copies[i+1] are the copies of node i; nil if there are none at all
	m       int      // links a row has on layers above 0; on layer 0 it has 2m
	base    []uint32 // layer 0: 2m links a row, unused ones none and at the end
	upper   []uint32 // the layers above: m links each, in the order layer 1, 2, ... of one row
	upperAt []uint32 // upperAt[row] is where in upper, in units of m, the row's layer 1 is; none if it has none
	entry   uint32   // a row of the top layer, where every walk starts
	head    int      // how many rows at the front, a multiple of 64, are the longest and compared with every query
	layers  int      // how many layers there are, layer 0 included; 0 in a graph without rows
}

// links returns the links of a row on a layer, or nil if it has none there. What comes out of a corrupt file may be
// the wrong links, but is never out of range.
func (g *graph) links(row uint32, layer int) []uint32 {
	if layer == 0 {
		return g.base[int(row)*2*g.m : (int(row)+1)*2*g.m]
	}
	at := g.upperAt[row]
	if at == none {
		return nil
	}
	from := (int(at) + layer - 1) * g.m
	if from+g.m > len(g.upper) {
		return nil
	}
	return g.upper[from : from+g.m]
}

// pool is the candidates of a walk, sorted, the nearest first: a key, a row of 31 bits, and a bit that is set until the
// row has been expanded.
type pool struct {
	e    []uint64 // the first n are in use
	n    int
	next int // no entry before it is unexpanded

	mark uint64 // what settled last found in the place it was asked for
	idle int    // how often running it found the same there
}

func candidate(key, row uint32) uint64 { return uint64(key)<<32 | uint64(row)<<1 | 1 }

func candidateRow(e uint64) uint32 { return uint32(e) >> 1 }

func (p *pool) reset(e []uint64) { *p = pool{e: e} }

// leastKey is the key that a candidate must beat to get in; 0, which beats nothing, while there is room.
func (p *pool) leastKey() uint32 {
	if p.n < len(p.e) {
		return 0
	}
	return uint32(p.e[p.n-1] >> 32)
}

// expand takes the nearest unexpanded candidate; ok is false when there is none.
func (p *pool) expand() (row uint32, ok bool) {
	for ; p.next < p.n; p.next++ {
		if e := p.e[p.next]; e&1 != 0 {
			p.e[p.next] = e &^ 1
			p.next++
			return candidateRow(e), true
		}
	}
	return 0, false
}

// settled is asked once a step and reports whether the k nearest have been the same for more than patience steps.
func (p *pool) settled(k, patience int) bool {
	if p.n < k {
		return false
	}
	if mark := p.e[k-1] >> 1; mark != p.mark {
		p.mark, p.idle = mark, 0
		return false
	}
	p.idle++
	return p.idle > patience
}

// insert puts e in its place and drops the last candidate of a full pool.
func (p *pool) insert(e uint64) {
	last := p.n
	if last == len(p.e) {
		last--
	} else {
		p.n++
	}
	lo, hi := 0, last
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if p.e[mid] > e {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	copy(p.e[lo+1:last+1], p.e[lo:last])
	p.e[lo] = e
	p.next = min(p.next, lo)
}

// unvisited marks the rows linked to and copies those that were not yet marked to the front of s.block. It reports
// false if a link leads out of the index.
func (s *scratch) unvisited(links []uint32, n int) (fresh []uint32, ok bool) {
	visited, block := s.visited, s.block[:blockRows]
	m := 0
	for _, row := range links {
		if int(row) >= n { // one comparison for the end of the list and for a link that a file has wrong
			if row == none {
				break
			}
			return nil, false
		}
		w, bit := &visited[row>>6], uint64(1)<<(row&63)
		block[m&(blockRows-1)] = row
		if *w&bit == 0 {
			m++
		}
		*w |= bit
	}
	return block[:m], true
}

// visit marks a row and reports whether it was not marked before.
func (s *scratch) visit(row uint32) bool {
	w, bit := &s.visited[row>>6], uint64(1)<<(row&63)
	fresh := *w&bit == 0
	*w |= bit
	return fresh
}

// headBlocks scores the head of the index, a block at a time, and calls each with the first row of the block and the
// keys. It marks all of the head visited.
func (w walker) headBlocks(s *scratch, each func(first uint32, keys []uint32)) {
	for lo := 0; lo < w.head; lo += blockRows {
		hi := min(lo+blockRows, w.head)
		keys := s.keys[:hi-lo]
		if w.scoreBlock(s, s, lo, hi) {
			for i := range keys {
				keys[i] = keyOfInt(s.ints[i])
			}
		} else {
			for i := range keys {
				keys[i] = keyOf(s.scores[i])
			}
		}
		each(uint32(lo), keys)
	}
	for i := range w.head / 64 {
		s.visited[i] = ^uint64(0)
	}
	s.scored += w.head
}

// walkFiltered is walk with only eligible rows in p. It goes on through rows that are not: its frontier is whatever is
// nearer than the worst eligible row kept, and without bound until there are enough of these. So it works as hard as
// the filter makes it; settled is false if it scored budget rows before it was done, and p is then of no use.
func (w walker) walkFiltered(s *scratch, ef int, filter Bitmap, budget int) (settled bool, err error) {
	if err := w.descend(s); err != nil {
		return false, err
	}
	clear(s.visited)
	p := s.resetPool(ef)
	w.startFiltered(s, p, filter)
	for _, e := range [2]uint64{s.at.entry, candidate(s.at.key, s.at.row)} {
		if s.visit(candidateRow(e)) {
			w.offer(s, p, filter, e)
		}
	}
	for len(s.frontier) > 0 {
		e := s.frontier.pop()
		if uint32(e>>32) < p.leastKey() {
			break
		}
		fresh, ok := s.unvisited(w.links(candidateRow(e), 0), w.nodes)
		if !ok || !w.score(s, fresh) {
			return false, errLink()
		}
		if s.scored > budget {
			return false, nil
		}
		least := p.leastKey()
		for i, row := range fresh {
			if key := s.keys[i]; key > least {
				w.offer(s, p, filter, candidate(key, row))
				least = p.leastKey()
			}
		}
	}
	return true, nil
}

// offer puts a candidate on the frontier, and into the pool if it is eligible and near enough.
func (w walker) offer(s *scratch, p *pool, filter Bitmap, e uint64) {
	s.frontier.push(e)
	if uint32(e>>32) > p.leastKey() && w.eligible(filter, candidateRow(e)) {
		p.insert(e)
	}
}

// startFiltered empties the frontier and puts on it the nearest of the head, as many as the pool has room for, and into
// the pool all of the head that is eligible and near enough.
func (w walker) startFiltered(s *scratch, p *pool, filter Bitmap) {
	s.frontier = s.frontier[:0]
	s.top.reset(len(p.e))
	w.headBlocks(s, func(first uint32, keys []uint32) {
		for i, key := range keys {
			row := first + uint32(i)
			s.top.push(entry(key, row))
			if key > p.leastKey() && w.eligible(filter, row) {
				p.insert(candidate(key, row))
			}
		}
	})
	for _, e := range s.top.e {
		s.frontier.push(candidate(uint32(e>>32), entryRow(e)))
	}
}

// copiesOf returns the range of rows that are copies of a node. What comes out of a corrupt file may be the wrong range,
// but is never out of range.
func (w walker) copiesOf(node uint32) (lo, hi uint32) {
	if w.copies == nil {
		return 0, 0
	}
	lo, hi = w.copies[node], w.copies[node+1]
	if lo > hi || int(hi) > w.n {
		return 0, 0
	}
	return lo, hi
}

// eligible reports whether the filter lets a node or one of its copies through.
func (w walker) eligible(filter Bitmap, node uint32) bool {
	if filter.Has(w.id(node)) {
		return true
	}
	for lo, hi := w.copiesOf(node); lo < hi; lo++ {
		if filter.Has(w.id(lo)) {
			return true
		}
	}
	return false
}

// take moves the nearest want nodes of the pool to found, each with as many of its copies as can be among the k nearest,
// where the filter lets them through.
func (w walker) take(s *scratch, k, want int, filter Bitmap) {
	p := &s.at.pool
	s.found = s.found[:0]
	for _, e := range p.e[:min(want, p.n)] {
		node := candidateRow(e)
		n := 0
		if filter == nil || filter.Has(w.id(node)) {
			s.found = append(s.found, node)
			n++
		}
		for lo, hi := w.copiesOf(node); lo < hi && n < k; lo++ {
			if filter == nil || filter.Has(w.id(lo)) {
				s.found = append(s.found, lo)
				n++
			}
		}
	}
}
