package serving_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"

	catalogv1 "marquee/catalog/v1"
	servingv1 "marquee/serving/v1"
)

// randomFilter is a filter, or none, and what it means, written from the contract's text.
func randomFilter(rng *rand.Rand) (func(*catalogv1.Title, *servingv1.Viewer) bool, string) {
	genre, age, country := genreNames()[rng.IntN(4)], uint32(rng.IntN(19)), countries()[rng.IntN(3)]
	isGenre := func(t *catalogv1.Title) bool { return slices.Contains(t.GetGenres(), genre) }
	upTo := func(t *catalogv1.Title) bool { return t.MaturityAge != nil && t.GetMaturityAge() <= age }
	here := func(v *servingv1.Viewer) bool { return v.GetCountry() == country }
	switch rng.IntN(6) {
	case 0:
		return func(t *catalogv1.Title, _ *servingv1.Viewer) bool { return isGenre(t) }, fmt.Sprintf("%q in title.genres", genre)
	case 1:
		return func(t *catalogv1.Title, _ *servingv1.Viewer) bool { return upTo(t) }, fmt.Sprintf("title.maturity_age <= %d", age)
	case 2:
		return func(t *catalogv1.Title, v *servingv1.Viewer) bool { return here(v) || isGenre(t) },
			fmt.Sprintf("viewer.country == %q || %q in title.genres", country, genre)
	case 3:
		return func(t *catalogv1.Title, v *servingv1.Viewer) bool { return isGenre(t) && (!here(v) || upTo(t)) },
			fmt.Sprintf("%q in title.genres && (viewer.country != %q || title.maturity_age <= %d)", genre, country, age)
	}
	return func(*catalogv1.Title, *servingv1.Viewer) bool { return true }, ""
}

// TestAFilteredListIsNotShort: whatever the filter, a list holds as many titles as there are that it is true of, and a home page
// nothing else, what is gone on with included.
func TestAFilteredListIsNotShort(t *testing.T) {
	w := newWorld(t)
	all := titles(200)
	w.put(all...)
	for i := range 30 {
		w.record(w.played("p1", all[i*4].TitleId, daysAgo(5), 1), w.played(fmt.Sprint("x", i), all[(i*7)%200].TitleId, daysAgo(3), 1))
	}
	w.record(w.played("p1", all[1].TitleId, daysAgo(1), .3))
	w.start()
	id := w.release(all[:150], 1)
	w.releases.promote(id)
	w.awaitReleaseFor("p1", id)
	for filter, want := range map[string]int{
		`"Western" in title.genres`:                                   50,
		`title.id == "` + all[3].TitleId + `"`:                        1,
		`viewer.device_class == "tv" && "Western" in title.genres`:    50,
		`viewer.device_class == "phone" && "Western" in title.genres`: 0,
		`title.year > 3000`:                                           0,
	} {
		r := w.recommend(&servingv1.RecommendRequest{Viewer: onTV("p1"), Count: 100, Filter: filter, Explain: true})
		if len(r.Titles) != want || r.BundleId != id {
			t.Errorf("%s: %d titles, want %d; release %q", filter, len(r.Titles), want, r.BundleId)
		}
		if !strings.HasPrefix(filter, "viewer.device_class") && r.Explanation.Filtered["filter"] == 0 {
			t.Errorf("%s: the explanation tells of %v", filter, r.Explanation.Filtered)
		}
	}
	begun := all[1].TitleId
	for _, row := range w.home(&servingv1.HomePageRequest{Viewer: onTV("p1"), Filter: `title.id != "` + begun + `"`}).Rows {
		for _, title := range row.Titles {
			if title.TitleId == begun {
				t.Errorf("%s holds the title that was filtered out", row.Kind)
			}
		}
	}
}

func onTV(profile string) *servingv1.Viewer {
	v := viewer(profile)
	v.DeviceClass = "tv"
	return v
}

// TestABoostRaisesScores: a boosted genre comes first, in the order it had, and 0 puts a title last.
func TestABoostRaisesScores(t *testing.T) {
	w := newWorld(t)
	all := titles(80)
	w.put(all...)
	for i := range 10 {
		w.record(w.played("p1", all[i*4].TitleId, daysAgo(5), 1))
	}
	w.start()
	id := w.release(all, 1)
	w.releases.promote(id)
	w.awaitReleaseFor("p1", id)
	plain := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p1"), Count: 70}).Titles
	boosts := map[string]string{"title alone": `"Horror" in title.genres ? 100 : 1`, "viewer too": `"Horror" in title.genres && viewer.country == "" ? 100.0 : 1.0`}
	for name, boost := range boosts {
		t.Run(name, func(t *testing.T) {
			raised := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p1"), Count: 70, Boost: boost}).Titles
			want := map[string]float64{}
			for _, r := range plain {
				want[r.TitleId] = r.Score
				if r.Score > 0 && slices.Contains(r.Genres, "Horror") {
					want[r.TitleId] *= 100
				}
			}
			for i, r := range raised {
				if w := want[r.TitleId]; r.Score < w-1e-3*abs(w) || r.Score > w+1e-3*abs(w) {
					t.Errorf("%s of %v scores %v, want %v", r.TitleId, r.Genres, r.Score, w)
				}
				if i > 0 && r.Score > raised[i-1].Score {
					t.Errorf("%s stands behind a lower score", r.TitleId)
				}
			}
			if len(raised) == 0 || !slices.Contains(raised[0].Genres, "Horror") {
				t.Errorf("first is %v", raised[0])
			}
		})
	}
}

func abs(x float64) float64 { return max(x, -x) }

// TestAWrongExpressionIsTheCallersMistake, whichever call it is in, and says which of the two and where.
func TestAWrongExpressionIsTheCallersMistake(t *testing.T) {
	w := newWorld(t)
	w.put(titles(10)...)
	w.start()
	ctx := t.Context()
	wrong := func(call string, err error, want string) {
		t.Helper()
		if connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", call, err, want)
		}
	}
	_, err := w.client.Recommend(ctx, connect.NewRequest(&servingv1.RecommendRequest{Viewer: viewer("p1"), Filter: "title.yaer > 1"}))
	wrong("Recommend", err, "filter: expression: column 6: undefined field 'yaer'")
	_, err = w.client.Recommend(ctx, connect.NewRequest(&servingv1.RecommendRequest{Viewer: viewer("p1"), Boost: "true"}))
	wrong("Recommend", err, "boost: expression: its value must be a double or an int, is bool")
	_, err = w.client.HomePage(ctx, connect.NewRequest(&servingv1.HomePageRequest{Viewer: viewer("p1"), Filter: "1"}))
	wrong("HomePage", err, "filter: expression: its value must be a bool, is int")
	_, err = w.client.SimilarTitles(ctx, connect.NewRequest(&servingv1.SimilarTitlesRequest{TitleId: "t1", Filter: "((("}))
	wrong("SimilarTitles", err, "filter: expression: column")
}

// TestDiversityIsOfTheRequest: a request that asks for it gets a list less alike, in another order.
func TestDiversityIsOfTheRequest(t *testing.T) {
	w := newWorld(t)
	all := titles(80)
	w.put(all...)
	for i := range 10 {
		w.record(w.played("p1", all[i*4].TitleId, daysAgo(5), 1))
	}
	w.start()
	id := w.release(all, 1)
	w.releases.promote(id)
	w.awaitReleaseFor("p1", id)
	order := func(diversity *float64) (ids []string) {
		for _, r := range w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p1"), Diversity: diversity}).Titles {
			ids = append(ids, r.TitleId)
		}
		return ids
	}
	plain := order(nil)
	if none := order(new(0.0)); !slices.Equal(none, plain) {
		t.Errorf("diversity 0: %v, unsaid: %v", none, plain)
	}
	if much := order(new(0.8)); slices.Equal(much, plain) || len(much) != len(plain) || much[0] != plain[0] {
		t.Errorf("diversity .8: %v, unsaid: %v", much, plain)
	}
	// Validation stands in front of the service and refuses what is out of range; behind it, it is taken for the nearest within.
	if beyond := order(new(7.0)); !slices.Equal(beyond, order(new(1.0))) {
		t.Errorf("diversity 7: %v", beyond)
	}
}
