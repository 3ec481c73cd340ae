package events

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"marquee/internal/lake"
)

// ErrOvertaken is what Replace's errors wrap when the lake was rewritten since the set was opened.
var ErrOvertaken = errors.New("the lake's events were rewritten by another process meanwhile")

// Replacement says which manifests are to be replaced by which files.
type Replacement struct {
	// Sources are some of the set's, all of whose rows that are to stay are in the files.
	Sources []*Source
	// Files were written under keys of NewFiles. None is right when no row stays.
	Files []DayFile
	// Dropped counts the rows of each type that the sources have and the files have not.
	Dropped map[string]int64
	At      time.Time
	// Check is called last before the manifest is written; its error ends it. Use it to see that a lease is still held.
	Check func(context.Context) error
}

// NewFiles gives the keys of the files of one attempt at a replacement: the nth file of a day (since the Unix epoch, UTC).
// No other attempt, in whatever process, has the same.
func (s *Set) NewFiles() func(day int64, n int) string {
	name := make([]byte, 8)
	_, _ = rand.Read(name) // never fails
	attempt, number := hex.EncodeToString(name), s.next
	return func(day int64, n int) string { return compactedFileKey(day, number, attempt, n) }
}

// Replace puts files in the place of some of the set's manifests, in one step: whoever opens the lake sees what was before or
// what is now. The sources' files are left as they are, for readers of before; see Replaced. Only what is in the warehouse too
// and will not be written again may be replaced. The set still shows what was before.
//
// Whoever replaces holds the lease of Maintain. If two do nevertheless, because one was paused for longer than its lease
// lasted, the second fails with ErrOvertaken, and what it wrote does not count.
func (s *Set) Replace(ctx context.Context, r Replacement) (*Set, error) {
	m := s.replacement(r)
	content, err := m.Encode()
	if err != nil {
		return nil, err
	}
	if err := m.check(m.Key()); err != nil {
		return nil, fmt.Errorf("replace events in the lake: %w", err)
	}
	if err := r.Check(ctx); err != nil {
		return nil, err
	}
	err = s.lake.WriteNew(ctx, m.Key(), content)
	if errors.Is(err, lake.ErrExists) {
		err = errors.Join(ErrOvertaken, err)
	}
	if err != nil {
		return nil, err
	}
	// The number may have been free because others took it, and later ones, and deleted it long ago.
	newest, err := NewestCompacted(ctx, s.lake)
	if err != nil {
		return nil, err
	}
	if newest.Number > m.Number && !slices.Contains(newest.Live, m.Number) {
		return nil, fmt.Errorf("manifest %s: %w", m.Key(), ErrOvertaken)
	}
	return s.after(m, r.Sources), nil
}

// after is the set once a manifest has taken the places of others.
func (s *Set) after(m *Compacted, gone []*Source) *Set {
	next := &Set{lake: s.lake, next: m.Number + 1, maxIDs: s.maxIDs, verified: s.verified, replaced: slices.Clone(s.replaced)}
	isGone := make(map[string]bool)
	for _, source := range gone {
		isGone[source.Key] = true
		next.replaced = append(next.replaced, source.Key)
	}
	for _, source := range append(s.sources, m.source()) {
		if isGone[source.Key] {
			continue
		}
		if source.Number > 0 {
			next.compacted = append(next.compacted, source.Covers...)
		}
		next.sources = append(next.sources, source)
	}
	next.ranges = slices.DeleteFunc(slices.Clone(s.ranges), func(r *Manifest) bool { return isGone[r.Key()] })
	slices.SortFunc(next.compacted, cmpSpan)
	next.index()
	return next
}

// replacement is the manifest of a replacement.
func (s *Set) replacement(r Replacement) *Compacted {
	m := &Compacted{
		Version: CompactedVersion, Number: s.next, At: r.At.UnixMicro(), Live: []int64{}, Covers: []Span{},
		Dropped: maps.Clone(r.Dropped), Files: append([]DayFile{}, r.Files...), Through: make(map[int32]int64),
	}
	for _, source := range s.sources {
		replaced := slices.Contains(r.Sources, source)
		if !replaced && source.Number == 0 {
			continue
		}
		for _, span := range source.Covers {
			m.Through[span.Partition] = max(m.Through[span.Partition], span.Last)
		}
		if !replaced {
			m.Live = append(m.Live, source.Number)
			continue
		}
		m.Topic = source.Topic
		m.Covers = append(m.Covers, source.Covers...)
		m.Dead += source.Dead
		for kind, n := range source.Dropped {
			if m.Dropped == nil {
				m.Dropped = make(map[string]int64)
			}
			m.Dropped[kind] += n
		}
	}
	slices.Sort(m.Live)
	m.Covers = JoinSpans(m.Covers)
	return m
}
