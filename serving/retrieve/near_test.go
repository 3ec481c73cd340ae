package retrieve

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestNearAddsUpWhatNeighboursSay: every title's only neighbour is the next, at .5.
func TestNearAddsUpWhatNeighboursSay(t *testing.T) {
	s := newScene(t, true)
	s.watch("a0", 100*hour, 1)
	s.watch("a2", 90*hour, 1)
	s.watch("b1", 80*hour, .01) // abandoned
	q := s.begin()
	q.FromNear(10)
	if got := found(q); !slices.Equal(got, []string{"a1", "b0"}) {
		t.Fatalf("near what was watched: %v", got)
	}
	row := func(id string) uint32 { r, _ := q.Picture.Bundle.Row(id); return r }
	for id, want := range map[string]float32{"a1": .5, "b0": .5, "b2": .5 * q.Interactions[slices.IndexFunc(q.Past, func(p Past) bool { return p.Row == row("b1") })].Strength} {
		if got := q.NearScore(row(id)); got != want {
			t.Errorf("the neighbours say %v of %s, want %v", got, id, want)
		}
	}
	if got := q.NearScore(row("a0")); !math.IsNaN(float64(got)) {
		t.Errorf("they say %v of what is near nothing", got)
	}
	// What one request added up is gone in the next.
	s.store.Forget("p")
	if q = s.begin(); !math.IsNaN(float64(q.NearScore(row("a1")))) {
		t.Error("a profile without a history has neighbours")
	}
	q.FromNear(10)
	if len(q.Candidates) != 0 {
		t.Errorf("near nothing: %v", found(q))
	}
}

func TestFirst(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		s := make([]uint64, rng.IntN(40))
		for i := range s {
			s[i] = uint64(rng.IntN(30))
		}
		n := rng.IntN(45)
		sorted := slices.Sorted(slices.Values(s))
		want := slices.Compact(sorted[:min(n, len(sorted))])
		if got := first(slices.Clone(s), n); !slices.Equal(got, want) {
			t.Fatalf("the first %d of %v are %v, want %v", n, s, got, want)
		}
	}
}
