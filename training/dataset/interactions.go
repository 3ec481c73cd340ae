// Package dataset turns a feature snapshot into what models are trained and measured on: vocabularies, a sparse matrix
// of watch strengths with the time of every entry, and its split by global time.
package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"marquee/features/online"
	"marquee/internal/sparse"
)

// Flags are what is known of an entry besides its strength.
type Flags uint8

const (
	// Abandoned: it was played, and every play was abandoned. Its strength is 0 unless liked or listed.
	Abandoned Flags = 1 << iota
	// Disliked: the last word on it was dislike or not_interested. Its strength is 0.
	Disliked
	// Liked: the last word on it was like.
	Liked
	// Listed: it is on the profile's list.
	Listed
)

// Interactions are the profiles' dealings with titles: one entry a pair that has any event, also where the strength is 0.
// They are immutable once made and safe for concurrent use.
type Interactions struct {
	// Snapshot is the id of the feature snapshot they were read from, empty when made from triplets.
	Snapshot string
	// AsOf is the instant they are of: microseconds since the Unix epoch.
	AsOf     int64
	Profiles *Vocabulary
	Titles   *Vocabulary
	// ByProfile is Profiles x Titles; its values are strengths, 1 for one full watch, 0 to 10.
	ByProfile *sparse.CSR
	// FirstAt, LastAt and Flags are parallel to ByProfile.Indices; times are microseconds since the Unix epoch.
	FirstAt []int64
	LastAt  []int64
	Flags   []Flags
}

// Len returns the number of entries.
func (x *Interactions) Len() int { return x.ByProfile.NNZ() }

// ByTitle returns the Titles x Profiles transpose of ByProfile: its columns, compressed. It is computed anew on each
// call, on all processors.
func (x *Interactions) ByTitle() *sparse.CSR { return transpose(x.ByProfile, runtime.GOMAXPROCS(0)) }

// Validate checks that the parts fit each other.
func (x *Interactions) Validate() error {
	if err := x.ByProfile.Validate(); err != nil {
		return err
	}
	if x.ByProfile.Rows != x.Profiles.Len() || x.ByProfile.Cols != x.Titles.Len() {
		return fmt.Errorf("matrix is %d x %d for %d profiles and %d titles", x.ByProfile.Rows, x.ByProfile.Cols, x.Profiles.Len(), x.Titles.Len())
	}
	n := x.Len()
	if len(x.FirstAt) != n || len(x.LastAt) != n || len(x.Flags) != n {
		return fmt.Errorf("%d entries with %d first times, %d last times and %d flags", n, len(x.FirstAt), len(x.LastAt), len(x.Flags))
	}
	for i := range n {
		if x.FirstAt[i] > x.LastAt[i] {
			return fmt.Errorf("entry %d is first at %d, after its last at %d", i, x.FirstAt[i], x.LastAt[i])
		}
	}
	return nil
}

// Triplet is one interaction, for making a data set by hand.
type Triplet struct {
	Profile, Title string
	Strength       float32
	At             int64 // microseconds since the Unix epoch
}

// FromTriplets makes interactions of triplets in any order. Those of one pair become one entry: strengths add up in order
// of time, and the times are the first and the last.
func FromTriplets(triplets []Triplet) (*Interactions, error) {
	triplets = slices.Clone(triplets)
	slices.SortStableFunc(triplets, func(a, b Triplet) int {
		return cmp.Or(cmp.Compare(a.Profile, b.Profile), cmp.Compare(a.Title, b.Title), cmp.Compare(a.At, b.At), cmp.Compare(a.Strength, b.Strength))
	})
	profiles, titles := make([]string, len(triplets)), make([]string, len(triplets))
	for i, t := range triplets {
		profiles[i], titles[i] = t.Profile, t.Title
	}
	x := &Interactions{Profiles: collectVocabulary(profiles), Titles: collectVocabulary(titles)}
	x.ByProfile = &sparse.CSR{Rows: x.Profiles.Len(), Cols: x.Titles.Len(), Indptr: make([]int64, x.Profiles.Len()+1)}
	for i, t := range triplets {
		x.AsOf = max(x.AsOf, t.At)
		if i > 0 && triplets[i-1].Profile == t.Profile && triplets[i-1].Title == t.Title {
			last := x.Len() - 1
			x.ByProfile.Values[last] += t.Strength
			x.LastAt[last] = t.At
			continue
		}
		row, okRow := x.Profiles.Row(t.Profile)
		col, okCol := x.Titles.Row(t.Title)
		if !okRow || !okCol {
			return nil, fmt.Errorf("triplet of %q and %q is not in the vocabularies made of it", t.Profile, t.Title)
		}
		x.ByProfile.Indices = append(x.ByProfile.Indices, col)
		x.ByProfile.Values = append(x.ByProfile.Values, t.Strength)
		x.ByProfile.Indptr[row+1]++
		x.FirstAt, x.LastAt, x.Flags = append(x.FirstAt, t.At), append(x.LastAt, t.At), append(x.Flags, 0)
	}
	for r := range x.ByProfile.Rows {
		x.ByProfile.Indptr[r+1] += x.ByProfile.Indptr[r]
	}
	return x, x.Validate()
}

// filter returns the entries keep says yes to, with the same vocabularies.
func (x *Interactions) filter(keep func(entry int) bool) *Interactions {
	out := &Interactions{
		Snapshot: x.Snapshot, AsOf: x.AsOf, Profiles: x.Profiles, Titles: x.Titles,
		ByProfile: &sparse.CSR{Rows: x.ByProfile.Rows, Cols: x.ByProfile.Cols, Indptr: make([]int64, x.ByProfile.Rows+1)},
	}
	m := out.ByProfile
	for r := range m.Rows {
		for i := int(x.ByProfile.Indptr[r]); i < int(x.ByProfile.Indptr[r+1]); i++ {
			if keep(i) {
				m.Indices = append(m.Indices, x.ByProfile.Indices[i])
				m.Values = append(m.Values, x.ByProfile.Values[i])
				out.FirstAt = append(out.FirstAt, x.FirstAt[i])
				out.LastAt = append(out.LastAt, x.LastAt[i])
				out.Flags = append(out.Flags, x.Flags[i])
			}
		}
		m.Indptr[r+1] = int64(len(m.Indices))
	}
	return out
}

// reindex returns the same entries under larger vocabularies, which must hold all ids of x. It shares memory with x where
// it can.
func (x *Interactions) reindex(profiles, titles *Vocabulary) (*Interactions, error) {
	rows, errRows := x.Profiles.rowsIn(profiles)
	cols, errCols := x.Titles.rowsIn(titles)
	if err := errors.Join(errRows, errCols); err != nil {
		return nil, err
	}
	out := *x
	out.Profiles, out.Titles = profiles, titles
	m := &sparse.CSR{
		Rows: profiles.Len(), Cols: titles.Len(), Indptr: make([]int64, profiles.Len()+1),
		Indices: make([]uint32, x.Len()), Values: x.ByProfile.Values,
	}
	for i, c := range x.ByProfile.Indices {
		m.Indices[i] = cols[c]
	}
	for r, to := range rows {
		m.Indptr[to+1] = int64(x.ByProfile.RowLen(r))
	}
	for r := range m.Rows {
		m.Indptr[r+1] += m.Indptr[r]
	}
	out.ByProfile = m
	return &out, nil
}

// Popularity returns, for every title row, how many profiles have any event with it.
func (x *Interactions) Popularity() []float32 {
	out := make([]float32, x.Titles.Len())
	for _, c := range x.ByProfile.Indices {
		out[c]++
	}
	return out
}

// DecayedPopularity is Popularity with every profile's last event weighed by 2^(-age/halfLife) at the instant asOf,
// microseconds since the Unix epoch. It does not depend on the order of entries.
func (x *Interactions) DecayedPopularity(asOf int64, halfLife time.Duration) []float32 {
	sums := make([]int64, x.Titles.Len())
	for i, c := range x.ByProfile.Indices {
		sums[c] += online.Decay(asOf-x.LastAt[i], halfLife)
	}
	out := make([]float32, len(sums))
	for c, s := range sums {
		out[c] = float32(float64(s) / 1e6)
	}
	return out
}
