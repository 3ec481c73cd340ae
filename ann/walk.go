package ann

import (
	"fmt"

	"marquee/internal/vec"
)

// walker walks the graph of an index towards the query of a scratch.
//
// A walk goes in steps, each of which scores the rows that the one before asked memory for, and decides which come next.
// One walk alone spends most of its time waiting for these; several that take turns find theirs already there.
type walker struct {
	*store
	*graph
}

// progress is where a walk stands between two steps.
type progress struct {
	pool  pool
	fresh []uint32 // the rows to be scored in the next step
	layer int      // the layer they are links of; above the top layer, the entry is still to be scored
	row   uint32   // the nearest met above layer 0, and its key
	key   uint32
	entry uint64 // the entry of the graph, a candidate: from it every row can be reached

	k        int // the walk is over when the k nearest have been the same
	patience int // for so many steps
}

func errLink() error { return fmt.Errorf("ann: %w: link out of range", ErrCorrupt) }

// patience is how many steps of a walk that keeps ef candidates may pass without one of the k nearest changing. A walk to
// the end, until every candidate has been expanded, mostly confirms what it has: at 50,000 x 64, for a recall@10 of .95 or
// .99, it scores a tenth or a quarter more rows than one that keeps half as many candidates again and gives up after this.
// (Teofili and Lin, "Patience in Proximity", 2024, stop likewise.)
//
// Where there is a head, whose scan finds most of the nearest before the walk begins, that they stand says less: the walk then has
// three times the patience.
func (w walker) patience(ef int) int {
	if w.head > 0 {
		return ef
	}
	return ef/3 + 1
}

// begin readies a walk for the k nearest that keeps ef candidates. After it, step is called until it says done.
func (w walker) begin(s *scratch, k, ef int) {
	s.at.k, s.at.patience = k, w.patience(ef)
	s.resetPool(ef)
	s.at.layer = w.layers
	s.block[0] = w.graph.entry
	s.at.fresh = s.block[:1]
	w.ask(s, s.at.fresh)
}

// resetPool empties the pool and gives it room for ef candidates.
func (s *scratch) resetPool(ef int) *pool {
	if cap(s.candidates) < ef {
		s.candidates = make([]uint64, ef)
	}
	s.at.pool.reset(s.candidates[:ef])
	return &s.at.pool
}

// step goes on with a walk. When it is done, the rows nearest to the query that could be found are in the pool.
func (w walker) step(s *scratch) (done bool, err error) {
	if !w.score(s, s.at.fresh) {
		return false, errLink()
	}
	if s.at.layer > 0 {
		down, err := w.stepDown(s)
		if !down || err != nil {
			return false, err
		}
		w.enter(s)
		return w.advance(s)
	}
	p := &s.at.pool
	least := p.leastKey()
	for i, key := range s.keys[:len(s.at.fresh)] {
		if key > least {
			p.insert(candidate(key, s.at.fresh[i]))
			least = p.leastKey()
		}
	}
	if p.settled(s.at.k, s.at.patience) {
		return true, nil
	}
	return w.advance(s)
}

// stepDown goes greedily down the upper layers: on to the nearest of the links scored, or to the next layer where none is
// nearer than the row itself. It reports true on layer 0.
func (w walker) stepDown(s *scratch) (down bool, err error) {
	keys := s.keys[:len(s.at.fresh)]
	moved := false
	if s.at.layer == w.layers {
		s.at.row, s.at.key = s.at.fresh[0], keys[0]
		s.at.entry = candidate(s.at.key, s.at.row)
	} else {
		for i, key := range keys {
			if key > s.at.key {
				s.at.row, s.at.key, moved = s.at.fresh[i], key, true
			}
		}
	}
	if !moved {
		if s.at.layer--; s.at.layer == 0 {
			return true, nil
		}
	}
	links := w.links(s.at.row, s.at.layer)
	n := 0
	for n < len(links) && int(links[n]) < w.nodes {
		n++
	}
	if n < len(links) && links[n] != none {
		return false, errLink()
	}
	s.at.fresh = links[:n]
	w.ask(s, s.at.fresh)
	return false, nil
}

// enter begins layer 0 with the head, the entry of the graph and the row come down to, which is near but need not be a way
// to all.
func (w walker) enter(s *scratch) {
	p := &s.at.pool
	clear(s.visited)
	w.headBlocks(s, func(first uint32, keys []uint32) {
		for i, key := range keys {
			if key > p.leastKey() {
				p.insert(candidate(key, first+uint32(i)))
			}
		}
	})
	for _, e := range [2]uint64{s.at.entry, candidate(s.at.key, s.at.row)} {
		if s.visit(candidateRow(e)) && uint32(e>>32) > p.leastKey() {
			p.insert(e)
		}
	}
}

// advance expands the nearest candidate that leads to rows not met before, and asks for these.
func (w walker) advance(s *scratch) (done bool, err error) {
	p := &s.at.pool
	for {
		row, ok := p.expand()
		if !ok {
			return true, nil
		}
		if p.next < p.n {
			vec.Prefetch(&w.base[int(candidateRow(p.e[p.next]))*2*w.m])
		}
		fresh, ok := s.unvisited(w.links(row, 0), w.nodes)
		if !ok {
			return false, errLink()
		}
		if len(fresh) > 0 {
			s.at.fresh = fresh
			w.ask(s, fresh)
			return false, nil
		}
	}
}

// ask asks memory for the rows.
func (w walker) ask(s *scratch, rows []uint32) {
	if s.useInt {
		vec.PrefetchRows(w.codes, w.codeStride, rows)
	} else {
		vec.PrefetchRows(w.rows, w.stride, rows)
	}
}

// walk runs a walk to its end.
func (w walker) walk(s *scratch, k, ef int) error {
	w.begin(s, k, ef)
	for {
		if done, err := w.step(s); done || err != nil {
			return err
		}
	}
}

// descend goes down to layer 0 and leaves there where it came to in s.
func (w walker) descend(s *scratch) error {
	w.begin(s, 1, 1)
	for {
		if !w.score(s, s.at.fresh) {
			return errLink()
		}
		if down, err := w.stepDown(s); down || err != nil {
			return err
		}
	}
}
