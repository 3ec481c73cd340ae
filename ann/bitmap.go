package ann

import (
	"fmt"
	"math/bits"
)

// Bitmap is a set of ids: bit i%64 of word i/64 says whether id i is in it. A bitmap for n ids has (n+63)/64 words.
type Bitmap []uint64

// NewBitmap returns an empty set for n ids.
func NewBitmap(n int) Bitmap { return make(Bitmap, bitmapWords(n)) }

func bitmapWords(n int) int { return (n + 63) / 64 }

// Set adds id, which must be one the bitmap has room for.
func (b Bitmap) Set(id uint32) { b[id>>6] |= 1 << (id & 63) }

// Clear takes id out; it must be one the bitmap has room for.
func (b Bitmap) Clear(id uint32) { b[id>>6] &^= 1 << (id & 63) }

// Has reports whether id is in the set. An id the bitmap has no room for is not.
func (b Bitmap) Has(id uint32) bool {
	w := int(id >> 6)
	return w < len(b) && b[w]&(1<<(id&63)) != 0
}

// Count returns the number of ids in the set.
func (b Bitmap) Count() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// Fill makes b the set of all ids below n.
func (b Bitmap) Fill(n int) {
	clear(b)
	for i := range n / 64 {
		b[i] = ^uint64(0)
	}
	if n%64 != 0 {
		b[n/64] = 1<<(n%64) - 1
	}
}

// And keeps in b what is in c as well. Both must have one length, here and in the methods below.
func (b Bitmap) And(c Bitmap) {
	for i, w := range c[:len(b)] {
		b[i] &= w
	}
}

// AndNot takes out of b what is in c.
func (b Bitmap) AndNot(c Bitmap) {
	for i, w := range c[:len(b)] {
		b[i] &^= w
	}
}

// Or adds to b what is in c.
func (b Bitmap) Or(c Bitmap) {
	for i, w := range c[:len(b)] {
		b[i] |= w
	}
}

// checkFilter returns the number of eligible vectors out of n, or what is wrong with the filter.
func checkFilter(b Bitmap, n int) (int, error) {
	if b == nil {
		return n, nil
	}
	if len(b) != bitmapWords(n) {
		return 0, fmt.Errorf("ann: filter of %d words for an index of %d vectors, which takes %d", len(b), n, bitmapWords(n))
	}
	if n%64 != 0 && b[len(b)-1]>>(n%64) != 0 {
		return 0, fmt.Errorf("ann: filter holds an id of %d or more, the index has %d vectors", n, n)
	}
	return b.Count(), nil
}
