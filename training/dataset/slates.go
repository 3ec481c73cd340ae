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
	Profiles, Titles *Vocabulary
	// Profile, Line and At are a slate each: whose it was, the row of the answer, and when it was seen, in microseconds since the Unix
	// epoch.
	Profile []uint32
	Line    []uint32
	At      []int64
	// Offsets has one entry more: slate s has the impressions Offsets[s] to Offsets[s+1].
	Offsets []int
	// Title, Rank, Clicked and Strength are an impression each: the title, its 0-based rank, whether it was clicked or played, and
	// the strength of the play, -1 where there was none.
	Title    []uint32
	Rank     []uint32
	Clicked  []bool
	Strength []float32
}

// maxRank is the rank beyond which all ranks are the same.
const maxRank = 9999

// Len is how many slates there are.
func (s *Slates) Len() int { return len(s.Profile) }

// LoadSlates reads the slates of a snapshot. Profiles and titles that the vocabularies do not have are left out: nothing is known of
// them, and the ranks of the others stay what they were. A snapshot without the set is an error that wraps snapshot.ErrNotFound.
func LoadSlates(ctx context.Context, l *lake.Lake, id string, profiles, titles *Vocabulary) (*Slates, error) {
	set, err := snapshot.Open(ctx, l, SlateSet, id)
	if err != nil {
		return nil, err
	}
	out := &Slates{Profiles: profiles, Titles: titles, Offsets: []int{0}}
	for i := range set.Parts {
		if err := out.part(ctx, set, i); err != nil {
			return nil, fmt.Errorf("load slates of snapshot %s: %w", set.Snapshot, err)
		}
	}
	return out, nil
}

func (s *Slates) part(ctx context.Context, set *snapshot.Set, i int) error {
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
		profile, ok := s.Profiles.Row(ids.At(r))
		if !ok {
			continue
		}
		list := shown.At(r)
		if len(ranks.At(r)) != len(list) || len(clicked.At(r)) != len(list) || len(strengths.At(r)) != len(list) {
			return fmt.Errorf("%w: slate %d shows %d titles at %d ranks with %d clicks and %d strengths", snapshot.ErrCorrupt, r, len(list),
				len(ranks.At(r)), len(clicked.At(r)), len(strengths.At(r)))
		}
		for n, id := range list {
			title, ok := s.Titles.Row(id)
			if !ok {
				continue
			}
			strength := float32(-1)
			if v := strengths.At(r)[n]; v >= 0 {
				strength = float32(v) / 10000
			}
			s.Title, s.Rank = append(s.Title, title), append(s.Rank, uint32(min(max(0, ranks.At(r)[n]), maxRank)))
			s.Clicked, s.Strength = append(s.Clicked, clicked.At(r)[n] != 0), append(s.Strength, strength)
		}
		s.Profile, s.Line, s.At, s.Offsets = append(s.Profile, profile), append(s.Line, lines[r]), append(s.At, at[r]), append(s.Offsets, len(s.Title))
	}
	return nil
}

// Clicks is how many titles were clicked or played where they were shown.
func (s *Slates) Clicks() (n int) {
	for _, c := range s.Clicked {
		if c {
			n++
		}
	}
	return n
}

// Under are the same slates under other vocabularies; what those do not have is left out.
func (s *Slates) Under(profiles, titles *Vocabulary) *Slates {
	rows, cols := s.Profiles.among(profiles), s.Titles.among(titles)
	out := &Slates{Profiles: profiles, Titles: titles, Offsets: []int{0}}
	for n, p := range s.Profile {
		if rows[p] < 0 {
			continue
		}
		for i := s.Offsets[n]; i < s.Offsets[n+1]; i++ {
			if to := cols[s.Title[i]]; to >= 0 {
				out.Title, out.Rank = append(out.Title, uint32(to)), append(out.Rank, s.Rank[i])
				out.Clicked, out.Strength = append(out.Clicked, s.Clicked[i]), append(out.Strength, s.Strength[i])
			}
		}
		out.Profile, out.Line, out.At = append(out.Profile, uint32(rows[p])), append(out.Line, s.Line[n]), append(out.At, s.At[n])
		out.Offsets = append(out.Offsets, len(out.Title))
	}
	return out
}

// responsePrior is how many expected clicks' worth of belief there is that a title is clicked as often as any other.
const responsePrior = 5

// Response is, by title, how often what was shown by the instant until, in microseconds since the Unix epoch, was clicked, over
// how often anything is at the ranks it stood at: 1 for a title like all others, and near 1 for one that was hardly shown (clicks over
// expected clicks: Zhang and Jones, "Comparing Click Logs and Editorial Labels for Training Query Rewriting", 2007). Nil where nothing
// had been shown.
func (s *Slates) Response(until int64) []float32 {
	var views, clicks []float64 // by rank
	each := func(f func(i int)) {
		for n, at := range s.At {
			if at <= until {
				for i := s.Offsets[n]; i < s.Offsets[n+1]; i++ {
					f(i)
				}
			}
		}
	}
	each(func(i int) {
		for int(s.Rank[i]) >= len(views) {
			views, clicks = append(views, 0), append(clicks, 0)
		}
		views[s.Rank[i]]++
		if s.Clicked[i] {
			clicks[s.Rank[i]]++
		}
	})
	if len(views) == 0 {
		return nil
	}
	expected, had := make([]float64, s.Titles.Len()), make([]float64, s.Titles.Len())
	each(func(i int) {
		expected[s.Title[i]] += clicks[s.Rank[i]] / views[s.Rank[i]]
		if s.Clicked[i] {
			had[s.Title[i]]++
		}
	})
	out := make([]float32, len(had))
	for t := range out {
		out[t] = float32((had[t] + responsePrior) / (expected[t] + responsePrior))
	}
	return out
}
