package dataset

import (
	"context"
	"errors"
	"fmt"

	"marquee/features/snapshot"
	"marquee/internal/lake"
)

// SlateSet is the feature set of what was shown.
const SlateSet = "slates"

// Slates are what profiles were shown and what they made of it, under the vocabularies of interactions. They are immutable once
// made and safe for concurrent use.
type Slates struct {
	// Profile, Line and At are a slate each: whose it was, the row of the answer, and when it was seen, in microseconds since the Unix
	// epoch.
	Profile []uint32
	Line    []uint32
	At      []int64
	// Offsets has one entry more: slate s has the impressions Offsets[s] to Offsets[s+1].
	Offsets []int
	// Titles, Ranks, Clicked and Strength are an impression each: the title, its 0-based rank, whether it was clicked or played, and
	// the strength of the play, -1 where there was none.
	Titles   []uint32
	Ranks    []uint32
	Clicked  []bool
	Strength []float32
}

// Len is how many slates there are.
func (s *Slates) Len() int { return len(s.Profile) }

// LoadSlates reads the slates of a snapshot. Profiles and titles that the vocabularies do not have are left out: nothing is known of
// them, and the ranks of the others stay what they were. A snapshot without the set is an error that wraps snapshot.ErrNotFound.
func LoadSlates(ctx context.Context, l *lake.Lake, id string, profiles, titles *Vocabulary) (*Slates, error) {
	set, err := snapshot.Open(ctx, l, SlateSet, id)
	if err != nil {
		return nil, err
	}
	out := &Slates{Offsets: []int{0}}
	for i := range set.Parts {
		if err := out.part(ctx, set, i, profiles, titles); err != nil {
			return nil, fmt.Errorf("load slates of snapshot %s: %w", set.Snapshot, err)
		}
	}
	return out, nil
}

func (s *Slates) part(ctx context.Context, set *snapshot.Set, i int, profiles, titles *Vocabulary) error {
	c, err := set.ReadPart(ctx, i, "profile_id", "row", "at", "title_ids", "ranks", "clicked", "strengths")
	if err != nil {
		return err
	}
	ids, err1 := c.Strings("profile_id")
	lines, err2 := c.Uint32s("row")
	at, err3 := c.Int64s("at")
	shown, err4 := c.StringLists("title_ids")
	ranks, err5 := c.Int32Lists("ranks")
	clicked, err6 := c.Int32Lists("clicked")
	strengths, err7 := c.Int32Lists("strengths")
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		return err
	}
	for r := range c.Rows {
		profile, ok := profiles.Row(ids.At(r))
		if !ok {
			continue
		}
		list := shown.At(r)
		if len(ranks.At(r)) != len(list) || len(clicked.At(r)) != len(list) || len(strengths.At(r)) != len(list) {
			return fmt.Errorf("%w: slate %d shows %d titles at %d ranks with %d clicks and %d strengths", snapshot.ErrCorrupt, r, len(list),
				len(ranks.At(r)), len(clicked.At(r)), len(strengths.At(r)))
		}
		for n, id := range list {
			title, ok := titles.Row(id)
			if !ok {
				continue
			}
			strength := float32(-1)
			if v := strengths.At(r)[n]; v >= 0 {
				strength = float32(v) / 10000
			}
			s.Titles, s.Ranks = append(s.Titles, title), append(s.Ranks, uint32(max(0, ranks.At(r)[n])))
			s.Clicked, s.Strength = append(s.Clicked, clicked.At(r)[n] != 0), append(s.Strength, strength)
		}
		s.Profile, s.Line, s.At, s.Offsets = append(s.Profile, profile), append(s.Line, lines[r]), append(s.At, at[r]), append(s.Offsets, len(s.Titles))
	}
	return nil
}
