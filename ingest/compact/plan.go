package compact

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"marquee/ingest/events"
)

// fullFiles is how many files' worth of bytes a compacted manifest has to be left alone when more of its day arrives.
const fullFiles = 4

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
	today := r.now.Unix() / secondsPerDay
	byDay := make(map[int64]*group)
	var alone []group
	var empty []*events.Source
	for _, s := range set.Sources() {
		last := lastDay(s)
		switch {
		case !r.finished(s):
		case len(s.Files) == 0:
			empty = append(empty, s)
		case last > today || last == today && !r.options.OpenDay:
		case bytes(s) >= fullFiles*r.cfg.FileBytes && s.Number > 0:
			alone = append(alone, group{last, []*events.Source{s}})
		default:
			if byDay[last] == nil {
				byDay[last] = &group{day: last}
			}
			byDay[last].sources = append(byDay[last].sources, s)
		}
	}
	var out []group
	for _, g := range byDay {
		if r.wants(*g) {
			out = append(out, *g)
		}
	}
	out = append(out, slices.DeleteFunc(alone, func(g group) bool { return !r.drops(g) })...)
	slices.SortFunc(out, func(a, b group) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.sources[0].Key, b.sources[0].Key))
	})
	if len(out) > 0 {
		// Ranges of dead letters belong to no day.
		out[0].sources = append(out[0].sources, empty...)
	}
	return out
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
		total += bytes(s)
	}
	return r.drops(g) || len(g.sources) > 1 && int64(files) > 1+total/r.cfg.FileBytes
}

// drops says that a group may have rows that are not to be kept.
func (r *run) drops(g group) bool {
	for _, s := range g.sources {
		for _, f := range s.Files {
			for kind, n := range f.Types {
				if n > 0 && r.expired(f.Day(), kind) {
					return true
				}
			}
		}
	}
	return r.Drop != nil
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

func bytes(s *events.Source) int64 {
	var n int64
	for _, f := range s.Files {
		n += f.Bytes
	}
	return n
}
