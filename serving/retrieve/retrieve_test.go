package retrieve

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"marquee/ann"
	"marquee/catalog/changes"
	catalogv1 "marquee/catalog/v1"
	ingestv1 "marquee/ingest/v1"
	"marquee/serving/ids"
	"marquee/serving/state"
	"marquee/serving/view"
	"marquee/training/foldin"
	"marquee/training/model"
	"marquee/training/model/modeltest"
)

const hour = int64(3_600_000_000) // µs

func pictured(t testing.TB, v *view.View, b *model.Bundle) *Picture {
	t.Helper()
	p, err := NewPicture(v, b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func at() int64 { return time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).UnixMicro() }

// scene is a picture of six titles in a release, a0 to a2 alike and b0 to b2 alike, and two that are too new for it.
type scene struct {
	t       *testing.T
	table   *ids.Table
	store   *state.Store
	picture *Picture
	q       Query
}

func title(id, genre string, added int64) *catalogv1.Title {
	return &catalogv1.Title{TitleId: id, Name: id, Genres: []string{genre}, AddedAt: added, Year: 2000, Language: "en", Availability: []*catalogv1.Window{{}}}
}

func newScene(t *testing.T, released bool, change ...func(*model.Release)) *scene {
	t.Helper()
	s := &scene{t: t, table: ids.New(1000)}
	s.store = state.New(state.DefaultConfig(), s.table, state.FixedClock(time.UnixMicro(at())))
	r := model.Release{Manifest: model.Manifest{AsOf: time.UnixMicro(at()), Params: foldin.Params{Alpha: 10, Unobserved: .1, Lambda: .01, Nu: 1}}, Index: ann.Options{}}
	var titles []*catalogv1.Title
	for g, genre := range []string{"a", "b"} {
		for i := range 3 {
			id := fmt.Sprint(genre, i)
			titles = append(titles, title(id, genre, at()-1000*hour))
			v := []float32{.1, .1, float32(i) * .1}
			v[g] = 1
			r.TitleIDs, r.Factors = append(r.TitleIDs, id), append(r.Factors, v...)
			r.Popularity, r.Trending = append(r.Popularity, float32(10-len(titles))), append(r.Trending, float32(len(titles)))
		}
	}
	r.Ranker = modeltest.Ranker(t, len(r.TitleIDs), "als_score")
	for _, f := range change {
		f(&r)
	}
	titles = append(titles, title("new-a", "a", at()-hour), title("new-b", "b", at()-2*hour))
	for i := range titles {
		titles[i].Revision = int64(i + 1)
	}
	catalog := changes.NewTitles()
	if err := catalog.Apply(t.Context(), titles); err != nil {
		t.Fatal(err)
	}
	if !released {
		s.picture = pictured(t, view.Build(1, catalog.All(), nil, s.table), nil)
		return s
	}
	path, _, err := model.Write(t.Context(), t.TempDir(), r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := model.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Release(); err != nil {
			t.Error(err)
		}
	})
	s.picture = pictured(t, view.Build(1, catalog.All(), b, s.table), b)
	return s
}

func (s *scene) watch(id string, ago int64, share float64) {
	const film = 6_000_000
	s.store.Apply(state.Event{ProfileID: "p", TitleID: id, PlayID: fmt.Sprint(id, ago), Type: ingestv1.EventType_EVENT_TYPE_PLAY_END, At: at() - ago, WatchedMS: int64(share * film), DurationMS: film})
}

func (s *scene) say(id string, typ ingestv1.EventType) {
	s.store.Apply(state.Event{ProfileID: "p", TitleID: id, Type: typ, At: at() - hour})
}

func (s *scene) begin() *Query {
	s.t.Helper()
	s.q.Begin(s.picture, view.Audience{MaxAge: -1, Now: at()}, s.store.Trending())
	s.q.LoadProfile(s.store, "p")
	if err := s.q.FoldIn(); err != nil {
		s.t.Fatal(err)
	}
	return &s.q
}

func found(q *Query) []string {
	var out []string
	for _, c := range q.Candidates {
		out = append(out, q.Picture.ID(c.Row))
	}
	return out
}

func TestExclusions(t *testing.T) {
	s := newScene(t, true)
	s.watch("a0", 100*hour, 1)
	s.watch("a1", 100*hour, .01) // abandoned long ago: may come back
	s.watch("b0", hour, 0)       // begun just now
	s.say("b1", ingestv1.EventType_EVENT_TYPE_DISLIKE)
	s.say("b2", ingestv1.EventType_EVENT_TYPE_CLICK)
	q := s.begin()
	for id, want := range map[string]bool{"a0": false, "a1": true, "a2": true, "b0": false, "b1": false, "b2": true, "new-a": true} {
		if got := q.Open.Has(s.picture.Find(id)); got != want {
			t.Errorf("%s is open: %v, want %v", id, got, want)
		}
		if !q.Eligible.Has(s.picture.Find(id)) {
			t.Errorf("%s is not eligible: exclusions are not hard filters", id)
		}
	}
	if want := (Excluded{Seen: 1, Disliked: 1, JustPlayed: 1}); q.Excluded != want {
		t.Errorf("excluded %+v, want %+v", q.Excluded, want)
	}
	if !q.Known || len(q.Past) != 5 || !slices.IsSortedFunc(q.Past, func(a, b Past) int { return int(b.LastAt - a.LastAt) }) {
		t.Errorf("history %+v", q.Past)
	}
}

func TestFoldInKnowsLikesFromDislikes(t *testing.T) {
	s := newScene(t, true)
	if q := s.begin(); len(q.Vector) > 0 || q.Known {
		t.Error("an unknown profile has a vector")
	}
	s.say("b1", ingestv1.EventType_EVENT_TYPE_DISLIKE)
	if q := s.begin(); len(q.Vector) > 0 {
		t.Error("a profile that only disliked has a vector")
	}
	s.watch("a0", 100*hour, 1)
	q := s.begin()
	if err := q.FromModel(10); err != nil {
		t.Fatal(err)
	}
	if got := found(q); len(got) != 4 || got[0][0] != 'a' || got[1][0] != 'a' {
		t.Errorf("candidates %q", got)
	}
	if q.TopScore <= 0 || q.Plan.Eligible != 4 {
		t.Errorf("top score %v, plan %v", q.TopScore, q.Plan)
	}
}

func TestAffinity(t *testing.T) {
	s := newScene(t, true)
	s.watch("a0", 100*hour, 1)
	s.watch("a1", 90*hour, 1)
	s.watch("b1", 80*hour, 1)
	q := s.begin()
	var sum float32
	best, most := "", float32(0)
	for g, v := range q.Affinity {
		if sum += v; v > most {
			best, most = s.picture.GenreName(uint16(g)), v
		}
	}
	if best != "a" || sum < .999 || sum > 1.001 {
		t.Errorf("affinity %v, most for %s", q.Affinity, best)
	}
}

func TestSources(t *testing.T) {
	genre := func(q *Query, name string) uint16 {
		for g := range uint16(q.Picture.GenreCount()) {
			if q.Picture.GenreName(g) == name {
				return g
			}
		}
		t.Fatalf("no genre %s", name)
		return 0
	}
	tests := []struct {
		name     string
		released bool
		find     func(*Query)
		want     []string
	}{
		{"popular", true, func(q *Query) { q.FromPopular(3) }, []string{"a0", "a1", "a2"}},
		{"popular, all", true, func(q *Query) { q.FromPopular(9) }, []string{"a0", "a1", "a2", "b0", "b1", "b2", "new-a", "new-b"}},
		{"popular without a release: trending, then newest", false, func(q *Query) { q.FromPopular(3) }, []string{"b1", "new-a", "new-b"}},
		{"trending: the stream, then the release", true, func(q *Query) { q.FromTrending(3) }, []string{"b1", "b2", "b0"}},
		{"new", true, func(q *Query) { q.FromNew(9, 10*hour, false) }, []string{"new-a", "new-b"}},
		{"new, but young", true, func(q *Query) { q.FromNew(9, 2*hour-1, false) }, []string{"new-a"}},
		{"genre", true, func(q *Query) { q.FromGenre(genre(q, "b"), 2) }, []string{"b0", "b1"}},
		{"content", true, func(q *Query) { q.FromContent(q.Picture.Find("new-b"), 2) }, []string{"b0", "b1"}},
		{"similar", true, func(q *Query) { _, _ = q.FromSimilar(q.Picture.Find("a1"), 2) }, []string{"a0", "a2"}},
		{"each once", true, func(q *Query) { q.FromNew(9, 10*hour, true); q.FromPopular(2); q.FromPopular(2) }, []string{"new-a", "new-b", "a0", "a1", "a2", "b0"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := newScene(t, tc.released)
			s.store.Apply(state.Event{ProfileID: "other", TitleID: "b1", PlayID: "x", Type: ingestv1.EventType_EVENT_TYPE_PLAY_END, At: at(), WatchedMS: 6_000_000, DurationMS: 6_000_000})
			q := s.begin()
			tc.find(q)
			got := found(q)
			if tc.name == "similar" {
				slices.Sort(got)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("candidates %q, want %q", got, tc.want)
			}
		})
	}
}

func TestSimilarNeedsTheTitleInTheRelease(t *testing.T) {
	q := newScene(t, true).begin()
	if known, err := q.FromSimilar(q.Picture.Find("new-a"), 3); known || err != nil {
		t.Errorf("known %v, %v", known, err)
	}
}

// TestQueryIsReused runs one query through pictures of different sizes: nothing of one request may leak into the next.
func TestQueryIsReused(t *testing.T) {
	big, small := newScene(t, true), newScene(t, false)
	big.watch("a0", 100*hour, 1)
	var q Query
	for range 3 {
		for _, s := range []*scene{big, small} {
			q.Begin(s.picture, view.Audience{MaxAge: -1, Now: at()}, s.store.Trending())
			q.LoadProfile(s.store, "p")
			if err := q.FoldIn(); err != nil {
				t.Fatal(err)
			}
			q.FromPopular(100)
			want := 8
			if s == big {
				want = 7
			}
			if len(q.Candidates) != want || q.Known != (s == big) || (len(q.Vector) > 0) != (s == big) {
				t.Fatalf("%d candidates, known %v, vector %v", len(q.Candidates), q.Known, q.Vector)
			}
			q.End()
		}
	}
	// The marks of candidates wrap around after four thousand million requests.
	q.Begin(big.picture, view.Audience{MaxAge: -1, Now: at()}, big.store.Trending())
	q.epoch = 1<<32 - 1
	q.mark[0] = 1
	q.Reset()
	if !q.Add(Candidate{Row: 0}) || q.Add(Candidate{Row: 0}) {
		t.Error("a mark outlived the wrap")
	}
}

func TestSourcesHaveTheContractsNames(t *testing.T) {
	var got []string
	for s := range Sources {
		got = append(got, Source(s).String())
	}
	want := []string{"als", "similar", "trending", "popular", "new", "genre", "continue_watching", "content", "knn", "tower"}
	if !slices.Equal(got, want) {
		t.Errorf("sources %q, want %q", got, want)
	}
}
