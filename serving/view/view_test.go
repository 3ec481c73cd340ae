package view

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"marquee/ann"
	"marquee/catalog/changes"
	catalogv1 "marquee/catalog/v1"
	"marquee/serving/ids"
)

type model struct {
	titles     []string
	popularity []float32
}

func (m model) Len() int                  { return len(m.titles) }
func (m model) TitleID(row uint32) string { return m.titles[row] }
func (m model) Popularity(row uint32) (allTime, decayed float32) {
	return m.popularity[row], 10 - m.popularity[row]
}

// catalogue puts the titles through what serving reads them from.
func catalogue(t testing.TB, titles ...*catalogv1.Title) iter.Seq[*changes.Title] {
	t.Helper()
	c := changes.NewTitles()
	for i, title := range titles {
		title.Revision = int64(i + 1)
	}
	if err := c.Apply(t.Context(), titles); err != nil {
		t.Fatal(err)
	}
	return c.All()
}

func everywhere() []*catalogv1.Window { return []*catalogv1.Window{{}} }

func names(v *View, rows []uint32) []string {
	var out []string
	for _, r := range rows {
		out = append(out, v.ID(r))
	}
	return out
}

func TestRows(t *testing.T) {
	table := ids.New(1000)
	table.Number("never heard of")
	titles := []*catalogv1.Title{
		{TitleId: "z", Genres: []string{"Drama"}, AddedAt: 5, Availability: everywhere()},
		{TitleId: "b", Genres: []string{"Drama", "Comedy", "Drama"}, AddedAt: 9, Availability: everywhere()},
		{TitleId: "y", Genres: []string{"Comedy"}, Availability: everywhere()},
		{TitleId: "a", Deleted: true, Availability: everywhere()},
	}
	v := Build(7, catalogue(t, titles...), model{[]string{"a", "b", "c"}, []float32{9, 5, 3}}, table)
	if v.Revision() != 7 || v.ModelRows() != 3 || v.Rows() != 66 || v.Len() != 3 {
		t.Errorf("revision %d, %d model rows, %d rows, %d titles", v.Revision(), v.ModelRows(), v.Rows(), v.Len())
	}
	for _, tc := range []struct {
		id  string
		row uint32
		has bool
	}{{"a", 0, false}, {"b", 1, true}, {"c", 2, false}, {"y", 64, true}, {"z", 65, true}} {
		if row := v.Find(tc.id); row != tc.row || v.Has(row) != tc.has || v.InModel(row) != (tc.row < 3) {
			t.Errorf("%s: row %d (in the catalogue: %v), want %d (%v)", tc.id, row, v.Has(row), tc.row, tc.has)
		}
	}
	if row := v.Find("never heard of"); row != None {
		t.Errorf("an unknown title has row %d", row)
	}
	if got := names(v, v.Popular()); !slices.Equal(got, []string{"b", "z", "y"}) {
		t.Errorf("popular %q", got)
	}
	if got := names(v, v.Recent()); !slices.Equal(got, []string{"b"}) {
		t.Errorf("recent %q", got)
	}
	if got := names(v, v.Newest()); !slices.Equal(got, []string{"b", "z"}) {
		t.Errorf("newest %q", got)
	}
	for g := range uint16(v.GenreCount()) {
		want := map[string][]string{"Drama": {"b", "z"}, "Comedy": {"b", "y"}}[v.GenreName(g)]
		if got := names(v, v.OfGenre(g)); !slices.Equal(got, want) {
			t.Errorf("genre %s: %q, want %q", v.GenreName(g), got, want)
		}
	}
}

func TestSeriesKnowsItsLastEpisode(t *testing.T) {
	table := ids.New(1000)
	series := &catalogv1.Title{TitleId: "s", Kind: catalogv1.TitleKind_TITLE_KIND_SERIES, Seasons: []*catalogv1.Season{
		{Number: 2, Episodes: []*catalogv1.Episode{{PlayableId: "s2e1", Number: 1}, {PlayableId: "s2e2", Number: 2}}},
		{Number: 1, Episodes: []*catalogv1.Episode{{PlayableId: "s1e9", Number: 9}}},
	}}
	v := Build(1, catalogue(t, series, &catalogv1.Title{TitleId: "film"}), nil, table)
	if got := table.Name(v.LastPlayable(v.Find("s"))); got != "s2e2" {
		t.Errorf("last episode %q, want s2e2", got)
	}
	if got := v.LastPlayable(v.Find("film")); got != ids.None {
		t.Errorf("a film has last episode %d", got)
	}
}

func TestHardFilters(t *testing.T) {
	age := func(a uint32) *uint32 { return &a }
	titles := []*catalogv1.Title{
		{TitleId: "nowhere", MaturityAge: age(0)},
		{TitleId: "everywhere", MaturityAge: age(0), Availability: everywhere()},
		{TitleId: "unrated", Availability: everywhere()},
		{TitleId: "adult", MaturityAge: age(18), Availability: everywhere()},
		{TitleId: "se", MaturityAge: age(0), Availability: []*catalogv1.Window{{Countries: []string{"SE", "NO"}}}},
		{TitleId: "past", MaturityAge: age(0), Availability: []*catalogv1.Window{{Until: 100}}},
		{TitleId: "future", MaturityAge: age(0), Availability: []*catalogv1.Window{{From: 200}}},
		{TitleId: "twice", MaturityAge: age(0), Availability: []*catalogv1.Window{{Until: 50}, {From: 100, Until: 150, Countries: []string{"SE"}}}},
		{TitleId: "broken", MaturityAge: age(0), Availability: []*catalogv1.Window{{Countries: []string{"sweden"}}}},
	}
	v := Build(1, catalogue(t, titles...), nil, ids.New(1000))
	tests := []struct {
		name string
		who  Audience
		want []string
	}{
		{"no country", Audience{MaxAge: -1, Now: 100}, []string{"everywhere", "unrated", "adult"}},
		{"Sweden", Audience{Country: "SE", MaxAge: -1, Now: 100}, []string{"everywhere", "unrated", "adult", "se", "twice"}},
		{"Sweden, a moment before", Audience{Country: "SE", MaxAge: -1, Now: 99}, []string{"everywhere", "unrated", "adult", "se", "past"}},
		{"Sweden, later", Audience{Country: "SE", MaxAge: -1, Now: 200}, []string{"everywhere", "unrated", "adult", "se", "future"}},
		{"Denmark", Audience{Country: "DK", MaxAge: -1, Now: 100}, []string{"everywhere", "unrated", "adult"}},
		{"a child", Audience{Country: "SE", MaxAge: 7, Now: 100}, []string{"everywhere", "se", "twice"}},
		{"of age", Audience{Country: "DK", MaxAge: 18, Now: 100}, []string{"everywhere", "adult"}},
		{"no country there is", Audience{Country: "se", MaxAge: -1, Now: 100}, nil},
		{"a plan", Audience{MaxAge: -1, Now: 100, Plan: Plan{Key: "k", Covers: func(id string) bool { return id == "adult" }}}, []string{"adult"}},
		{"the plan again", Audience{MaxAge: -1, Now: 100, Plan: Plan{Key: "k", Covers: func(string) bool { t.Error("asked twice"); return true }}}, []string{"adult"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			dst := ann.NewBitmap(v.Rows())
			dst.Fill(v.Rows())
			v.Eligible(dst, tc.who)
			var got []string
			for row := range uint32(v.Rows()) {
				if dst.Has(row) {
					got = append(got, v.ID(row))
				}
			}
			slices.Sort(got)
			slices.Sort(tc.want)
			if !slices.Equal(got, tc.want) {
				t.Errorf("eligible %q, want %q", got, tc.want)
			}
		})
	}
	if got, want := v.CountFiltered(Audience{Country: "SE", MaxAge: 7, Now: 100}), (Filtered{Unavailable: 4, Maturity: 2}); got != want {
		t.Errorf("filtered %+v, want %+v", got, want)
	}
}

// TestMasksAgreeWithTheRule compares the cached masks with the rule applied to one title at a time, at random instants in
// random order.
func TestMasksAgreeWithTheRule(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	countries := []string{"SE", "NO", "DE", "US"}
	var titles []*catalogv1.Title
	for i := range 300 {
		title := &catalogv1.Title{TitleId: fmt.Sprint(i)}
		if rng.IntN(3) > 0 {
			title.MaturityAge = proto.Uint32(uint32(rng.IntN(22)))
		}
		for range rng.IntN(4) {
			w := &catalogv1.Window{From: int64(rng.IntN(50))}
			if rng.IntN(2) == 0 {
				w.Until = w.From + int64(rng.IntN(50)) + 1
			}
			for range rng.IntN(3) {
				w.Countries = append(w.Countries, countries[rng.IntN(len(countries))])
			}
			title.Availability = append(title.Availability, w)
		}
		titles = append(titles, title)
	}
	byID := make(map[string]*catalogv1.Title)
	for _, title := range titles {
		byID[title.TitleId] = title
	}
	v := Build(1, catalogue(t, titles...), nil, ids.New(1000))
	dst := ann.NewBitmap(v.Rows())
	for range 3000 {
		who := Audience{MaxAge: rng.IntN(24) - 1, Now: int64(rng.IntN(110))}
		if rng.IntN(4) > 0 {
			who.Country = countries[rng.IntN(len(countries))]
		}
		v.Eligible(dst, who)
		for row := range uint32(v.Rows()) {
			title := v.Title(row)
			if want := mayShow(byID[title.ID], who); dst.Has(row) != want {
				t.Fatalf("%+v: %v is shown: %v, want %v", who, title, dst.Has(row), want)
			}
		}
	}
}

// mayShow is the rule of the contract, written from its text alone.
func mayShow(t *catalogv1.Title, who Audience) bool {
	if who.MaxAge >= 0 && (t.MaturityAge == nil || int(*t.MaturityAge) > who.MaxAge) {
		return false
	}
	for _, w := range t.GetAvailability() {
		in := len(w.GetCountries()) == 0 || who.Country != "" && slices.Contains(w.GetCountries(), who.Country)
		if in && who.Now >= w.GetFrom() && (w.GetUntil() == 0 || who.Now < w.GetUntil()) {
			return !t.GetDeleted()
		}
	}
	return false
}

func BenchmarkEligible(b *testing.B) {
	for _, n := range []int{3_700, 200_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			titles := make([]*catalogv1.Title, n)
			for i := range titles {
				titles[i] = &catalogv1.Title{TitleId: fmt.Sprint(i), MaturityAge: proto.Uint32(uint32(i % 19)), Availability: everywhere()}
			}
			v := Build(1, catalogue(b, titles...), nil, ids.New(1<<20))
			dst := ann.NewBitmap(v.Rows())
			b.ReportAllocs()
			for b.Loop() {
				v.Eligible(dst, Audience{Country: "SE", MaxAge: 12, Now: 5})
			}
		})
	}
}
