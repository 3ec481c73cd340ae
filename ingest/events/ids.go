package events

import "encoding/binary"

// idSet is a set of event ids: an open-addressing table of 16-byte keys, far smaller than a map at tens of millions of
// ids. The all-zero id marks a free slot; no UUID of version 7 is zero.
type idSet struct {
	slots []([16]byte)
	mask  uint64
	used  int
}

// newIDSet makes a set with room for n ids at a load of at most 3/4.
func newIDSet(n int64) *idSet {
	size := uint64(16)
	for size*3/4 < uint64(n) {
		size *= 2
	}
	return &idSet{slots: make([][16]byte, size), mask: size - 1}
}

// add puts an id in and reports whether it was new. More ids than the set was made for make it grow.
func (s *idSet) add(id [16]byte) bool {
	at := hashID(id) & s.mask
	for s.slots[at] != ([16]byte{}) {
		if s.slots[at] == id {
			return false
		}
		at = (at + 1) & s.mask
	}
	s.slots[at] = id
	s.used++
	if uint64(s.used)*4 > s.mask*3 {
		s.double()
	}
	return true
}

func (s *idSet) double() {
	old := s.slots
	*s = *newIDSet(int64(len(old)))
	for _, id := range old {
		if id != ([16]byte{}) {
			s.add(id)
		}
	}
}

// hashID mixes an id's halves: the time bits come first in a UUID of version 7, the random ones last.
func hashID(id [16]byte) uint64 {
	h := binary.LittleEndian.Uint64(id[8:]) ^ binary.LittleEndian.Uint64(id[:8])*0x9e3779b97f4a7c15
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}
