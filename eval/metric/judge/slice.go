package judge

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"marquee/eval/metric"
)

// ErrSlice is wrapped where a result cannot be sliced as asked.
var ErrSlice = errors.New("cannot slice")

// Slice groups the judged users, or the titles, by a label; "" belongs to no group. Exactly one of Users and Titles is set.
type Slice struct {
	Name string
	// Users holds a label a judged user, in the order of Result.Users.
	Users []string
	// Titles holds a label a title. A user counts in a group where a relevant title is in it; what else is relevant to the user
	// counts as not relevant there, and the list is the whole one.
	Titles []string
}

// Sliced is how a model did within a group.
type Sliced struct {
	Slice string `json:"slice"`
	Label string `json:"label"`
	// Users is how many users the means are over.
	Users int `json:"users"`
	// Share is the share of recommended places, at the longest cutoff, that went to titles of the group: 0 to 1. Of titles only.
	Share   float64            `json:"share,omitempty"`
	Metrics map[string]float64 `json:"metrics"`
}

// HistorySlice groups users by the number of titles they have in train. Users of fewer than 10 are what a report calls new.
func HistorySlice(h *Holdout) Slice {
	s := Slice{Name: "history", Users: make([]string, len(h.Users))}
	for i, u := range h.Users {
		seen, _ := h.Train.Row(int(u))
		switch n := len(seen); {
		case n < 10:
			s.Users[i] = "under 10"
		case n < 50:
			s.Users[i] = "10 to 49"
		case n < 200:
			s.Users[i] = "50 to 199"
		default:
			s.Users[i] = "200 and more"
		}
	}
	return s
}

// PopularitySlice groups titles by their number of users in train: head are the most popular titles that have a fifth of all
// interactions, tail the least popular that have a fifth, mid those between (Abdollahpouri, Burke and Mobasher 2019), and
// unseen those without any.
func PopularitySlice(h *Holdout) Slice {
	count := make([]int, h.Train.Cols)
	for _, t := range h.Train.Indices {
		count[t]++
	}
	order := make([]int, h.Train.Cols)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(count[b], count[a]) })
	s := Slice{Name: "popularity", Titles: make([]string, h.Train.Cols)}
	before, total := 0, h.Train.NNZ()
	for _, t := range order {
		switch {
		case count[t] == 0:
			s.Titles[t] = "unseen"
		case 5*before < total:
			s.Titles[t] = "head"
		case 5*before < 4*total:
			s.Titles[t] = "mid"
		default:
			s.Titles[t] = "tail"
		}
		before += count[t]
	}
	return s
}

// Slice takes the metrics within each group of s, in the order of labels. h is the holdout the result is of. Titles are
// sliced only where ties stand worst: a list does not say what another standing would have made of it.
func (r *Result) Slice(h *Holdout, s Slice) ([]Sliced, error) {
	switch {
	case (s.Users == nil) == (s.Titles == nil):
		return nil, fmt.Errorf("%w by %s: it labels users or titles, one of them", ErrSlice, s.Name)
	case s.Users != nil && len(s.Users) != len(r.Users):
		return nil, fmt.Errorf("%w by %s: %d labels of %d judged users", ErrSlice, s.Name, len(s.Users), len(r.Users))
	case s.Titles != nil && len(s.Titles) != h.Train.Cols:
		return nil, fmt.Errorf("%w by %s: %d labels of %d titles", ErrSlice, s.Name, len(s.Titles), h.Train.Cols)
	case s.Titles != nil && r.Fingerprint.Ties != metric.Worst.String():
		return nil, fmt.Errorf("%w by %s: titles are sliced with ties standing worst, not %s", ErrSlice, s.Name, r.Fingerprint.Ties)
	case h.Hash() != r.Fingerprint.Split:
		return nil, fmt.Errorf("%w by %s: %w: the result is of another split", ErrSlice, s.Name, ErrFingerprint)
	}
	if s.Users != nil {
		return r.sliceUsers(s), nil
	}
	return r.sliceTitles(h, s), nil
}

func (r *Result) sliceUsers(s Slice) []Sliced {
	groups := map[string]*Sliced{}
	for i, label := range s.Users {
		if label == "" {
			continue
		}
		g := group(groups, s.Name, label)
		for name, values := range r.PerUser {
			g.Metrics[name] += values[i]
		}
	}
	return means(groups)
}

func (r *Result) sliceTitles(h *Holdout, s Slice) []Sliced {
	groups, places, total := map[string]*Sliced{}, map[string]int{}, 0
	byLabel := map[string][]uint32{}
	var hits []int
	for i := range r.Users {
		list := r.List(i)
		for _, t := range list {
			places[s.Titles[t]]++
			total++
		}
		clear(byLabel)
		for _, t := range h.Relevant[i] {
			byLabel[s.Titles[t]] = append(byLabel[s.Titles[t]], t)
		}
		delete(byLabel, "")
		for label, relevant := range byLabel {
			g := group(groups, s.Name, label)
			hits = metric.Hits(hits[:0], list, relevant)
			for _, k := range r.Fingerprint.Cutoffs {
				at := "@" + strconv.Itoa(k)
				g.Metrics["recall"+at] += metric.Recall(hits, len(relevant), k)
				g.Metrics["hit_rate"+at] += metric.HitRate(hits, k)
				g.Metrics["ndcg"+at] += metric.NDCG(hits, len(relevant), k)
			}
		}
	}
	out := means(groups)
	for i := range out {
		out[i].Share = float64(places[out[i].Label]) / float64(max(total, 1))
	}
	return out
}

// group is the one of that label, with one user more.
func group(groups map[string]*Sliced, slice, label string) *Sliced {
	g := groups[label]
	if g == nil {
		g = &Sliced{Slice: slice, Label: label, Metrics: map[string]float64{}}
		groups[label] = g
	}
	g.Users++
	return g
}

// means divides sums by users.
func means(groups map[string]*Sliced) []Sliced {
	out := make([]Sliced, 0, len(groups))
	for _, label := range slices.Sorted(maps.Keys(groups)) {
		g := groups[label]
		for name := range g.Metrics {
			g.Metrics[name] /= float64(g.Users)
		}
		out = append(out, *g)
	}
	return out
}
