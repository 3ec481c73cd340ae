package simulator

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Loves are viewer v's best titles by true affinity: the top share of the catalogue (0 < share ≤ 1), at least one.
func (w *World) Loves(v int, share float64) map[string]bool {
	scores := make([]float32, len(w.titles))
	order := make([]int, len(w.titles))
	for t := range w.titles {
		scores[t], order[t] = w.affinity(&w.viewers[v], &w.titles[t]), t
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

// Viewer gives the viewer of a profile id, or an error when this world has none.
func (w *World) Viewer(profileID string) (int, error) {
	n, ok := strings.CutPrefix(profileID, "sim:v")
	v, err := strconv.Atoi(n)
	if !ok || err != nil || v < 0 || v >= len(w.viewers) {
		return 0, fmt.Errorf("profile %q is not one of this world's %d viewers", profileID, len(w.viewers))
	}
	return v, nil
}
