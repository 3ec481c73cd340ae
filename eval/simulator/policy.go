package simulator

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// Slate is what a viewer was shown and did.
type Slate struct {
	RequestID string
	Viewer    int
	At        time.Time
	// Titles are shown from rank 0 on; Propensities[k] is the chance that the policy put Titles[k] at rank k behind Titles[:k]. Their
	// product is the slate's; 1 throughout is a policy without chance.
	Titles       []int
	Propensities []float64
	// Examined and Clicked say what the viewer noticed and clicked, by rank.
	Examined, Clicked []bool
}

// Policy decides what is shown.
type Policy interface {
	// Slate sets s.Titles and s.Propensities, and s.RequestID if it has one of its own, for the viewer and the time in s. seen says which
	// titles the viewer has begun; they should be left out.
	Slate(r *rand.Rand, seen map[int]bool, s *Slate) error
}

// byExposure shows titles by the world's exposure alone, whatever the viewer likes: a Plackett-Luce draw (Plackett 1975), each rank in
// proportion to the exposure of what is left.
type byExposure struct{ w *World }

// ByExposure is the policy that a History is logged under.
func (w *World) ByExposure() Policy { return byExposure{w} }

// tries bounds the draws a rank may take, where a viewer has seen nearly all there is.
const tries = 1000

func (p byExposure) Slate(r *rand.Rand, seen map[int]bool, s *Slate) error {
	left := 1.0
	// In order: the last bits of a sum hang on it.
	for _, t := range slices.Sorted(maps.Keys(seen)) {
		left -= p.w.share(t)
	}
	for range SlateSize {
		t, ok := p.draw(r, seen, s.Titles)
		if !ok {
			return nil
		}
		share := p.w.share(t)
		s.Titles, s.Propensities = append(s.Titles, t), append(s.Propensities, min(share/left, 1))
		left -= share
	}
	return nil
}

func (p byExposure) draw(r *rand.Rand, seen map[int]bool, taken []int) (int, bool) {
	for range tries {
		t, _ := slices.BinarySearch(p.w.exposure, r.Float64())
		if t = min(t, len(p.w.titles)-1); !seen[t] && !slices.Contains(taken, t) {
			return t, true
		}
	}
	return 0, false
}

// share is title t's part of all exposure.
func (w *World) share(t int) float64 {
	if t == 0 {
		return w.exposure[0]
	}
	return w.exposure[t] - w.exposure[t-1]
}
