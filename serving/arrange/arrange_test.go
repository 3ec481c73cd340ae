package arrange

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
	"marquee/serving/rank"
	"marquee/serving/retrieve"
	"marquee/serving/state"
	"marquee/serving/view"
)

const film = 6_000_000 // ms

func at() time.Time { return time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC) }

// query is ready to be arranged: 30 titles of three genres, no release, and what profile p did.
func query(t *testing.T, events ...state.Event) *retrieve.Query {
	t.Helper()
	table := ids.New(1000)
	store := state.New(state.DefaultConfig(), table, state.FixedClock(at()))
	for _, e := range events {
		e.ProfileID = "p"
		store.Apply(e)
	}
	var titles []*catalogv1.Title
	for i := range 30 {
		genre := []string{"a", "b", "c"}[i%3]
		titles = append(titles, &catalogv1.Title{
			TitleId: fmt.Sprint(genre, i/3), Name: fmt.Sprint(genre, i/3), Genres: []string{genre}, Revision: int64(i + 1),
			AddedAt: at().AddDate(0, 0, -30*i).UnixMicro(), Availability: []*catalogv1.Window{{}},
		})
	}
	catalog := changes.NewTitles()
	if err := catalog.Apply(t.Context(), titles); err != nil {
		t.Fatal(err)
	}
	q := &retrieve.Query{}
	picture, err := retrieve.NewPicture(view.Build(1, catalog.All(), nil, table), nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Begin(picture, view.Audience{MaxAge: -1, Now: at().UnixMicro()}, store.Trending())
	q.LoadProfile(store, "p")
	q.FromPopular(100)
	if err := rank.Rank(t.Context(), q, rank.DefaultConfig(), &rank.Memory{}); err != nil {
		t.Fatal(err)
	}
	return q
}

func played(title string, daysAgo int, share float64) state.Event {
	watched := int64(share * film)
	return state.Event{TitleID: title, PlayID: title, Type: ingestv1.EventType_EVENT_TYPE_PLAY_END, At: at().AddDate(0, 0, -daysAgo).UnixMicro(), WatchedMS: watched, PositionMS: watched, DurationMS: film}
}

func page(t *testing.T, q *retrieve.Query, s Settings, cfg Config) []string {
	t.Helper()
	var p Page
	s.NewFor, s.Rank = int64(100*24*time.Hour/1000), rank.DefaultConfig()
	p.Build(q, s, cfg)
	if p.Failed != nil {
		t.Fatal(p.Failed)
	}
	var out []string
	for _, r := range p.Rows {
		var titles []string
		for _, c := range p.Items[r.From:r.To] {
			titles = append(titles, q.Picture.ID(c.Row))
		}
		out = append(out, r.Kind+": "+strings.Join(titles, " "))
	}
	return out
}

func TestList(t *testing.T) {
	q := query(t)
	first := List(nil, q, 5, DefaultConfig(), 1)
	second := List(nil, q, 100, DefaultConfig(), 1)
	if len(first) != 5 || len(second) != 25 {
		t.Fatalf("lists of %d and %d, want 5 and the 25 that are left", len(first), len(second))
	}
	for _, c := range first {
		if slices.ContainsFunc(second, func(o retrieve.Candidate) bool { return o.Row == c.Row }) {
			t.Errorf("%s stands in both lists", q.Picture.ID(c.Row))
		}
	}
}

func TestPages(t *testing.T) {
	tests := []struct {
		name     string
		events   []state.Event
		settings Settings
		cfg      func(*Config)
		want     []string
	}{
		{"nobody", nil, Settings{Rows: 10, RowSize: 3}, nil, []string{
			"top_picks: a0 b0 c0", "genre: a1 a2 a3", "genre: b1 b2 b3", "genre: c1 c2 c3",
		}},
		{"two rows", nil, Settings{Rows: 2, RowSize: 4}, nil, []string{"top_picks: a0 b0 c0 a1", "genre: a2 a3 a4 a5"}},
		{"somebody", []state.Event{played("b5", 2, 1), played("c5", 3, .5)}, Settings{Rows: 10, RowSize: 3}, nil, []string{
			"continue_watching: c5", "top_picks: b0 c0 a0", "because_you_watched: b1 b2 b3", "genre: b4 b6 b7", "genre: c1 c2 c3", "genre: a1 a2 a3",
		}},
		{"no genres", nil, Settings{Rows: 10, RowSize: 3}, func(c *Config) { c.GenreRows, c.MinRow = 0, 1 }, []string{"top_picks: a0 b0 c0", "new: a1"}},
		{"rows too short", nil, Settings{Rows: 10, RowSize: 12}, func(c *Config) { c.MinRow = 8 }, []string{
			"top_picks: a0 b0 c0 a1 b1 c1 a2 b2 c2 a3 b3 c3",
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			cfg := DefaultConfig()
			if tc.cfg != nil {
				tc.cfg(&cfg)
			}
			if got := page(t, query(t, tc.events...), tc.settings, cfg); !slices.Equal(got, tc.want) {
				t.Errorf("page\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tc.want, "\n  "))
			}
		})
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{{ColdShare: -1}, {MinRow: 0}, {MinRow: 1, GenreRows: 99}, {MinRow: 1, BecauseRows: 11}, {MinRow: 1, Exploration: 2}, {MinRow: 1}, {MinRow: 1, ExplorePool: 1, ExploreFrom: -1}} {
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "serving.arrange.") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
