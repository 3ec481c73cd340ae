package ranker

import (
	"context"
	"fmt"
	"slices"

	"marquee/training/dataset"
	"marquee/training/gbdt"
)

// Slate is what a profile was shown of one answer after a moment, and what it made of it.
type Slate struct {
	Profile uint32 // row of Seen
	// ID decides whether the profile teaches or is kept apart, the same in every episode.
	ID string
	// Row is that of the answer, 0-based.
	Row uint32
	// Titles, Ranks, Clicked and Finished are parallel: a title, its 0-based rank, whether it was clicked or played, and how much of
	// a whole watch it then was, 0 to 1, below 0 where it was not played.
	Titles   []uint32
	Ranks    []uint32
	Clicked  []bool
	Finished []float32
}

// Slates are those that were seen later than after, by until: microseconds since the Unix epoch.
func Slates(s *dataset.Slates, after, until int64) []Slate {
	var out []Slate
	for n, at := range s.At {
		if at <= after || at > until {
			continue
		}
		lo, hi := s.Offsets[n], s.Offsets[n+1]
		finished := make([]float32, hi-lo)
		for i, v := range s.Strength[lo:hi] {
			finished[i] = min(1, v)
		}
		p := s.Profile[n]
		out = append(out, Slate{Profile: p, ID: s.Profiles.ID(p), Row: s.Line[n], Titles: s.Title[lo:hi], Ranks: s.Rank[lo:hi], Clicked: s.Clicked[lo:hi], Finished: finished})
	}
	return out
}

// view is a profile with the slates it saw.
type view struct {
	id      string
	profile uint32
	slates  []Slate
}

// views are the slates by profile, in the order of their first ones.
func views(slates []Slate) []view {
	var out []view
	at := map[uint32]int{}
	for _, s := range slates {
		i, known := at[s.Profile]
		if !known {
			i, at[s.Profile] = len(out), len(out)
			out = append(out, view{id: s.ID, profile: s.Profile})
		}
		out[i].slates = append(out[i].slates, s)
	}
	return out
}

// shown makes the examples of an episode of which is known what was shown: what of it the profile had not met before, each title
// described as one among the candidates that the sources would have offered.
func (e *Episode) shown(ctx context.Context, cfg Config) (*Examples, error) {
	drawn := draw(views(e.Slates), func(v view) string { return v.id }, cfg)
	sides := make([]examples, len(drawn))
	if err := e.Moment.each(ctx, len(drawn), cfg.Candidates, func(d *desk, i int) error {
		v := drawn[i]
		var titles []uint32
		for _, s := range v.slates {
			if n := len(s.Titles); len(s.Ranks) != n || len(s.Clicked) != n || len(s.Finished) != n {
				return fmt.Errorf("%w: profile %q was shown %d titles at %d ranks and clicked %d and finished %d", ErrData, v.id, n, len(s.Ranks), len(s.Clicked), len(s.Finished))
			}
			titles = append(titles, s.Titles...)
		}
		o, err := d.offer(v.profile, titles...)
		if err != nil {
			return err
		}
		for _, s := range v.slates {
			sides[i].addSlate(o, s, e.Moment.Table.Width())
		}
		return nil
	}); err != nil {
		return nil, err
	}
	x := &Examples{shown: true}
	for i := range sides {
		x.side(drawn[i].id, cfg).append(sides[i])
	}
	return x, nil
}

// addSlate adds what of a slate was offered: o leaves out what the profile had met.
func (x *examples) addSlate(o offer, s Slate, width int) {
	x.play.X.Cols, x.finish.X.Cols = width, width
	n := 0
	for i, t := range s.Titles {
		at, offered := slices.BinarySearch(o.titles, t)
		if !offered {
			continue
		}
		row := o.features[at*width : (at+1)*width]
		label := float32(0)
		if s.Clicked[i] {
			label = 1
		}
		n++
		x.play.X.Rows++
		x.play.X.Values = append(x.play.X.Values, row...)
		x.play.Label = append(x.play.Label, label)
		x.play.Positions = append(x.play.Positions, gbdt.Position{Row: s.Row, Rank: s.Ranks[i]})
		if s.Finished[i] >= 0 {
			x.finish.X.Rows++
			x.finish.X.Values = append(x.finish.X.Values, row...)
			x.finish.Label = append(x.finish.Label, s.Finished[i])
		}
	}
	if n > 0 {
		x.play.Groups = append(x.play.Groups, n)
		x.ids = append(x.ids, s.ID)
	}
}

// Value is what the clicks on slates would have been had their titles been put in another order: each click counts as much more, or less, as
// its title's new place is noticed than its old (the position-based estimator: Joachims, Swaminathan and Schnabel, "Unbiased
// Learning-to-Rank with Biased Feedback", WSDM 2017).
type Value struct {
	// Profiles are whose slates they were, and Ranker, Source and Shown, parallel, the mean number of clicks a slate in the order of the
	// ranker, in that of a source alone, and as shown.
	Profiles              []string
	Ranker, Source, Shown []float64
}

// Value estimates what the model's order of the examples' slates is worth, beside that by the named feature alone, the larger the better.
// The examples must not be those it was trained on.
func (m *Model) Value(of *Examples, feature string) (*Value, error) {
	column := slices.Index(m.Features, feature)
	if column < 0 {
		return nil, fmt.Errorf("there is no feature %q to order by", feature)
	}
	if !of.shown || m.Clicks == nil {
		return nil, fmt.Errorf("%w: what an order is worth is told by what was shown", ErrData)
	}
	v := &Value{}
	slates := map[string]float64{}
	at := map[string]int{}
	for _, x := range []*examples{&of.train, &of.held} {
		scores := m.Order.Trees.Scores(x.play.X, 0)
		lo := 0
		for g, n := range x.play.Groups {
			id := x.ids[g]
			i, known := at[id]
			if !known {
				i, at[id] = len(v.Profiles), len(v.Profiles)
				v.Profiles, v.Ranker, v.Source, v.Shown = append(v.Profiles, id), append(v.Ranker, 0), append(v.Source, 0), append(v.Shown, 0)
			}
			slates[id]++
			alone := make([]float32, n)
			for k := range alone {
				if alone[k] = x.play.X.Values[(lo+k)*x.play.X.Cols+column]; alone[k] != alone[k] {
					alone[k] = -1e30 // it knows nothing of the title
				}
			}
			label, places := x.play.Label[lo:lo+n], x.play.Positions[lo:lo+n]
			v.Ranker[i] += m.reordered(scores[lo:lo+n], label, places)
			v.Source[i] += m.reordered(alone, label, places)
			for _, y := range label {
				v.Shown[i] += float64(y)
			}
			lo += n
		}
	}
	for i, id := range v.Profiles {
		v.Ranker[i], v.Source[i], v.Shown[i] = v.Ranker[i]/slates[id], v.Source[i]/slates[id], v.Shown[i]/slates[id]
	}
	return v, nil
}

// reordered is the expected number of clicks once the titles stand at the same places in the order of their scores.
func (m *Model) reordered(scores, label []float32, places []gbdt.Position) (sum float64) {
	order := byValue(scores)
	slices.Reverse(order)
	free := slices.Clone(places)
	slices.SortStableFunc(free, func(a, b gbdt.Position) int { return int(a.Rank) - int(b.Rank) })
	for place, i := range order {
		if label[i] != 0 {
			sum += m.Clicks.Examination(free[place]) / m.Clicks.Examination(places[i])
		}
	}
	return sum
}
