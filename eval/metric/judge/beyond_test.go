package judge

import (
	"math"
	"strings"
	"testing"

	"marquee/eval/metric"
	"marquee/internal/sparse"
)

// TestWhatListsAreBesidesAccurate checks every value against the definitions on a case small enough to do by hand.
func TestWhatListsAreBesidesAccurate(t *testing.T) {
	// Users of titles 0..4: 3, 2, 1, 0, 0. The two judged are shown titles 3, 4 and 2, 3.
	m, err := sparse.FromTriplets(3, 5, []uint32{0, 0, 0, 1, 1, 2}, []uint32{0, 1, 2, 0, 1, 0}, nil, sparse.Reject)
	if err != nil {
		t.Fatal(err)
	}
	h := &Holdout{Train: m, Users: []uint32{0, 1}, Relevant: [][]uint32{{3}, {2}}}
	scores := Func(func(user uint32, s []float32) error {
		copy(s, [][]float32{{0, 0, 0, 5, 4}, {0, 0, 9, 8, 1}}[user])
		return nil
	})
	genres := &Attributes{Width: 2, Rows: []uint8{1, 0, 0, 1, 1, 1, 1, 0, 0, 0}} // title 4 has none
	r, err := Judge(t.Context(), h, scores, Options{Cutoffs: []int{2}, Attributes: genres})
	if err != nil {
		t.Fatal(err)
	}
	kl := func(p, q float64) float64 {
		const a = calibrationAlpha
		return p*math.Log(p/((1-a)*q+a*p)) + (1-p)*math.Log((1-p)/((1-a)*(1-q)+a*(1-p)))
	}
	log3 := math.Log2(3)
	for name, want := range map[string]float64{
		"novelty@2":        (log3 + log3) / 2, // nobody met 3 and 4, one user met 2: all count as one of three
		"popularity@2":     (0 + 0.5) / 2,
		"serendipity@2":    (((4.5 - 1) / 5) + ((3 - 1) / 5.0)) / 2 / 2,
		"coverage@2":       3.0 / 5,
		"entropy@2":        -(0.5*math.Log2(0.5) + 2*0.25*math.Log2(0.25)),
		"gini@2":           2*(3*1+4*1+5*2.0)/(5*4) - 6.0/5,
		"diversity@2":      (0.5 + 0.5) / 2,
		"miscalibration@2": (kl(0.5, 1) + kl(0.5, 0.75)) / 2,
	} {
		if got := r.Means[name]; math.Abs(got-want) > 1e-9 {
			t.Errorf("%s is %g, want %g", name, got, want)
		}
	}
	if got := r.PerUser["popularity@2"]; got[0] != 0 || got[1] != 0.5 {
		t.Errorf("popularity by user: %v", got)
	}
}

func TestHistoriesAndListsWithoutGenres(t *testing.T) {
	m, err := sparse.FromTriplets(2, 3, []uint32{0, 1}, []uint32{0, 1}, nil, sparse.Reject)
	if err != nil {
		t.Fatal(err)
	}
	h := &Holdout{Train: m, Users: []uint32{0, 1}, Relevant: [][]uint32{{2}, {2}}}
	// Title 0 has a genre, 1 and 2 none: user 0 is shown what has none, user 1 has no taste to be true to.
	r, err := Judge(t.Context(), h, Constant{0, 0, 1}, Options{Cutoffs: []int{1}, Attributes: &Attributes{Width: 1, Rows: []uint8{1, 0, 0}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.PerUser["miscalibration@1"]; got[0] != -math.Log(calibrationAlpha) || got[1] != 0 {
		t.Error(got)
	}
	_, err = Judge(t.Context(), h, Constant{0, 0, 1}, Options{Cutoffs: []int{1}, Attributes: &Attributes{Width: 2, Rows: []uint8{1}}})
	if err == nil || !strings.Contains(err.Error(), "1 values of 3 titles, 2 wide") {
		t.Error(err)
	}
}

func TestPopularityRanks(t *testing.T) {
	got := popularityRank([]float32{1, 5, 1, 7, 0})
	for i, want := range []float64{3.5, 2, 3.5, 1, 5} {
		if got[i] != want {
			t.Fatalf("%v", got)
		}
	}
	// The most popular titles at their own places surprise nobody.
	if s := metric.Serendipity([]uint32{3, 1}, []uint32{1, 3}, got, 2); s != 0 {
		t.Error(s)
	}
}
