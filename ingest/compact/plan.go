package compact

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"

	"marquee/ingest/events"
)

// fullFiles is how many files' worth of bytes a compacted manifest has to be left alone when more of its day arrives.
const fullFiles = 4

// openDayRanges is how many ranges a day that is not over gathers before they become one manifest.
const openDayRanges = 512

// group is what becomes one manifest: the manifests whose last day is the same.
type group struct {
	day     int64
	sources []*events.Source
}

func (g group) rows() int64 {
	var n int64
	for _, s := range g.sources {
		for _, f := range s.Files {
			n += f.Rows
		}
	}
	return n
}

// days yields the group's days with their files, in order.
func (g group) days() iter.Seq2[int64, []events.DayFile] {
	files := make(map[int64][]events.DayFile)
	for _, s := range g.sources {
		for _, f := range s.Files {
			files[f.Day()] = append(files[f.Day()], f)
		}
	}
	return func(yield func(int64, []events.DayFile) bool) {
		for _, day := range slices.Sorted(maps.Keys(files)) {
			if !yield(day, files[day]) {
				return
			}
		}
	}
}

// plan groups the manifests that may be rewritten by their last day and keeps the groups that are better for it.
func (r *run) plan(set *events.Set) []group {
	byDay := make(map[int64]*group)
	var out []group
	var empty []*events.Source
	for _, s := range set.Sources() {
		last := lastDay(s)
		switch {
		case !r.finished(s):
			r.summary.Left++
		case len(s.Files) == 0:
			empty = append(empty, s)
		case s.Number > 0 && size(s) >= fullFiles*r.cfg.FileBytes:
			if g := (group{last, []*events.Source{s}}); r.drops(g) {
				out = append(out, g)
			}
		default:
			if byDay[last] == nil {
				byDay[last] = &group{day: last}
			}
			byDay[last].sources = append(byDay[last].sources, s)
		}
	}
	for _, g := range byDay {
		if g.day >= r.now.Unix()/secondsPerDay && !r.options.OpenDay {
			g = r.openDay(g)
		}
		if r.wants(*g) {
			out = append(out, *g)
		}
	}
	slices.SortFunc(out, func(a, b group) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.sources[0].Key, b.sources[0].Key))
	})
	if len(out) > 0 {
		// Ranges of dead letters belong to no day.
		out[0].sources = append(out[0].sources, empty...)
	}
	return out
}

// openDay is what is done about a day that is not over: when many ranges have gathered, which every reader has to list, they
// become one manifest. What was compacted before stays as it is until the day is over, so that nothing is written more than
// twice.
func (r *run) openDay(g *group) *group {
	ranges := slices.DeleteFunc(slices.Clone(g.sources), func(s *events.Source) bool { return s.Number > 0 })
	if len(ranges) < openDayRanges {
		r.summary.Left += len(ranges)
		return &group{day: g.day}
	}
	return &group{day: g.day, sources: ranges}
}

// finished says that everything a manifest covers is in the warehouse too and will not be written again.
func (r *run) finished(s *events.Source) bool {
	for _, span := range s.Covers {
		p, known := r.through[span.Partition]
		if s.Number == 0 && (!known || span.Last > p.Through) {
			return false
		}
	}
	return true
}

// wants says that a group is better for being rewritten.
func (r *run) wants(g group) bool {
	files, total := 0, int64(0)
	for _, s := range g.sources {
		if s.Number == 0 {
			return true // not sorted yet
		}
		files += len(s.Files)
		total += size(s)
	}
	return r.drops(g) || len(g.sources) > 1 && int64(files) > 1+total/r.cfg.FileBytes
}

// drops says that a group has rows that are not to be kept.
func (r *run) drops(g group) bool {
	for _, s := range g.sources {
		for _, f := range s.Files {
			if r.erasing[f.Key] {
				return true
			}
			for kind, n := range f.Types {
				if n > 0 && r.expired(f.Day(), kind) {
					return true
				}
			}
		}
	}
	return false
}

// findErasing finds the files that hold what is to be erased.
func (r *run) findErasing(ctx context.Context, set *events.Set) error {
	r.erasing = make(map[string]bool)
	if r.options.Erase == nil {
		return nil
	}
	for _, f := range set.Files() {
		has, err := set.HasProfile(ctx, f, r.options.Erase)
		if err != nil {
			return err
		}
		r.erasing[f.Key] = has
	}
	return nil
}

// expired says that a day's events of a type are not kept any longer.
func (r *run) expired(day int64, kind string) bool {
	first, limited := r.kept[kind]
	return limited && day < first
}

func lastDay(s *events.Source) int64 {
	var last int64
	for _, f := range s.Files {
		last = max(last, f.Day())
	}
	return last
}

func size(s *events.Source) int64 {
	var n int64
	for _, f := range s.Files {
		n += f.Bytes
	}
	return n
}
