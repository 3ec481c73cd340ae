package ann

import "math"

// Scores are compared as integers: key order is score order, and a key leaves room beside it in a uint64 for a row.

// keyOf maps a float32 to a uint32 of the same order, both zeros to one.
func keyOf(f float32) uint32 {
	b := math.Float32bits(f + 0)
	return b ^ (uint32(int32(b)>>31) | 1<<31)
}

// scoreOf undoes keyOf.
func scoreOf(key uint32) float32 {
	if key&(1<<31) != 0 {
		return math.Float32frombits(key ^ 1<<31)
	}
	return math.Float32frombits(^key)
}

// keyOfInt maps an int32 to a uint32 of the same order.
func keyOfInt(i int32) uint32 { return uint32(i) ^ 1<<31 }

// intOf undoes keyOfInt.
func intOf(key uint32) int32 { return int32(key ^ 1<<31) }

// topK keeps the k largest of the entries pushed: a binary heap with the least on top. An entry is a key above the
// complement of a row, so that of equal keys the lower row is the larger entry.
type topK struct {
	e []uint64
	k int
}

func entry(key, row uint32) uint64 { return uint64(key)<<32 | uint64(^row) }

func entryRow(e uint64) uint32 { return ^uint32(e) }

func (t *topK) reset(k int) {
	t.k = k
	if cap(t.e) < k {
		t.e = make([]uint64, 0, k)
	}
	t.e = t.e[:0]
}

func (t *topK) full() bool { return len(t.e) == t.k }

// leastKey is the key an entry must beat, once the heap is full.
func (t *topK) leastKey() uint32 { return uint32(t.e[0] >> 32) }

func (t *topK) push(e uint64) {
	if len(t.e) < t.k {
		t.e = append(t.e, e)
		i := len(t.e) - 1
		for i > 0 && t.e[(i-1)/2] > e {
			t.e[i] = t.e[(i-1)/2]
			i = (i - 1) / 2
		}
		t.e[i] = e
		return
	}
	if e <= t.e[0] {
		return
	}
	i, n := 0, len(t.e)
	for {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && t.e[c+1] < t.e[c] {
			c++
		}
		if t.e[c] >= e {
			break
		}
		t.e[i] = t.e[c]
		i = c
	}
	t.e[i] = e
}

// maxHeap yields entries largest first: the frontier of a filtered walk, which has no bound to keep it sorted within.
type maxHeap []uint64

func (h *maxHeap) push(e uint64) {
	*h = append(*h, e)
	s := *h
	i := len(s) - 1
	for i > 0 && s[(i-1)/2] < e {
		s[i] = s[(i-1)/2]
		i = (i - 1) / 2
	}
	s[i] = e
}

// pop takes the largest entry out; the heap must not be empty.
func (h *maxHeap) pop() uint64 {
	s := *h
	top, e := s[0], s[len(s)-1]
	s = s[:len(s)-1]
	*h = s
	i, n := 0, len(s)
	for n > 0 {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && s[c+1] > s[c] {
			c++
		}
		if s[c] <= e {
			break
		}
		s[i] = s[c]
		i = c
	}
	if n > 0 {
		s[i] = e
	}
	return top
}
