package serving_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"marquee/ann"
	catalogv1 "marquee/catalog/v1"
	"marquee/serving"
	servingv1 "marquee/serving/v1"
	"marquee/training/foldin"
	"marquee/training/model"
	"marquee/training/model/content"
)

func described(id, name, description, person string, year int32, genres ...string) *catalogv1.Title {
	return &catalogv1.Title{
		TitleId: id, Name: name, Description: description, Genres: genres, Year: year, Kind: catalogv1.TitleKind_TITLE_KIND_FILM,
		People: []*catalogv1.Person{{Name: person}}, MaturityAge: proto.Uint32(12), Availability: []*catalogv1.Window{{}},
	}
}

// coldWorld has a release that knows the watches of two films and describes a catalogue of more.
func coldWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	all := []*catalogv1.Title{
		described("old-1", "Harbour lights", "Smugglers in a harbour.", "Ann One", 1990, "Crime", "Drama"),
		described("old-2", "Green fields", "A farm.", "Bob Two", 1991, "Drama"),
		described("left", "Left alone", "Everybody who began it left.", "Bob Two", 1992, "Drama"),
		described("cold-1", "Harbour nights", "Smugglers again.", "Ann One", 2026, "Crime", "Drama"),
		described("cold-2", "Farm life", "A farm in winter.", "Bob Two", 2026, "Drama"),
		described("cold-3", "Jokes", "Laughter.", "Cat Three", 2026, "Comedy"),
		described("cold-4", "More jokes", "Laughter.", "Cat Three", 2025, "Comedy"),
	}
	w.put(all...)
	var known []content.Title
	for _, title := range all {
		known = append(known, content.Title{
			ID: title.GetTitleId(), Name: title.GetName(), Description: title.GetDescription(), Genres: title.GetGenres(),
			People: []string{title.GetPeople()[0].GetName()}, Year: int(title.GetYear()), Maturity: 12,
		})
	}
	m, err := content.Build(known, content.DefaultWeights())
	if err != nil {
		t.Fatal(err)
	}
	w.releases.promote(written(t, w.releases.dir, model.Release{
		Manifest: model.Manifest{AsOf: now(), Params: foldin.Params{Alpha: 10, Unobserved: .1, Lambda: .01, Nu: 1}}, Index: ann.Options{},
		TitleIDs: []string{"old-1", "old-2", "left"}, Factors: []float32{1, 0, 0, 1, 0, 0}, Content: m,
		Popularity: []float32{9, 5, 0}, Trending: []float32{1, 1, 0},
	}))
	// It entered the catalogue after the release was made.
	w.put(described("newest", "Jokes again", "Not described yet.", "Nobody", 2026, "Comedy"))
	return w.start()
}

func TestATitleNobodyWatchedIsLikeWhatItIs(t *testing.T) {
	w := coldWorld(t)
	for _, c := range []struct {
		title string
		best  string
	}{{"cold-1", "old-1"}, {"cold-2", "old-2"}, {"cold-3", "cold-4"}, {"left", "old-2"}} {
		got := w.similar(&servingv1.SimilarTitlesRequest{TitleId: c.title, Count: 3})
		ids := titleIDs(got.Titles)
		if len(ids) == 0 || slices.Contains(ids, c.title) || c.title != "left" && ids[0] != c.best || !slices.Contains(ids, c.best) {
			t.Fatalf("like %s: %v, want %s first", c.title, ids, c.best)
		}
		if first := got.Titles[0]; first.Source != "content" || first.Score <= 0 || first.Score > 1 || !slices.Equal(got.Degraded, []string{serving.TitleNotInModel}) {
			t.Errorf("like %s: %v, degraded %v", c.title, first, got.Degraded)
		}
	}
	if got := titleIDs(w.similar(&servingv1.SimilarTitlesRequest{TitleId: "newest", Count: 2}).Titles); len(got) != 2 || !slices.Contains(got, "cold-3") || !slices.Contains(got, "cold-4") {
		t.Errorf("like one that came after the release: %v", got)
	}
}

// TestContentKeepsTheHardFilters: likeness opens nothing that the viewer may not see.
func TestContentKeepsTheHardFilters(t *testing.T) {
	w := coldWorld(t)
	young := viewer("p")
	young.MaxMaturityAge = proto.Uint32(6)
	if got := w.similar(&servingv1.SimilarTitlesRequest{TitleId: "cold-1", Count: 5, Viewer: young}); len(got.Titles) != 0 {
		t.Errorf("shown to a child: %v", titleIDs(got.Titles))
	}
}
