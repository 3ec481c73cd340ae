package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"marquee/eval/benchmark"
	"marquee/eval/metric/judge"
	"marquee/training/dataset"
)

// holdoutSlices are those a split is enough for.
func holdoutSlices(names []string, h *judge.Holdout) (out []judge.Slice, err error) {
	for _, name := range names {
		switch name {
		case "history":
			out = append(out, judge.HistorySlice(h))
		case "popularity":
			out = append(out, judge.PopularitySlice(h))
		default:
			return nil, fmt.Errorf("--slice: there are no groups by %q; there are history and popularity", name)
		}
	}
	return out, nil
}

// slices are the groups asked for by --slice.
func (o evalOfflineCommand) slices(ctx context.Context, e *engines, s *dataset.Split, b *benchmark.Benchmark) (out []judge.Slice, err error) {
	for _, name := range o.Slice {
		var one judge.Slice
		kind, column, _ := strings.Cut(name, ":")
		switch kind {
		case "history":
			one = judge.HistorySlice(b.Holdout)
		case "popularity":
			one = judge.PopularitySlice(b.Holdout)
		case "age":
			one = ageSlice(s)
		case "profile":
			one, err = profileSlice(ctx, e, column, s)
		case "title":
			one, err = titleSlice(ctx, e, column, s)
		default:
			err = fmt.Errorf("--slice: there are no groups by %q; there are history, popularity, age, profile:COLUMN and title:COLUMN", name)
		}
		if err != nil {
			return nil, err
		}
		one.Name = name
		out = append(out, one)
	}
	return out, nil
}

// ageSlice groups titles by how long before the cut their first event was: those of the last 30 days and those without any are
// the new ones.
func ageSlice(s *dataset.Split) judge.Slice {
	const day = 24 * time.Hour
	first := make([]int64, s.Train.ByProfile.Cols)
	for i, t := range s.Train.ByProfile.Indices {
		if at := s.Train.FirstAt[i]; first[t] == 0 || at < first[t] {
			first[t] = at
		}
	}
	labels := make([]string, len(first))
	for t, at := range first {
		switch age := time.Duration(s.CutAt-at) * time.Microsecond; {
		case at == 0:
			labels[t] = "no event yet"
		case age < 30*day:
			labels[t] = "under 30 days"
		case age < 365*day:
			labels[t] = "30 days to a year"
		default:
			labels[t] = "a year and more"
		}
	}
	return judge.Slice{Titles: labels}
}

// profileColumns are the columns of events that say something about a viewer.
func profileColumns() []string { return []string{"country", "device_class", "surface", "autoplay"} }

// titleColumns are the columns of titles with few values.
func titleColumns() []string {
	return []string{"kind", "language", "year", "maturity_age", "first_genre"}
}

// profileSlice labels profiles by what most of their events before the cut have in a column.
func profileSlice(ctx context.Context, e *engines, column string, s *dataset.Split) (judge.Slice, error) {
	if !slices.Contains(profileColumns(), column) {
		return judge.Slice{}, fmt.Errorf("--slice: profiles are grouped by %s, not %q", strings.Join(profileColumns(), ", "), column)
	}
	cut := time.UnixMicro(s.CutAt).UTC().Format("2006-01-02 15:04:05.000000")
	labels, err := labelled(ctx, e, "SELECT profile_id, topK(1)(toString("+column+"))[1] FROM events WHERE effective_at <= toDateTime64('"+cut+
		"', 6, 'UTC') GROUP BY profile_id")
	if err != nil {
		return judge.Slice{}, err
	}
	out := judge.Slice{Users: make([]string, len(s.Profiles))}
	for i, p := range s.Profiles {
		out.Users[i] = named(labels[s.Train.Profiles.ID(p)])
	}
	return out, nil
}

func titleSlice(ctx context.Context, e *engines, column string, s *dataset.Split) (judge.Slice, error) {
	if !slices.Contains(titleColumns(), column) {
		return judge.Slice{}, fmt.Errorf("--slice: titles are grouped by %s, not %q", strings.Join(titleColumns(), ", "), column)
	}
	expression := column
	if column == "first_genre" {
		expression = "genres[1]"
	}
	labels, err := labelled(ctx, e, "SELECT title_id, ifNull(toString("+expression+"), '') FROM titles")
	if err != nil {
		return judge.Slice{}, err
	}
	out := judge.Slice{Titles: make([]string, s.Train.Titles.Len())}
	for t := range out.Titles {
		out.Titles[t] = named(labels[s.Train.Titles.ID(uint32(t))])
	}
	return out, nil
}

// titleGenres are the genres of the titles, or nil where no title has one.
func titleGenres(ctx context.Context, e *engines, titles *dataset.Vocabulary) (*judge.Attributes, error) {
	// Unit separators cannot be in a genre: the catalogue accepts no control characters.
	joined, err := labelled(ctx, e, "SELECT title_id, arrayStringConcat(genres, '\x1f') FROM titles")
	if err != nil {
		return nil, err
	}
	number := map[string]int{}
	of := make([][]int, titles.Len())
	for t := range of {
		for _, g := range strings.FieldsFunc(joined[titles.ID(uint32(t))], func(r rune) bool { return r == '\x1f' }) {
			if _, known := number[g]; !known {
				number[g] = len(number)
			}
			of[t] = append(of[t], number[g])
		}
	}
	if len(number) == 0 {
		return nil, nil
	}
	a := &judge.Attributes{Width: len(number), Rows: make([]uint8, titles.Len()*len(number))}
	for t, list := range of {
		for _, g := range list {
			a.Rows[t*a.Width+g] = 1
		}
	}
	return a, nil
}

// named makes a group of those that have nothing.
func named(label string) string {
	if label == "" {
		return "none"
	}
	return label
}

// labelled reads ids with a label each.
func labelled(ctx context.Context, e *engines, query string) (_ map[string]string, err error) {
	rows, err := e.warehouse.Conn().Query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("read groups: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out := map[string]string{}
	for rows.Next() {
		var id, label string
		if err := rows.Scan(&id, &label); err != nil {
			return nil, fmt.Errorf("read groups: %w", err)
		}
		out[id] = label
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read groups: %w", err)
	}
	return out, nil
}
