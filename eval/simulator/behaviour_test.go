package simulator

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	ingestv1 "marquee/ingest/v1"
)

// fixed shows the same titles whatever was seen.
type fixed []int

func (f fixed) Slate(_ *rand.Rand, _ map[int]bool, s *Slate) error {
	s.Titles = slices.Clone(f)
	for range f {
		s.Propensities = append(s.Propensities, 1)
	}
	return nil
}

// TestTheValueOfASlateIsWhatItBrings shows slates many times over and compares clicks and time watched with what is computed.
func TestTheValueOfASlateIsWhatItBrings(t *testing.T) {
	w := world(t, config())
	const shown = 20_000
	for _, v := range []int{0, 17} {
		for name, slate := range map[string][]int{"best": w.Best(v, w.cfg.End, nil), "any": upTo(SlateSize)} {
			var clicks, squares, watched, watchedSquares float64
			var time0 float64
			k := &walk{w: w, v: v, home: &w.households[w.viewers[v].household], policy: fixed(slate), at: w.cfg.End, seen: map[int]bool{}, r: w.rng(99, v)}
			k.taste = w.taste(&w.viewers[v], k.at)
			plays := map[string]bool{}
			k.to = Watcher{
				Slate: func(s *Slate) error {
					n := 0.0
					for _, c := range s.Clicked {
						if c {
							n++
						}
					}
					clicks += n
					squares += n * n
					clear(plays)
					return nil
				},
				Event: func(e *ingestv1.WatchEvent) error {
					if e.GetType() == ingestv1.EventType_EVENT_TYPE_PLAY_END && !e.GetAutoplay() {
						time0 += float64(e.GetWatchedMs())
					}
					return nil
				},
			}
			for range shown {
				time0, k.at = 0, w.cfg.End
				if _, err := k.slate(); err != nil {
					t.Fatal(err)
				}
				watched += time0
				watchedSquares += time0 * time0
			}
			value := w.SlateValue(v, w.cfg.End, slate)
			for what, x := range map[string]struct{ sum, squares, want float64 }{
				"clicks":  {clicks, squares, value.Clicks},
				"watched": {watched, watchedSquares, float64(value.Watched) / float64(time.Millisecond)},
			} {
				mean := x.sum / shown
				// Five standard errors: wrong once in two million.
				if sem := math.Sqrt((x.squares/shown - mean*mean) / shown); math.Abs(mean-x.want) > 5*sem {
					t.Errorf("viewer %d, %s slate: %s %g on average (standard error %g), %g computed", v, name, what, mean, sem, x.want)
				}
			}
		}
		if best, any := w.SlateValue(v, w.cfg.End, w.Best(v, w.cfg.End, nil)).Clicks, w.SlateValue(v, w.cfg.End, upTo(SlateSize)).Clicks; best <= any {
			t.Errorf("the best slate brings %g clicks, any other %g", best, any)
		}
	}
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// TestBestIsBest exchanges and replaces titles of the best slate: none of it brings more.
func TestBestIsBest(t *testing.T) {
	w := world(t, config())
	r := rand.New(rand.NewPCG(1, 1))
	best := w.Best(3, w.cfg.End, nil)
	most := w.SlateValue(3, w.cfg.End, best).Clicks
	for range 500 {
		other := slices.Clone(best)
		if i, j := r.IntN(len(other)), r.IntN(len(other)); r.IntN(2) == 0 {
			other[i], other[j] = other[j], other[i]
		} else if t := r.IntN(len(w.titles)); !slices.Contains(other, t) {
			other[i] = t
		}
		if got := w.SlateValue(3, w.cfg.End, other).Clicks; got > most+1e-9 {
			t.Fatalf("%v brings %g, the best %g", other, got, most)
		}
	}
	if again := w.Best(3, w.cfg.End, map[int]bool{best[0]: true}); slices.Contains(again, best[0]) || again[0] != best[1] {
		t.Errorf("without %d: %v", best[0], again)
	}
}

// TestPropensitiesAreTheChances draws slates of three ranks of a small world many times and compares how often each title came at each
// rank behind what was above it with the propensities said.
func TestPropensitiesAreTheChances(t *testing.T) {
	c := config()
	c.Titles = 20
	w := world(t, c)
	seen := map[int]bool{4: true, 11: true}
	r := rand.New(rand.NewPCG(5, 5))
	const draws = 60_000
	said, came := map[[2]int]float64{}, map[[2]int]float64{}
	first := map[int]float64{}
	for range draws {
		s := &Slate{}
		if err := w.ByExposure().Slate(r, seen, s); err != nil {
			t.Fatal(err)
		}
		if len(s.Titles) != len(s.Propensities) || len(s.Titles) != 18 || slices.Contains(s.Titles, 4) || slices.Contains(s.Titles, 11) {
			t.Fatalf("%v with %v", s.Titles, s.Propensities)
		}
		pair := [2]int{s.Titles[0], s.Titles[1]}
		came[pair]++
		first[s.Titles[0]]++
		said[pair] = s.Propensities[0] * s.Propensities[1]
		if last := s.Propensities[len(s.Propensities)-1]; math.Abs(last-1) > 1e-9 {
			t.Fatalf("the only title left has the propensity %g", last)
		}
	}
	total := 0.0
	for pair, p := range said {
		total += p
		if got, sem := came[pair]/draws, math.Sqrt(p*(1-p)/draws); math.Abs(got-p) > 5*sem {
			t.Errorf("%v came with %g, said %g", pair, got, p)
		}
	}
	if total < 0.99 || total > 1+1e-9 {
		t.Errorf("the propensities add up to %g", total)
	}
}

// TestClicksGoByRank: what is shown further down is noticed less, by the known curve.
func TestClicksGoByRank(t *testing.T) {
	w := world(t, config())
	var shown, examined, clicked [SlateSize]float64
	for v := range w.Viewers() {
		err := w.Walk(v, w.ByExposure(), Watcher{Event: func(*ingestv1.WatchEvent) error { return nil }, Slate: func(s *Slate) error {
			for k := range s.Titles {
				shown[k]++
				if s.Examined[k] {
					examined[k]++
				}
				if s.Clicked[k] {
					clicked[k]++
				}
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for k := range SlateSize {
		p := Examination(k)
		if got, sem := examined[k]/shown[k], math.Sqrt(p*(1-p)/shown[k]); math.Abs(got-p) > 5*sem+1e-12 {
			t.Errorf("rank %d is noticed with %g, the curve says %g", k, got, p)
		}
	}
	if clicked[0]/shown[0] < 2*clicked[SlateSize-1]/shown[SlateSize-1] {
		t.Errorf("clicks hardly go by rank: %v of %v", clicked, shown)
	}
}

// TestTheWorldLooksLikeAService holds the log of the default policy in bands that services of this kind are known by.
func TestTheWorldLooksLikeAService(t *testing.T) {
	c := config()
	c.Titles, c.Viewers = 2000, 1500
	w := world(t, c)
	plays, count := map[string]float64{}, map[ingestv1.EventType]float64{}
	var ended, whole, early, auto, slates, clicks, searchPlays float64
	sessions, devices, series := map[string]bool{}, map[ingestv1.DeviceClass]bool{}, 0.0
	for v := range w.Viewers() {
		err := w.Walk(v, w.ByExposure(), Watcher{
			Slate: func(*Slate) error { slates++; return nil },
			Event: func(e *ingestv1.WatchEvent) error {
				count[e.GetType()]++
				sessions[e.GetSessionId()] = true
				devices[e.GetDeviceClass()] = true
				switch e.GetType() {
				case ingestv1.EventType_EVENT_TYPE_CLICK:
					clicks++
				case ingestv1.EventType_EVENT_TYPE_PLAY_END:
					ended++
					plays[e.GetTitleId()]++
					part := float64(e.GetWatchedMs()) / float64(e.GetDurationMs())
					if part >= finished {
						whole++
					}
					if part < 0.1 {
						early++
					}
					if e.GetAutoplay() {
						auto++
					}
					if e.GetSurface() == "search" {
						searchPlays++
					}
					if e.GetPlayableId() != e.GetTitleId() {
						series++
					}
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	counts := make([]float64, w.cfg.Titles)
	for i := range counts {
		counts[i] = plays[TitleID(i)]
	}
	for what, x := range map[string]struct{ got, low, high float64 }{
		"sessions a viewer":               {float64(len(sessions)) / float64(w.Viewers()), 9, 15},
		"clicks a slate":                  {clicks / slates, 0.4, 1.6},
		"share of plays finished":         {whole / ended, 0.3, 0.7},
		"share of plays broken off":       {early / ended, 0.03, 0.25},
		"share of plays that autoplay":    {auto / ended, 0.05, 0.4},
		"share of plays by search":        {searchPlays / ended, 0.02, 0.2},
		"share of plays of series":        {series / ended, 0.3, 0.75},
		"likes a hundred plays":           {100 * count[ingestv1.EventType_EVENT_TYPE_LIKE] / ended, 0.3, 8},
		"Gini coefficient of plays":       {gini(counts), 0.4, 0.85},
		"classes of device":               {float64(len(devices)), 5, 5},
		"events a session":                {total(count) / float64(len(sessions)), 3, 15},
		"mean size of a home":             {float64(w.Viewers()) / float64(len(w.households)), 2, 2.6},
		"dislikes for each hundred likes": {100 * count[ingestv1.EventType_EVENT_TYPE_DISLIKE] / count[ingestv1.EventType_EVENT_TYPE_LIKE], 0.5, 60},
	} {
		if !(x.got >= x.low && x.got <= x.high) {
			t.Errorf("%s: %.3g, want %g to %g", what, x.got, x.low, x.high)
		}
	}
}

func total(of map[ingestv1.EventType]float64) (sum float64) {
	for _, n := range of {
		sum += n
	}
	return sum
}

func gini(counts []float64) float64 {
	slices.Sort(counts)
	var sum, weighted float64
	for i, n := range counts {
		sum += n
		weighted += float64(i+1) * n
	}
	n := float64(len(counts))
	return 2*weighted/(n*sum) - (n+1)/n
}

// TestTastesDriftAndHomesShareThem: a viewer's tastes at both ends are alike and not the same, and those of a home are more alike than those
// of strangers.
func TestTastesDriftAndHomesShareThem(t *testing.T) {
	w := world(t, config())
	var drifting, home, strangers, n, pairs float64
	for v := range w.viewers {
		x := &w.viewers[v]
		begin, middle, end := w.taste(x, w.cfg.Start), w.taste(x, w.cfg.Start.Add(w.cfg.End.Sub(w.cfg.Start)/2)), w.taste(x, w.cfg.End)
		drifting += float64(dot(&begin, &end))
		if float64(dot(&begin, &middle))+1e-5 < float64(dot(&begin, &end)) {
			t.Errorf("viewer %d comes back to where the taste was", v)
		}
		n++
		if v > 0 && w.Household(v) == w.Household(v-1) {
			home += float64(dot(&begin, &w.viewers[v-1].before))
			strangers += float64(dot(&begin, &w.viewers[(v+len(w.viewers)/2)%len(w.viewers)].before))
			pairs++
			if w.Country(v) != w.Country(v-1) {
				t.Errorf("viewers %d and %d live together in two countries", v-1, v)
			}
		}
	}
	if mean := drifting / n; mean < 0.7 || mean > 0.99 {
		t.Errorf("tastes at both ends have the cosine %.3f on average", mean)
	}
	if home/pairs < strangers/pairs+0.1 {
		t.Errorf("tastes in a home have the cosine %.3f, of strangers %.3f", home/pairs, strangers/pairs)
	}
}

// TestEpisodesFollowEachOther: a series is played from its first episode on, without gaps, and each playable is one of the catalogue's.
func TestEpisodesFollowEachOther(t *testing.T) {
	w := world(t, config())
	order := map[string]int{}
	for _, title := range w.Titles() {
		n := 0
		for _, s := range title.GetSeasons() {
			for _, e := range s.GetEpisodes() {
				order[e.GetPlayableId()] = n
				n++
			}
		}
		if n == 0 {
			order[title.GetTitleId()] = 0
		}
	}
	again := 0
	for v := range w.Viewers() {
		next := map[string]int{}
		for e := range w.History(v) {
			if e.GetType() != ingestv1.EventType_EVENT_TYPE_PLAY_START {
				continue
			}
			n, ok := order[e.GetPlayableId()]
			if !ok || n != next[e.GetTitleId()] {
				t.Fatalf("%s is played as number %d, want %d", e.GetPlayableId(), n, next[e.GetTitleId()])
			}
			if n > 0 {
				again++
			}
			next[e.GetTitleId()]++
		}
	}
	if again < 100 {
		t.Errorf("%d episodes but first ones were played", again)
	}
}

// TestAWalkEndsWithAnError ends it by each side's.
func TestAWalkEndsWithAnError(t *testing.T) {
	w := world(t, config())
	broken := errors.New("broken")
	ok := Watcher{Event: func(*ingestv1.WatchEvent) error { return nil }}
	if err := w.Walk(0, failing{broken}, ok); !errors.Is(err, broken) {
		t.Errorf("the policy's: %v", err)
	}
	events := 0
	if err := w.Walk(0, w.ByExposure(), Watcher{Event: func(*ingestv1.WatchEvent) error { events++; return broken }}); !errors.Is(err, broken) || events != 1 {
		t.Errorf("the watcher's: %v after %d events", err, events)
	}
	if err := w.Walk(0, w.ByExposure(), Watcher{Event: ok.Event, Slate: func(*Slate) error { return broken }}); !errors.Is(err, broken) {
		t.Errorf("the slates' watcher's: %v", err)
	}
	for range w.History(0) {
		break
	}
}

type failing struct{ err error }

func (f failing) Slate(*rand.Rand, map[int]bool, *Slate) error { return f.err }

// TestNothingButThePolicyChangesAWalk: another policy shows the same viewer something else, the same one the same.
func TestNothingButThePolicyChangesAWalk(t *testing.T) {
	w := world(t, config())
	log := func(p Policy) (out []*ingestv1.WatchEvent) {
		if err := w.Walk(5, p, Watcher{Event: func(e *ingestv1.WatchEvent) error { out = append(out, e); return nil }}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	a, b, c := log(w.ByExposure()), log(w.ByExposure()), log(fixed(w.Best(5, w.cfg.End, nil)))
	same := func(x, y []*ingestv1.WatchEvent) bool {
		return slices.EqualFunc(x, y, func(a, b *ingestv1.WatchEvent) bool { return proto.Equal(a, b) })
	}
	if len(a) == 0 || !same(a, b) || same(a, c) {
		t.Errorf("%d, %d and %d events", len(a), len(b), len(c))
	}
}
