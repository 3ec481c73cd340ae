package dataset

import (
	"fmt"
	"math"
	"slices"

	"marquee/internal/sparse"
)

// Split is a data set cut at one instant for everyone: what had happened by then trains, what came later tests.
type Split struct {
	// CutAt is the last instant that trains: microseconds since the Unix epoch. Events at it are all on the train side.
	CutAt int64
	// Until is the last instant of what tests: microseconds since the Unix epoch.
	Until int64
	// Train has the vocabularies of the whole, so titles first met after the cut are columns without entries.
	Train *Interactions
	// Test holds value 1 for every pair first met after the cut, of any strength (relevance is any event), for the
	// profiles measured; other rows are empty. No pair of it is in Train: what was seen is masked by construction.
	Test *sparse.CSR
	// Strength is what the whole says of each of them, parallel to Test's entries.
	Strength []float32
	// Profiles are the rows measured, ascending: enough train entries and at least one test entry.
	Profiles []uint32
}

// MinTrain is how many train entries a profile needs to be measured by protocol gt-90.
const MinTrain = 5

// SplitGlobalTime cuts at the first event of entry number ceil(q*n) of n in order of time (protocol gt-90: q = 0.9,
// minTrain = MinTrain). An entry's first event decides its side, and one entry counts once, however often the title was
// played again. A train entry's strength therefore includes what was watched after the cut, which SplitAt avoids; where
// every pair has one event, as in MovieLens, the two are the same.
func SplitGlobalTime(x *Interactions, q float64, minTrain int) (*Split, error) {
	if !(q > 0 && q < 1) {
		return nil, fmt.Errorf("share of entries before the cut must be between 0 and 1, is %v", q)
	}
	if x.Len() == 0 {
		return nil, fmt.Errorf("there are no interactions to split")
	}
	times := slices.Clone(x.FirstAt)
	slices.Sort(times)
	at := int(min(max(math.Ceil(q*float64(len(times))), 1), float64(len(times)))) - 1
	cut := times[at]
	train := x.filter(func(i int) bool { return x.FirstAt[i] <= cut })
	train.AsOf = cut
	return newSplit(x, train, cut, minTrain), nil
}

// SplitAt makes a split of two snapshots: train was built as of the cut, so that nothing in it knows of later events; whole
// was built later, and its pairs first met after the cut are the test. The train set's vocabularies are replaced by the
// whole's. It fails when train knows a profile or title that whole does not: then they were not built from one log.
func SplitAt(whole, train *Interactions, minTrain int) (*Split, error) {
	if train.AsOf > whole.AsOf {
		return nil, fmt.Errorf("train is as of %d, after the whole's %d", train.AsOf, whole.AsOf)
	}
	wide, err := train.reindex(whole.Profiles, whole.Titles)
	if err != nil {
		return nil, fmt.Errorf("train (snapshot %s) and whole (%s) are not of one log: %w", train.Snapshot, whole.Snapshot, err)
	}
	return newSplit(whole, wide, train.AsOf, minTrain), nil
}

func newSplit(whole, train *Interactions, cut int64, minTrain int) *Split {
	s := &Split{CutAt: cut, Until: whole.AsOf, Train: train}
	m := whole.ByProfile
	s.Test = &sparse.CSR{Rows: m.Rows, Cols: m.Cols, Indptr: make([]int64, m.Rows+1)}
	for r := range m.Rows {
		before := len(s.Test.Indices)
		for i := m.Indptr[r]; train.ByProfile.RowLen(r) >= minTrain && i < m.Indptr[r+1]; i++ {
			if whole.FirstAt[i] > cut {
				s.Test.Indices = append(s.Test.Indices, m.Indices[i])
				s.Test.Values = append(s.Test.Values, 1)
				s.Strength = append(s.Strength, m.Values[i])
			}
		}
		if len(s.Test.Indices) > before {
			s.Profiles = append(s.Profiles, uint32(r))
		}
		s.Test.Indptr[r+1] = int64(len(s.Test.Indices))
	}
	return s
}
