package ranker

import (
	"time"

	"marquee/training/dataset"
	"marquee/training/model/content"
	"marquee/training/model/ranking"
)

// Titles are what is known of x's titles as of a moment, in microseconds since the Unix epoch; described are the same titles, in
// the same order, as the catalogue has them. Decayed popularity halves in halfLife.
func Titles(x *dataset.Interactions, described []content.Title, at int64, halfLife time.Duration) ranking.Titles {
	out := ranking.Titles{
		Popularity: x.Popularity(), Decayed: x.DecayedPopularity(at, halfLife), Profiles: x.Profiles.Len(),
		Year: make([]int, len(described)), FirstAt: FirstAt(x), Genres: make([][]uint16, len(described)),
	}
	number := map[string]uint16{}
	for row, t := range described {
		out.Year[row] = t.Year
		for _, g := range t.Genres {
			if _, known := number[g]; !known {
				number[g] = uint16(len(number))
			}
			out.Genres[row] = append(out.Genres[row], number[g])
		}
	}
	out.GenreCount = len(number)
	return out
}

// NewMoment is what was known at a split's cut: its titles, and the sources that offer some of them. shown may be nil.
func NewMoment(s *dataset.Split, titles ranking.Titles, sources []Source, shown *dataset.Slates) (*Moment, error) {
	if shown != nil {
		titles.Response = shown.Under(s.Train.Profiles, s.Train.Titles).Response(s.CutAt)
	}
	m := &Moment{Now: s.CutAt, Seen: s.Train.ByProfile, At: s.Train.LastAt, Strength: s.Train.ByProfile.Values, Sources: sources}
	var err error
	m.Table, err = ranking.NewTable(titles, len(sources))
	return m, err
}

// FirstAt is when anybody first met each title, in microseconds since the Unix epoch; 0 for nobody.
func FirstAt(x *dataset.Interactions) []int64 {
	out := make([]int64, x.Titles.Len())
	for i, t := range x.ByProfile.Indices {
		if out[t] == 0 || x.FirstAt[i] < out[t] {
			out[t] = x.FirstAt[i]
		}
	}
	return out
}

// Described are the titles of a vocabulary as a catalogue has them; one that it does not have is known by its id alone.
func Described(titles *dataset.Vocabulary, catalogue []content.Title) []content.Title {
	out := make([]content.Title, titles.Len())
	for row := range out {
		out[row] = content.Title{ID: titles.ID(uint32(row)), Maturity: -1}
	}
	for _, t := range catalogue {
		if row, ok := titles.Row(t.ID); ok {
			out[row] = t
		}
	}
	return out
}

// Outcomes are what the judged profiles did after a split's cut.
func Outcomes(s *dataset.Split) []Outcome {
	var out []Outcome
	for _, p := range s.Profiles {
		lo, hi := s.Test.Indptr[p], s.Test.Indptr[p+1]
		finished := make([]float32, hi-lo)
		for i, v := range s.Strength[lo:hi] {
			finished[i] = min(1, max(0, v))
		}
		out = append(out, Outcome{Profile: p, ID: s.Train.Profiles.ID(p), Played: s.Test.Indices[lo:hi], Finished: finished})
	}
	return out
}
