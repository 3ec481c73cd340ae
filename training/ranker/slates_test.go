package ranker

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat"

	"marquee/training/dataset"
	"marquee/training/model/ranking"
)

const (
	slates    = 8
	slateSize = 10
)

func notice(rank int) float64 { return 1 / math.Sqrt(float64(rank+1)) }

// shown is episode with what profiles were shown: slates by the first source, with noise, of which is clicked what is noticed and
// wanted, and it is wanted for what either source sees.
func shown(t testing.TB, seed uint64) Episode {
	t.Helper()
	e := episode(t, seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	for p := range uint32(profiles) {
		first, wanted := wishes(t, e.Moment, p)
		for range slates {
			order := rng.Perm(titles)
			slices.SortStableFunc(order, func(a, b int) int { return int(math.Copysign(1, float64(first[b]-first[a])+3*rng.NormFloat64())) })
			s := Slate{Profile: p, ID: e.Outcomes[p].ID}
			for rank, title := range order[:slateSize] {
				clicked := rng.Float64() < notice(rank)*wanted[title]
				finished := float32(-1)
				if clicked {
					finished = float32(wanted[title])
				}
				s.Titles, s.Ranks = append(s.Titles, uint32(title)), append(s.Ranks, uint32(rank))
				s.Clicked, s.Finished = append(s.Clicked, clicked), append(s.Finished, finished)
			}
			e.Slates = append(e.Slates, s)
		}
	}
	return e
}

// wishes are what the first source says of all titles for a profile, and how likely they are clicked once noticed.
func wishes(t testing.TB, m *Moment, p uint32) (first []float32, wanted []float64) {
	t.Helper()
	a, b := make([]float32, titles), make([]float32, titles)
	if err := errors.Join(m.Sources[0].Scorer.Score([]uint32{p}, a), m.Sources[1].Scorer.Score([]uint32{p}, b)); err != nil {
		t.Fatal(err)
	}
	for i := range a {
		wanted = append(wanted, 1/(1+math.Exp(-float64(1.5*a[i]+1.5*b[i]-1))))
	}
	return a, wanted
}

// worth is the expected number of clicks on the best ten of an order of what a profile has not met.
func worth(m *Moment, p uint32, scores []float32, wanted []float64) (sum float64) {
	order := byValue(scores)
	slices.Reverse(order)
	rank := 0
	for _, title := range order {
		if rank < slateSize && !m.Seen.Has(int(p), uint32(title)) {
			sum += notice(rank) * wanted[title]
			rank++
		}
	}
	return sum
}

// TestSlatesTeachWishes: from what was shown it is told how ranks are noticed, and what is truly wanted; the order is worth more to
// profiles than that of the source they were shown by, and it is known before how much more.
func TestSlatesTeachWishes(t *testing.T) {
	m, r := trained(t, shown(t, 1), shown(t, 2))
	for rank, got := range r.Examination {
		if want := notice(rank); math.Abs(got/want-1) > 0.1 {
			t.Errorf("rank %d is noticed with %.3f, truly with %.3f", rank, got, want)
		}
	}
	if r.Slates < 2*profiles*slates*9/10 || r.Profiles != profiles || r.Negatives != "shown and not clicked" || r.CalibrationError > 0.02 || len(r.Examination) != slateSize {
		t.Errorf("report: %d slates, %d profiles, negatives %q, calibration error %.4f, %d ranks", r.Slates, r.Profiles, r.Negatives, r.CalibrationError, len(r.Examination))
	}
	if top := r.Importance[1].Feature + r.Importance[2].Feature; !strings.Contains(top, "first_") || !strings.Contains(top, "second_") {
		t.Errorf("the most important are %v", r.Importance[:4])
	}
	fresh := shown(t, 3)
	s, err := m.Scorer(fresh.Moment)
	if err != nil {
		t.Fatal(err)
	}
	var ranker, source []float64
	scores := make([]float32, titles)
	for p := range uint32(profiles) {
		first, wanted := wishes(t, fresh.Moment, p)
		if err := s.Score([]uint32{p}, scores); err != nil {
			t.Fatal(err)
		}
		ranker, source = append(ranker, worth(fresh.Moment, p, scores, wanted)), append(source, worth(fresh.Moment, p, first, wanted))
	}
	if a, b := stat.Mean(ranker, nil), stat.Mean(source, nil); a < 1.1*b {
		t.Errorf("the ranker's order is worth %.3f clicks, the first source's %.3f", a, b)
	}
	x, err := fresh.Examples(context.Background(), config())
	if err != nil {
		t.Fatal(err)
	}
	v, err := m.Value(x, "first_score")
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Profiles) != profiles {
		t.Fatalf("%d profiles are judged", len(v.Profiles))
	}
	// The same slates in the ranker's order, by the truth.
	var truth float64
	for _, slate := range fresh.Slates {
		_, wanted := wishes(t, fresh.Moment, slate.Profile)
		if err := s.Score([]uint32{slate.Profile}, scores); err != nil {
			t.Fatal(err)
		}
		kept, at := []uint32{}, []uint32{}
		for i, title := range slate.Titles {
			if !fresh.Moment.Seen.Has(int(slate.Profile), title) {
				kept, at = append(kept, title), append(at, slate.Ranks[i])
			}
		}
		slices.SortFunc(kept, func(a, b uint32) int { return int(math.Copysign(1, float64(scores[b]-scores[a]))) })
		for i, title := range kept {
			truth += notice(int(at[i])) * wanted[title] / float64(len(fresh.Slates))
		}
	}
	if got := stat.Mean(v.Ranker, nil); math.Abs(got/truth-1) > 0.05 {
		t.Errorf("the ranker's order of what was shown is estimated at %.4f clicks a slate, truly %.4f", got, truth)
	}
	if got, shown := stat.Mean(v.Ranker, nil), stat.Mean(v.Shown, nil); got < shown*1.05 {
		t.Errorf("the ranker's order is worth %.4f, as shown %.4f", got, shown)
	}
}

func TestSlatesRefused(t *testing.T) {
	e := shown(t, 1)
	short := e
	short.Slates = slices.Clone(e.Slates)
	short.Slates[3].Ranks = nil
	if _, err := short.Examples(t.Context(), config()); !errors.Is(err, ErrData) || !strings.Contains(err.Error(), "at 0 ranks") {
		t.Errorf("a slate without ranks: %v", err)
	}
	plays := episode(t, 2)
	if _, _, err := Train(t.Context(), names(), examplesOf(t, e, plays), config()); !errors.Is(err, ErrData) {
		t.Errorf("slates and plays together: %v", err)
	}
	m, _ := trained(t, plays)
	if _, err := m.Value(examplesOf(t, e)[0], "first_score"); !errors.Is(err, ErrData) {
		t.Errorf("a ranker that knows no places values slates: %v", err)
	}
	m, _ = trained(t, e)
	if _, err := m.Value(examplesOf(t, e)[0], "third_score"); err == nil {
		t.Error("an unknown feature orders slates")
	}
	e.Slates = e.Slates[:0]
	if x, err := e.Examples(t.Context(), config()); err != nil || x.shown {
		t.Errorf("without slates: shown %t, %v", x.shown, err)
	}
}

// TestSlatesOfAWindow are those after its begin, by its end.
func TestSlatesOfAWindow(t *testing.T) {
	x, err := dataset.FromTriplets([]dataset.Triplet{{Profile: "p", Title: "a"}, {Profile: "q", Title: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	s := &dataset.Slates{
		Profiles: x.Profiles, Titles: x.Titles, Profile: []uint32{0, 1, 1, 0}, Line: []uint32{0, 3, 0, 0}, At: []int64{10, 11, 20, 21}, Offsets: []int{0, 1, 3, 4, 5},
		Title: []uint32{0, 0, 1, 1, 1}, Rank: []uint32{0, 4, 5, 0, 0}, Clicked: []bool{true, false, true, true, true}, Strength: []float32{-1, -1, 3, 0.25, -1},
	}
	got := Slates(s, 10, 20)
	if len(got) != 2 || got[0].ID != "q" || got[0].Row != 3 || !slices.Equal(got[0].Ranks, []uint32{4, 5}) || !slices.Equal(got[0].Finished, []float32{-1, 1}) || got[1].Finished[0] != 0.25 {
		t.Errorf("slates %+v", got)
	}
	m, err := NewMoment(&dataset.Split{CutAt: 20, Train: x}, ranking.Titles{Popularity: x.Popularity()}, nil, s)
	if err != nil {
		t.Fatal(err)
	}
	if m.Now != 20 || m.Table.Len() != 2 {
		t.Errorf("the moment: %+v", m)
	}
}
