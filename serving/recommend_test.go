package serving_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	catalogv1 "marquee/catalog/v1"
	ingestv1 "marquee/ingest/v1"
	"marquee/serving"
	servingv1 "marquee/serving/v1"
)

func TestUnknownProfileGetsWhatIsPopular(t *testing.T) {
	w := furnished(t).start()
	got := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("nobody"), Count: 5})
	want := []string{"Drama-0", "Comedy-0", "Horror-0", "Western-0", "Drama-1"}
	if !slices.Equal(titleIDs(got.Titles), want) {
		t.Errorf("titles %q, want %q", titleIDs(got.Titles), want)
	}
	if first := got.Titles[0]; first.Source != "popular" || first.Reason != "Popular" || first.Name != "Drama 0" || first.Year != 1980 || first.Genres[0] != "Drama" {
		t.Errorf("first title %v", first)
	}
	if len(got.Degraded) > 0 || got.BundleId == "" || len(got.RequestId) != 36 {
		t.Errorf("answer %v", got)
	}
}

func TestRecommendsByHistory(t *testing.T) {
	w := furnished(t)
	for _, id := range []string{"Horror-3", "Horror-5", "Horror-7"} {
		w.record(w.played("p", id, daysAgo(3), 1))
	}
	w.record(w.played("p", "Western-1", daysAgo(9), .01)) // abandoned
	w.start()
	got := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p"), Count: 10})
	if len(got.Titles) != 10 {
		t.Fatalf("%d titles, want 10", len(got.Titles))
	}
	for i, title := range got.Titles {
		if !strings.HasPrefix(title.TitleId, "Horror-") || slices.Contains([]string{"Horror-3", "Horror-5", "Horror-7"}, title.TitleId) {
			t.Errorf("title %d is %s", i, title.TitleId)
		}
		if !strings.HasPrefix(title.Reason, "Because you watched Horror ") {
			t.Errorf("reason %q", title.Reason)
		}
		if i > 0 && title.Score > got.Titles[i-1].Score {
			t.Errorf("score %v after %v", title.Score, got.Titles[i-1].Score)
		}
	}
}

func TestWhatWasPlayedIsGoneFromTheNextAnswer(t *testing.T) {
	w := furnished(t).start()
	w.record(w.played("p", "Comedy-2", daysAgo(1), 1))
	gone := []string{"Comedy-2"}
	for range 15 {
		// Whatever stands first is played: for a moment only, or to its end.
		first := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p"), Count: 10}).Titles[0].TitleId
		share := []float64{0, .5, 1}[len(gone)%3]
		gone = append(gone, first)
		positions := w.record(w.played("p", first, now().UnixMicro(), share))
		got := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p"), Count: 40, MinPosition: positions})
		for _, id := range gone {
			if slices.Contains(titleIDs(got.Titles), id) {
				t.Fatalf("%s was played and is recommended again: %q", id, titleIDs(got.Titles))
			}
		}
		if len(got.Degraded) > 0 {
			t.Fatalf("degraded %q", got.Degraded)
		}
	}
}

func TestWhatWasTurnedDownIsGoneAndItsNeighboursFall(t *testing.T) {
	w := furnished(t).start()
	w.record(w.played("p", "Comedy-2", daysAgo(2), 1), w.played("p", "Horror-2", daysAgo(2), 1))
	place := func(positions []*servingv1.Position) (horror int, ids []string) {
		ids = titleIDs(w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p"), Count: 20, MinPosition: positions}).Titles)
		for _, id := range ids {
			if strings.HasPrefix(id, "Horror-") {
				horror++
			}
		}
		return horror, ids
	}
	at := now().UnixMicro()
	for _, typ := range []ingestv1.EventType{ingestv1.EventType_EVENT_TYPE_DISLIKE, ingestv1.EventType_EVENT_TYPE_NOT_INTERESTED} {
		at += 2
		before, ids := place(nil)
		i := slices.IndexFunc(ids, func(id string) bool { return strings.HasPrefix(id, "Horror-") })
		if i < 0 {
			t.Fatalf("no horror left to turn down in %q", ids)
		}
		after, left := place(w.record(said("p", ids[i], typ, at)))
		if slices.Contains(left, ids[i]) {
			t.Errorf("%s was turned down and is still there", ids[i])
		}
		if typ == ingestv1.EventType_EVENT_TYPE_DISLIKE && after >= before {
			t.Errorf("%d of horror before a dislike, %d after", before, after)
		}
		// A change of mind brings the neighbours back.
		place(w.record(said("p", ids[i], ingestv1.EventType_EVENT_TYPE_LIKE, at+1)))
	}
}

func TestAskingForEventsThatDoNotCome(t *testing.T) {
	w := furnished(t, func(c *serving.Config, _ *serving.Deps) { c.MinPositionWait = 10 * time.Millisecond }).start()
	got := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p"), MinPosition: []*servingv1.Position{{Partition: 0, Offset: 99}}})
	if !slices.Equal(got.Degraded, []string{serving.StateStale}) || len(got.Titles) != 20 {
		t.Errorf("degraded %q with %d titles", got.Degraded, len(got.Titles))
	}
	_, err := w.client.Recommend(t.Context(), connect.NewRequest(&servingv1.RecommendRequest{Viewer: viewer("p"), MinPosition: []*servingv1.Position{{Partition: 77}}}))
	if connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), "partitions 0 to 3") {
		t.Errorf("a partition that is not there: %v", err)
	}
}

func TestRefusesARequestWithoutAProfile(t *testing.T) {
	w := furnished(t).start()
	for _, v := range []*servingv1.Viewer{nil, {}} {
		_, err := w.client.Recommend(t.Context(), connect.NewRequest(&servingv1.RecommendRequest{Viewer: v}))
		if connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), "viewer.profile_id") {
			t.Errorf("Recommend: %v", err)
		}
		_, err = w.client.HomePage(t.Context(), connect.NewRequest(&servingv1.HomePageRequest{Viewer: v}))
		if connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("HomePage: %v", err)
		}
	}
}

func TestExplains(t *testing.T) {
	w := furnished(t, func(c *serving.Config, _ *serving.Deps) { c.Rank.TrendingBoost = 0 })
	w.record(w.played("p", "Horror-3", daysAgo(3), 1), w.played("p", "Comedy-3", daysAgo(4), .5))
	w.start()
	got := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p"), Count: 10, Explain: true})
	e := got.Explanation
	if e == nil || e.HistoryLength != 2 || !strings.Contains(e.SearchPlan, "exact") || e.Filtered["seen"] != 2 {
		t.Fatalf("explanation %v", e)
	}
	for _, stage := range []string{"retrieve", "filter", "rank", "arrange"} {
		if _, ok := e.StageMs[stage]; !ok {
			t.Errorf("no time of stage %s in %v", stage, e.StageMs)
		}
	}
	if len(e.Titles) != 10 {
		t.Fatalf("%d titles explained, want 10", len(e.Titles))
	}
	for i, title := range e.Titles {
		var sum float64
		for _, c := range title.Contributions {
			sum += c.Score
		}
		if title.TitleId != got.Titles[i].TitleId || math.Abs(sum-got.Titles[i].Score) > 1e-3 {
			t.Errorf("%s scores %v, its parts add up to %v", title.TitleId, got.Titles[i].Score, sum)
		}
		if len(title.Contributions) != 2 || title.Contributions[0].Name == "" {
			t.Errorf("contributions %v", title.Contributions)
		}
	}
	if plain := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p")}); plain.Explanation != nil {
		t.Error("explained without being asked")
	}
}

func TestNewTitlesComeThrough(t *testing.T) {
	w := furnished(t)
	w.record(w.played("p", "Horror-3", daysAgo(3), 1), w.played("p", "Horror-4", daysAgo(3), 1))
	w.start()
	w.put(
		&catalogv1.Title{TitleId: "fresh", Name: "Fresh", Genres: []string{"Horror"}, AddedAt: daysAgo(1), Availability: []*catalogv1.Window{{}}},
		&catalogv1.Title{TitleId: "later", Name: "Later", Genres: []string{"Horror"}, AddedAt: daysAgo(-1), Availability: []*catalogv1.Window{{}}},
	)
	w.until("recommended", func() error {
		got := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p")}).Titles
		i := slices.Index(titleIDs(got), "fresh")
		if i < 0 {
			return errors.New("not there yet")
		}
		if got[i].Source != "new" || got[i].Reason != "Newly added" {
			t.Errorf("the new title comes as %v", got[i])
		}
		if slices.Contains(titleIDs(got), "later") {
			t.Error("a title that is added tomorrow is new today")
		}
		return nil
	})
	w.put(&catalogv1.Title{TitleId: "fresh", Deleted: true})
	w.until("withdrawn", func() error {
		if slices.Contains(titleIDs(w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p")}).Titles), "fresh") {
			return errors.New("still there")
		}
		return nil
	})
}

func TestTrendingLiftsWhatEverybodyWatches(t *testing.T) {
	w := furnished(t).start()
	var last []*servingv1.Position
	for i := range 20 {
		last = w.record(w.played("q"+string(rune('a'+i)), "Western-9", daysAgo(.1), 1))
	}
	page := w.home(&servingv1.HomePageRequest{Viewer: viewer("nobody"), MinPosition: last})
	i := slices.IndexFunc(page.Rows, func(r *servingv1.Row) bool { return r.Kind == "trending" })
	w.until("trending", func() error {
		page = w.home(&servingv1.HomePageRequest{Viewer: viewer("nobody")})
		if i = slices.IndexFunc(page.Rows, func(r *servingv1.Row) bool { return r.Kind == "trending" }); i < 0 || page.Rows[i].Titles[0].TitleId != "Western-9" {
			return errors.New("not yet")
		}
		return nil
	})
}

// ticket entitles to Westerns, or fails.
type ticket struct{ err error }

func (k ticket) Entitlement(context.Context, string) (serving.Entitlement, error) {
	return serving.Entitlement{Key: "west", Covers: func(id string) bool { return strings.HasPrefix(id, "Western-") }}, k.err
}

func TestEntitlement(t *testing.T) {
	with := func(k ticket) option { return func(_ *serving.Config, d *serving.Deps) { d.Entitlements = k } }
	t.Run("covers", func(t *testing.T) {
		w := furnished(t, with(ticket{})).start()
		got := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p"), Count: 50})
		if len(got.Titles) != 20 {
			t.Errorf("%d titles, want the 20 that are covered", len(got.Titles))
		}
		for _, title := range got.Titles {
			if !strings.HasPrefix(title.TitleId, "Western-") {
				t.Errorf("%s is not covered", title.TitleId)
			}
		}
	})
	t.Run("unknown", func(t *testing.T) {
		w := furnished(t, with(ticket{errors.New("billing is down")})).start()
		got := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p")})
		if len(got.Titles) > 0 || !slices.Equal(got.Degraded, []string{serving.EntitlementUnavailable}) {
			t.Errorf("%d titles, degraded %q", len(got.Titles), got.Degraded)
		}
		page := w.home(&servingv1.HomePageRequest{Viewer: viewer("p")})
		if len(page.Rows) > 0 || !slices.Equal(page.Degraded, []string{serving.EntitlementUnavailable}) {
			t.Errorf("%d rows, degraded %q", len(page.Rows), page.Degraded)
		}
	})
}

func TestSimilarTitles(t *testing.T) {
	w := furnished(t)
	fresh := &catalogv1.Title{TitleId: "fresh", Name: "Fresh", Genres: []string{"Western"}, Availability: []*catalogv1.Window{{}}}
	bare := &catalogv1.Title{TitleId: "bare", Name: "Bare", Availability: []*catalogv1.Window{{}}}
	w.put(fresh, bare)
	w.record(said("p", "Horror-1", ingestv1.EventType_EVENT_TYPE_DISLIKE, daysAgo(1)))
	w.start()
	tests := []struct {
		name     string
		title    string
		prefix   string
		degraded []string
		reason   string
	}{
		{"known to the release", "Horror-3", "Horror-", nil, "Like Horror 3"},
		{"too new for the release", "fresh", "Western-", []string{serving.TitleNotInModel}, "Like Fresh"},
		{"nothing known of it", "bare", "", []string{serving.TitleNotInModel}, "Popular"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got := w.similar(&servingv1.SimilarTitlesRequest{TitleId: tc.title, Count: 10, Viewer: viewer("p")})
			if len(got.Titles) != 10 || !slices.Equal(got.Degraded, tc.degraded) {
				t.Fatalf("%d titles, degraded %q", len(got.Titles), got.Degraded)
			}
			for _, r := range got.Titles {
				if r.TitleId == tc.title || r.TitleId == "Horror-1" && tc.prefix != "" || !strings.HasPrefix(r.TitleId, tc.prefix) || r.Reason != tc.reason {
					t.Errorf("%v is like %s", r, tc.title)
				}
			}
		})
	}
	_, err := w.client.SimilarTitles(t.Context(), connect.NewRequest(&servingv1.SimilarTitlesRequest{TitleId: "never made"}))
	if connect.CodeOf(err) != connect.CodeNotFound || !strings.Contains(err.Error(), `title "never made" is not in the catalogue`) {
		t.Errorf("an unknown title: %v", err)
	}
}
