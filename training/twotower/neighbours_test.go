package twotower

import (
	"math"
	"slices"
	"testing"

	"marquee/training/nn"
)

func TestCoWatched(t *testing.T) {
	// Title 0 with 1 by two viewers, with 2 by one; title 3 alone, title 4 by nobody.
	d := &Data{Titles: 5, Histories: []History{{Titles: []uint32{0, 1}}, {Titles: []uint32{1, 0, 2}}, {Titles: []uint32{3}}, {Titles: []uint32{2}}}}
	whole := coWatched(nn.NewTeam(1), d, 4)
	for title, want := range [][]uint32{{1, 2}, {0, 2}, {0, 1}, {}, {}} {
		got, weights := whole.Row(title)
		if !slices.Equal(got, want) {
			t.Errorf("title %d: beside %v, want %v", title, got, want)
		}
		var sum float64
		for _, w := range weights {
			sum += float64(w)
		}
		if len(want) > 0 && math.Abs(sum-1) > 1e-6 {
			t.Errorf("title %d: weights %v", title, weights)
		}
	}
	_, weights := whole.Row(0) // (1/sqrt 2 + 1/sqrt 3) / sqrt 2 of title 1, 1/sqrt 3 / sqrt 2 of title 2
	if ratio := float64(weights[0] / weights[1]); math.Abs(ratio-(math.Sqrt(1.5)+1)) > 1e-5 {
		t.Errorf("weights %v", weights)
	}
	one := coWatched(nn.NewTeam(3), d, 1)
	for title, want := range [][]uint32{{1}, {0}, {0}, {}, {}} { // of title 2, titles 0 and 1 are equally near
		if got, _ := one.Row(title); !slices.Equal(got, want) {
			t.Errorf("title %d: beside %v, want %v alone", title, got, want)
		}
	}
}
