package simulator

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Loves are viewer v's best titles by true affinity at the world's end: the top share of the catalogue (0 < share ≤ 1), at least one.
func (w *World) Loves(v int, share float64) map[string]bool {
	scores := make([]float32, len(w.titles))
	order := make([]int, len(w.titles))
	for t := range w.titles {
		scores[t], order[t] = affinity(&w.viewers[v].after, &w.titles[t]), t
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		}
		return a - b
	})
	n := min(max(int(share*float64(len(order))), 1), len(order))
	out := make(map[string]bool, n)
	for _, t := range order[:n] {
		out[TitleID(t)] = true
	}
	return out
}

// HitRate is the share of the recommended titles that viewer v truly loves; 0 for an empty list.
func HitRate(loves map[string]bool, titleIDs []string) float64 {
	if len(titleIDs) == 0 {
		return 0
	}
	hits := 0
	for _, id := range titleIDs {
		if loves[id] {
			hits++
		}
	}
	return float64(hits) / float64(len(titleIDs))
}

// Title gives the number of a title by its id, or an error when this world has none.
func (w *World) Title(titleID string) (int, error) {
	n, ok := strings.CutPrefix(titleID, "sim:t")
	t, err := strconv.Atoi(n)
	if !ok || err != nil || t < 0 || t >= len(w.titles) {
		return 0, fmt.Errorf("title %q is not one of this world's %d titles", titleID, len(w.titles))
	}
	return t, nil
}

// Viewer gives the viewer of a profile id, or an error when this world has none.
func (w *World) Viewer(profileID string) (int, error) {
	n, ok := strings.CutPrefix(profileID, "sim:v")
	v, err := strconv.Atoi(n)
	if !ok || err != nil || v < 0 || v >= len(w.viewers) {
		return 0, fmt.Errorf("profile %q is not one of this world's %d viewers", profileID, len(w.viewers))
	}
	return v, nil
}

// Value is what a slate is worth to a viewer who has seen none of its titles.
type Value struct {
	// Clicks is the expected number of titles clicked.
	Clicks float64
	// Watched is the expected time watched of what is played of them; further episodes of a series are not counted.
	Watched time.Duration
}

// SlateValue is the expected value, at an instant, of showing viewer v titles from rank 0 on. Nothing is sampled: clicks are a sum
// over ranks, which of them are played follows from the distribution of their number, and what is watched of a title is integrated
// over how plays turn out.
func (w *World) SlateValue(v int, at time.Time, titles []int) Value {
	var out Value
	taste := w.taste(&w.viewers[v], at)
	watched := 0.0
	// before[n] is the chance that n titles above were clicked.
	before := [playsPerSlate]float64{1}
	patience := float64(w.viewers[v].patience)
	for rank, t := range titles {
		like := affinity(&taste, &w.titles[t])
		click := Examination(rank) * attraction(like)
		out.Clicks += click
		played := 0.0
		for n := playsPerSlate - 1; n >= 0; n-- {
			played += before[n] * click
			before[n] *= 1 - click
			if n > 0 {
				before[n] += before[n-1] * click
			}
		}
		watched += played * w.hermite.mean(float64(like)+patience, whim, meanFraction) * float64(w.titles[t].runtime)
	}
	out.Watched = time.Duration(watched * float64(time.Millisecond))
	return out
}

// Best is the slate with the most expected clicks for viewer v at an instant, of titles for which seen is false: the most wanted first.
func (w *World) Best(v int, at time.Time, seen map[int]bool) []int {
	taste := w.taste(&w.viewers[v], at)
	order := make([]int, 0, len(w.titles))
	like := make([]float32, len(w.titles))
	for t := range w.titles {
		if like[t] = affinity(&taste, &w.titles[t]); !seen[t] {
			order = append(order, t)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(like[b], like[a]) })
	return order[:min(SlateSize, len(order))]
}

// TitleTruth is what no model may see of a title.
type TitleTruth struct {
	TitleID string `parquet:"title_id" json:"title_id"`
	// Mood is a unit vector; an affinity is 6 times its product with a taste, plus Quality, less 3.2.
	Mood    []float32 `parquet:"mood,list" json:"mood"`
	Quality float32   `parquet:"quality" json:"quality"`
	// Exposure is the title's share of what the world puts in front of viewers.
	Exposure float64 `parquet:"exposure" json:"exposure"`
}

// TitleTruth is the truth about title t.
func (w *World) TitleTruth(t int) TitleTruth {
	x := &w.titles[t]
	return TitleTruth{TitleID: TitleID(t), Mood: slices.Clone(x.mood[:]), Quality: x.quality, Exposure: w.share(t)}
}

// ViewerTruth is what no model may see of a viewer.
type ViewerTruth struct {
	ProfileID string `parquet:"profile_id" json:"profile_id"`
	Household int32  `parquet:"household" json:"household"`
	// Before and After are the tastes at the world's start and end, unit vectors; in between the one turns into the other.
	Before []float32 `parquet:"taste_before,list" json:"taste_before"`
	After  []float32 `parquet:"taste_after,list" json:"taste_after"`
	// Patience is added to affinities to give the logits of finishing a play.
	Patience float32 `parquet:"patience" json:"patience"`
}

// ViewerTruth is the truth about viewer v.
func (w *World) ViewerTruth(v int) ViewerTruth {
	x := &w.viewers[v]
	return ViewerTruth{ProfileID: ProfileID(v), Household: x.household, Before: slices.Clone(x.before[:]), After: slices.Clone(x.after[:]), Patience: x.patience}
}
