package dataset

import (
	"fmt"
	"slices"
)

// Vocabulary numbers string ids: row r stands for ID(r). Rows are in bytewise order of the ids, so the same ids always get
// the same rows. A Vocabulary is immutable and safe for concurrent use.
type Vocabulary struct {
	ids []string
}

// NewVocabulary returns the vocabulary of ids in strictly ascending order; it keeps the slice.
func NewVocabulary(ids []string) (*Vocabulary, error) {
	for i := 1; i < len(ids); i++ {
		if ids[i-1] >= ids[i] {
			return nil, fmt.Errorf("vocabulary has %q after %q: ids must be strictly ascending", ids[i], ids[i-1])
		}
	}
	return &Vocabulary{ids: ids}, nil
}

// collectVocabulary returns the vocabulary of ids in any order, repeated or not.
func collectVocabulary(ids []string) *Vocabulary {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return &Vocabulary{ids: slices.Clip(slices.Compact(ids))}
}

// Len returns how many ids there are.
func (v *Vocabulary) Len() int { return len(v.ids) }

// ID returns the id of a row, which must be below Len.
func (v *Vocabulary) ID(row uint32) string { return v.ids[row] }

// IDs returns all ids in row order, sharing memory.
func (v *Vocabulary) IDs() []string { return v.ids }

// Row returns the row of an id, in logarithmic time.
func (v *Vocabulary) Row(id string) (uint32, bool) {
	i, ok := slices.BinarySearch(v.ids, id)
	return uint32(i), ok
}

// rowsIn returns, for every row of v, its row in to. Every id of v must be in to. Both are sorted, so the result ascends.
func (v *Vocabulary) rowsIn(to *Vocabulary) ([]uint32, error) {
	out := make([]uint32, len(v.ids))
	at := 0
	for i, id := range v.ids {
		for at < len(to.ids) && to.ids[at] < id {
			at++
		}
		if at == len(to.ids) || to.ids[at] != id {
			return nil, fmt.Errorf("%q is not in the other vocabulary", id)
		}
		out[i] = uint32(at)
	}
	return out, nil
}

// among returns, for every row of v, its row in to, -1 where to has no such id.
func (v *Vocabulary) among(to *Vocabulary) []int {
	out := make([]int, len(v.ids))
	at := 0
	for i, id := range v.ids {
		for at < len(to.ids) && to.ids[at] < id {
			at++
		}
		out[i] = -1
		if at < len(to.ids) && to.ids[at] == id {
			out[i] = at
		}
	}
	return out
}
