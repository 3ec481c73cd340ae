package ann

import (
	"fmt"
	"math/bits"

	"marquee/internal/vec"
)

// scan finds, for each search in group, the want rows nearest to its query among all the filter lets through, and
// leaves them in found. It goes block by block, every query over one block before the next is touched, so that a batch
// reads the vectors from memory once.
func (st *store) scan(group []*scratch, want int, filter Bitmap) error {
	for _, s := range group {
		s.top.reset(want)
		s.scored += st.n
	}
	for lo := 0; lo < st.n; lo += blockRows {
		hi := min(lo+blockRows, st.n)
		for _, s := range group {
			if err := st.scanBlock(s, group[0], lo, hi, filter); err != nil {
				return err
			}
		}
	}
	for _, s := range group {
		s.takeTop()
	}
	return nil
}

func (st *store) scanBlock(s, buf *scratch, lo, hi int, filter Bitmap) error {
	above, integers := st.blockAbove(s, buf, lo, hi, noFloor)
	for _, i := range above {
		row := uint32(lo) + i
		if filter != nil && !filter.Has(st.id(row)) {
			continue
		}
		key := keyOf(buf.scores[i])
		if integers {
			key = keyOfInt(buf.ints[i])
		}
		s.top.push(entry(key, row))
	}
	return nil
}

// scoreBlock scores the rows from lo to hi, into buf.ints if integers, else into buf.scores. A batch shares one buf, which
// then stays in the first-level cache.
func (st *store) scoreBlock(s, buf *scratch, lo, hi int) (integers bool) {
	n := hi - lo
	if s.useInt {
		ints := buf.ints[:n]
		vec.GemvInt8(ints, st.codes[lo*st.codeStride:hi*st.codeStride], s.codes)
		if st.codeNorms == nil {
			return true
		}
		norms := st.codeNorms[lo:hi]
		for i, v := range ints {
			buf.scores[i] = float32(v) - norms[i]*s.norm
		}
		return false
	}
	if m := st.rows[lo*st.stride : hi*st.stride]; st.metric == L2 {
		vec.NegL2Rows(buf.scores[:n], m, s.query)
	} else {
		vec.Gemv(buf.scores[:n], m, s.query)
	}
	return false
}

// blockAbove scores a block and returns the offsets of the rows nearer than the least kept so far, and above the bound.
func (st *store) blockAbove(s, buf *scratch, lo, hi int, bound floor) (above []uint32, integers bool) {
	n := hi - lo
	if st.scoreBlock(s, buf, lo, hi) {
		least := bound.ints
		if s.top.full() {
			least = max(least, intOf(s.top.leastKey()))
		}
		return buf.above[:vec.AboveInt32(buf.above, buf.ints[:n], least)], true
	}
	least := bound.floats
	if s.top.full() {
		least = max(least, scoreOf(s.top.leastKey()))
	}
	return buf.above[:vec.Above(buf.above, buf.scores[:n], least)], false
}

// scanEligible is scan for one query and few eligible ids: it touches only their vectors.
func (st *store) scanEligible(s *scratch, want int, filter Bitmap) error {
	s.top.reset(want)
	n := 0
	for w, word := range filter {
		for ; word != 0; word &= word - 1 {
			row := uint32(w<<6 + bits.TrailingZeros64(word))
			if st.rowOf != nil {
				row = st.rowOf[row]
			}
			s.block[n] = row
			if n++; n == blockRows {
				if err := st.pushBlock(s, n); err != nil {
					return err
				}
				n = 0
			}
		}
	}
	if err := st.pushBlock(s, n); err != nil {
		return err
	}
	s.takeTop()
	return nil
}

// pushBlock scores the first n rows of s.block and offers them to s.top.
func (st *store) pushBlock(s *scratch, n int) error {
	if !st.score(s, s.block[:n]) {
		return fmt.Errorf("ann: %w: row out of range", ErrCorrupt)
	}
	for i, row := range s.block[:n] {
		if !s.top.full() || s.keys[i] > s.top.leastKey() {
			s.top.push(entry(s.keys[i], row))
		}
	}
	return nil
}

// takeTop moves the rows of the heap to found.
func (s *scratch) takeTop() {
	s.found = s.found[:0]
	for _, e := range s.top.e {
		s.found = append(s.found, entryRow(e))
	}
}

// exact runs the exact search of a plan for one query.
func (st *store) exact(s *scratch, want int, plan Plan, filter Bitmap) error {
	if _, byGather := exactCost(plan.Eligible, st.n, s.useInt); filter != nil && byGather {
		return st.scanEligible(s, want, filter)
	}
	one := [1]*scratch{s}
	return st.scan(one[:], want, filter)
}
