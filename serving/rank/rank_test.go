package rank

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"marquee/catalog/changes"
	catalogv1 "marquee/catalog/v1"
	ingestv1 "marquee/ingest/v1"
	"marquee/serving/ids"
	"marquee/serving/retrieve"
	"marquee/serving/state"
	"marquee/serving/view"
	"marquee/training/foldin"
	"marquee/training/model"
	"marquee/training/model/modeltest"
)

const film = 6_000_000 // ms

func at() time.Time { return time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC) }

// query ranks for profile p: 40 titles of two genres in a release, and new-a and new-b that are too new for it.
func query(t *testing.T, events ...state.Event) *retrieve.Query {
	t.Helper()
	return queryOf(t, nil, events...)
}

// queryOf is query with a release that change was told of first.
func queryOf(t *testing.T, change func(*model.Release), events ...state.Event) *retrieve.Query {
	t.Helper()
	table := ids.New(1000)
	store := state.New(state.DefaultConfig(), table, state.FixedClock(at()))
	for _, e := range events {
		store.Apply(e)
	}
	r := model.Release{Manifest: model.Manifest{AsOf: at(), Params: foldin.Params{Alpha: 10, Unobserved: .1, Lambda: .01, Nu: 1}}}
	var titles []*catalogv1.Title
	for i := range 40 {
		genre, v := "a", []float32{1, .1, float32(i) / 100}
		if i%2 == 1 {
			genre, v = "b", []float32{.1, 1, float32(i) / 100}
		}
		id := fmt.Sprint(genre, i/2)
		titles = append(titles, &catalogv1.Title{TitleId: id, Genres: []string{genre}, Year: int32(1980 + i), Availability: []*catalogv1.Window{{}}})
		r.TitleIDs, r.Factors = append(r.TitleIDs, id), append(r.Factors, v...)
		r.Popularity, r.Trending = append(r.Popularity, float32(40-i)), append(r.Trending, 0)
	}
	for _, genre := range []string{"a", "b"} {
		titles = append(titles, &catalogv1.Title{TitleId: "new-" + genre, Genres: []string{genre}, AddedAt: at().UnixMicro() - 1, Availability: []*catalogv1.Window{{}}})
	}
	for i := range titles {
		titles[i].Revision = int64(i + 1)
	}
	catalog := changes.NewTitles()
	if err := catalog.Apply(t.Context(), titles); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&r)
	}
	path, _, err := model.Write(t.Context(), t.TempDir(), r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := model.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Release() })
	q := &retrieve.Query{}
	picture, err := retrieve.NewPicture(view.Build(1, catalog.All(), b, table), b)
	if err != nil {
		t.Fatal(err)
	}
	q.Begin(picture, view.Audience{MaxAge: -1, Now: at().UnixMicro()}, store.Trending())
	q.LoadProfile(store, "p")
	if err := q.FoldIn(); err != nil {
		t.Fatal(err)
	}
	if err := q.FromModel(100); err != nil {
		t.Fatal(err)
	}
	if len(q.Vector) > 0 {
		q.FromNew(10, 1000, true)
	}
	q.FromPopular(100)
	return q
}

func watched(profile, title string) state.Event {
	return state.Event{ProfileID: profile, TitleID: title, PlayID: title, Type: ingestv1.EventType_EVENT_TYPE_PLAY_END, At: at().UnixMicro() - 100*3_600_000_000, WatchedMS: film, DurationMS: film}
}

func ranked(t *testing.T, q *retrieve.Query, cfg Config) []string {
	t.Helper()
	if err := Rank(t.Context(), q, cfg, &Memory{}); err != nil {
		t.Fatal(err)
	}
	var out []string
	for i, c := range q.Candidates {
		if i > 0 && c.Score > q.Candidates[i-1].Score {
			t.Fatalf("candidate %d scores %v after %v", i, c.Score, q.Candidates[i-1].Score)
		}
		out = append(out, q.Picture.ID(c.Row))
	}
	return out
}

func TestReleaseDecides(t *testing.T) {
	got := ranked(t, query(t, watched("p", "a3")), DefaultConfig())
	for i, id := range got[:19] {
		if id[0] != 'a' && id != "new-a" {
			t.Errorf("place %d has %s", i, id)
		}
	}
	// A new title of the favourite genre comes up among the best, one of another genre last.
	if i := slices.Index(got, "new-a"); i > 20 {
		t.Errorf("new-a at place %d", i)
	}
	if i := slices.Index(got, "new-b"); i < 21 {
		t.Errorf("new-b at place %d", i)
	}
}

func TestUnknownProfileGetsPopularity(t *testing.T) {
	got := ranked(t, query(t), DefaultConfig())
	if want := []string{"a0", "b0", "a1"}; !slices.Equal(got[:3], want) {
		t.Errorf("first %q, want %q", got[:3], want)
	}
}

func TestProfileTheReleaseKnowsNothingOf(t *testing.T) {
	e := watched("p", "new-b")
	got := ranked(t, query(t, e), DefaultConfig())
	if want := []string{"b0", "b1", "b2"}; !slices.Equal(got[:3], want) {
		t.Errorf("first %q, want %q: popular titles of the genre watched", got[:3], want)
	}
}

func TestTrendingLifts(t *testing.T) {
	e := watched("other", "a19")
	e.At = at().UnixMicro()
	place := func(boost float64) int {
		cfg := DefaultConfig()
		cfg.TrendingBoost = boost
		return slices.Index(ranked(t, query(t, watched("p", "a3"), e), cfg), "a19")
	}
	if with := place(10); with != 0 {
		t.Errorf("a title that trends is at place %d", with)
	}
}

func TestDislikeLowersWhatIsAlike(t *testing.T) {
	dislike := state.Event{ProfileID: "p", TitleID: "b3", Type: ingestv1.EventType_EVENT_TYPE_DISLIKE, At: at().UnixMicro()}
	score := func(penalty float64) float32 {
		cfg := DefaultConfig()
		cfg.DislikePenalty, cfg.TrendingBoost = penalty, 0
		q := query(t, watched("p", "a3"), watched("p", "b2"), watched("p", "b8"), dislike)
		ranked(t, q, cfg)
		for _, c := range q.Candidates {
			if q.Picture.ID(c.Row) == "b4" {
				return c.Score
			}
		}
		t.Fatal("b4 is no candidate")
		return 0
	}
	full, lowered := score(0), score(.5)
	if full <= 0 || lowered > .55*full {
		t.Errorf("the twin of a disliked title scores %v, without a penalty %v", lowered, full)
	}
}

// TestTheTowersHaveTheirSay: as much as the weight gives them, on the scale of the vectors, and nothing where they were not asked.
func TestTheTowersHaveTheirSay(t *testing.T) {
	q := queryOf(t, func(r *model.Release) {
		// By the towers a and b change places: who watched a title of one likes the other.
		r.Towers = modeltest.LargeTowers(t, len(r.TitleIDs))
		d := r.Towers.Dim
		clear(r.Towers.Vectors)
		likes := make([]float32, len(r.Towers.Vectors))
		for i := range r.TitleIDs {
			r.Towers.Vectors[i*d+i%2], likes[i*d+(i+1)%2] = 1, 1
		}
		r.Towers.User, r.Towers.Probes = modeltest.UserTower(t, likes, d), nil
		r.Towers.Title = modeltest.Numbers(t, r.Towers.Vectors, d)
	}, watched("p", "a0"))
	cfg := DefaultConfig()
	cfg.TowerWeight = 1
	alone := ranked(t, q, cfg)
	if !strings.HasPrefix(alone[0], "a") {
		t.Fatalf("by the vectors %s comes first", alone[0])
	}
	top := q.Candidates[0].Score
	if err := q.FromTower(t.Context(), 10, 0); err != nil {
		t.Fatal(err)
	}
	for weight, want := range map[float64]string{0: "a", .1: "a", 100: "b"} {
		cfg.TowerWeight = weight
		if got := ranked(t, q, cfg); !strings.HasPrefix(got[0], want) {
			t.Errorf("with a weight of %g %s comes first, want one of %s", weight, got[0], want)
		}
		if s := q.Candidates[0].Score; s > 1.2*top || s < .5*top {
			t.Errorf("with a weight of %g the first scores %v, by the vectors alone it was %v", weight, s, top)
		}
	}
}

func TestConfig(t *testing.T) {
	bad := Config{TrendingBoost: -1, DislikePenalty: 2, ColdDiscount: 2}
	want := "serving.rank.trending_boost must be between 0 and 10, is -1\nserving.rank.dislike_penalty must be between 0 and 1, is 2\nserving.rank.cold_discount must be between 0 and 1, is 2"
	if err := bad.Validate(); err == nil || err.Error() != want {
		t.Errorf("error %v", err)
	}
}
