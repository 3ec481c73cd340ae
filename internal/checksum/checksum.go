// Package checksum sums up collections whose order means nothing: the same rows, in whatever order, files or engines they
// lie, give the same checksum. It is the additive hash of Bellare and Micciancio (AdHash, EUROCRYPT 1997) over SHA-256: good
// against faults, not against somebody who chooses the rows to deceive.
package checksum

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
)

// Sum is the checksum of what was added. The zero value is that of nothing.
type Sum struct {
	limbs [4]uint64
	n     int64
}

// Add adds one item. Adding it twice is another sum than adding it once.
func (s *Sum) Add(item []byte) {
	digest := sha256.Sum256(item)
	var carry uint64
	for i := range s.limbs {
		s.limbs[i], carry = bits.Add64(s.limbs[i], binary.LittleEndian.Uint64(digest[8*i:]), carry)
	}
	s.n++
}

// Count is how many items were added.
func (s *Sum) Count() int64 { return s.n }

// String is the checksum in hexadecimal.
func (s *Sum) String() string {
	var out [32]byte
	for i, limb := range s.limbs {
		binary.LittleEndian.PutUint64(out[8*i:], limb)
	}
	return hex.EncodeToString(out[:])
}
