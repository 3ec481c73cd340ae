package judge

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"marquee/eval/metric"
	"marquee/internal/sparse"
)

func judged(t *testing.T, h *Holdout, s Scorer, ties metric.Ties) *Result {
	t.Helper()
	r, err := Judge(t.Context(), h, s, Options{Cutoffs: []int{3, 8}, Ties: ties})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSlicesOfUsers: a group's mean is that of judging its users alone.
func TestSlicesOfUsers(t *testing.T) {
	h := world(t, 200, 40, 1)
	s := noise(3, 0)
	whole := judged(t, h, s, metric.Worst)
	labels := make([]string, len(h.Users))
	for i := range labels {
		labels[i] = []string{"tv", "phone", ""}[i%3]
	}
	sliced, err := whole.Slice(h, Slice{Name: "device", Users: labels})
	if err != nil {
		t.Fatal(err)
	}
	if len(sliced) != 2 || sliced[0].Label != "phone" || sliced[1].Label != "tv" {
		t.Fatalf("groups %v", sliced)
	}
	for _, g := range sliced {
		part := &Holdout{Train: h.Train}
		for i, l := range labels {
			if l == g.Label {
				part.Users, part.Relevant = append(part.Users, h.Users[i]), append(part.Relevant, h.Relevant[i])
			}
		}
		want := judged(t, part, s, metric.Worst)
		if g.Users != len(part.Users) {
			t.Errorf("%s: %d users, want %d", g.Label, g.Users, len(part.Users))
		}
		for name, v := range g.Metrics {
			if math.Abs(v-want.Means[name]) > 1e-12 {
				t.Errorf("%s: %s is %g, judged alone it is %g", g.Label, name, v, want.Means[name])
			}
		}
	}
}

// TestSlicesOfTitles: groups partition the hits; a group's recall is that of a holdout with only its titles relevant.
func TestSlicesOfTitles(t *testing.T) {
	h := world(t, 150, 40, 2)
	r := judged(t, h, noise(5, 0), metric.Worst)
	slice := PopularitySlice(h)
	sliced, err := r.Slice(h, slice)
	if err != nil {
		t.Fatal(err)
	}
	share := 0.0
	for _, g := range sliced {
		share += g.Share
		var sum float64
		n := 0
		for i := range h.Users {
			var relevant []uint32
			for _, title := range h.Relevant[i] {
				if slice.Titles[title] == g.Label {
					relevant = append(relevant, title)
				}
			}
			if len(relevant) == 0 {
				continue
			}
			n++
			sum += metric.Recall(metric.Hits(nil, r.List(i), relevant), len(relevant), 8)
		}
		if n != g.Users || math.Abs(sum/float64(n)-g.Metrics["recall@8"]) > 1e-12 {
			t.Errorf("%s: recall %g of %d users, want %g of %d", g.Label, g.Metrics["recall@8"], g.Users, sum/float64(n), n)
		}
	}
	if math.Abs(share-1) > 1e-9 {
		t.Errorf("the groups have %g of the places", share)
	}
}

func TestGroupsByPopularityAndHistory(t *testing.T) {
	// Ten interactions: title 0 has 4, 1 has 3, 2 has 2, 3 has 1, 4 none.
	var row, col []uint32
	for title, n := range []int{4, 3, 2, 1} {
		for u := range n {
			row, col = append(row, uint32(u)), append(col, uint32(title))
		}
	}
	m, err := sparse.FromTriplets(4, 5, row, col, nil, sparse.Reject)
	if err != nil {
		t.Fatal(err)
	}
	h := &Holdout{Train: m, Users: []uint32{3}, Relevant: [][]uint32{{4}}}
	if got := PopularitySlice(h).Titles; !slices.Equal(got, []string{"head", "mid", "mid", "tail", "unseen"}) {
		t.Error(got)
	}
	if got := HistorySlice(h).Users; !slices.Equal(got, []string{"under 10"}) {
		t.Error(got)
	}
}

func TestWhatCannotBeSliced(t *testing.T) {
	h := world(t, 20, 30, 4)
	other := world(t, 20, 30, 5)
	worst, best := judged(t, h, noise(1, 3), metric.Worst), judged(t, h, noise(1, 3), metric.Best)
	titles, users := make([]string, 30), make([]string, 20)
	for want, try := range map[string]func() ([]Sliced, error){
		"one of them":    func() ([]Sliced, error) { return worst.Slice(h, Slice{}) },
		"3 labels of 20": func() ([]Sliced, error) { return worst.Slice(h, Slice{Users: users[:3]}) },
		"3 labels of 30": func() ([]Sliced, error) { return worst.Slice(h, Slice{Titles: titles[:3]}) },
		"standing worst": func() ([]Sliced, error) { return best.Slice(h, Slice{Titles: titles}) },
		"another split":  func() ([]Sliced, error) { return worst.Slice(other, Slice{Users: users}) },
	} {
		if _, err := try(); !errors.Is(err, ErrSlice) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if got, err := best.Slice(h, Slice{Users: users}); err != nil || len(got) != 0 {
		t.Errorf("%v, %v: users without a label are in no group", got, err)
	}
}

func TestAFingerprintsNameIsThatOfItsProtocol(t *testing.T) {
	h := world(t, 20, 30, 4)
	a, b := judged(t, h, noise(1, 0), metric.Worst).Fingerprint, judged(t, h, noise(2, 0), metric.Worst).Fingerprint
	if a.String() != b.String() {
		t.Error("two models on one protocol have different fingerprints")
	}
	names := map[string]bool{a.String(): true}
	for _, change := range []func(*Fingerprint){
		func(f *Fingerprint) { f.Split = "0" }, func(f *Fingerprint) { f.Mask = "none" }, func(f *Fingerprint) { f.Ranking = "sampled" },
		func(f *Fingerprint) { f.Ties = "best" }, func(f *Fingerprint) { f.Cutoffs = []int{3} }, func(f *Fingerprint) { f.Formula = "" },
	} {
		c := a
		change(&c)
		names[c.String()] = true
	}
	if len(names) != 7 {
		t.Errorf("of 7 protocols some share a name: %v", slices.Collect(maps.Keys(names)))
	}
}
