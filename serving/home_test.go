package serving_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	catalogv1 "marquee/catalog/v1"
	ingestv1 "marquee/ingest/v1"
	servingv1 "marquee/serving/v1"
)

func kinds(page *servingv1.HomePageResponse) []string {
	var out []string
	for _, r := range page.Rows {
		out = append(out, r.Kind)
	}
	return out
}

func row(t *testing.T, page *servingv1.HomePageResponse, kind string) *servingv1.Row {
	t.Helper()
	i := slices.IndexFunc(page.Rows, func(r *servingv1.Row) bool { return r.Kind == kind })
	if i < 0 {
		t.Fatalf("no row %s in %q", kind, kinds(page))
	}
	return page.Rows[i]
}

// checkPage holds what is true of every page.
func checkPage(t *testing.T, page *servingv1.HomePageResponse, rowSize int) {
	t.Helper()
	where := make(map[string]string)
	for _, r := range page.Rows {
		if r.Heading == "" || len(r.Titles) > rowSize {
			t.Errorf("row %s has heading %q and %d titles", r.Kind, r.Heading, len(r.Titles))
		}
		if r.Kind == "continue_watching" {
			continue
		}
		if len(r.Titles) < 3 {
			t.Errorf("row %s has %d titles", r.Kind, len(r.Titles))
		}
		for _, title := range r.Titles {
			if other, ok := where[title.TitleId]; ok {
				t.Errorf("%s stands in %s and in %s", title.TitleId, other, r.Kind)
			}
			where[title.TitleId] = r.Kind
		}
	}
}

func series(id string, episodes ...string) *catalogv1.Title {
	s := &catalogv1.Title{TitleId: id, Name: id, Kind: catalogv1.TitleKind_TITLE_KIND_SERIES, Genres: []string{"Drama"}, Availability: []*catalogv1.Window{{}}}
	season := &catalogv1.Season{Number: 1}
	for i, e := range episodes {
		season.Episodes = append(season.Episodes, &catalogv1.Episode{PlayableId: e, Number: uint32(i + 1)})
	}
	s.Seasons = []*catalogv1.Season{season}
	return s
}

func TestHomePage(t *testing.T) {
	w := furnished(t)
	for i := range 5 {
		w.put(&catalogv1.Title{TitleId: "fresh" + string(rune('0'+i)), Name: "Fresh", Genres: []string{"Comedy"}, AddedAt: daysAgo(float64(i + 1)), Availability: []*catalogv1.Window{{}}})
	}
	w.put(series("half", "h1", "h2"), series("next", "n1", "n2"), series("over", "o1", "o2"))
	episode := func(title, playable string, at int64, share float64) *ingestv1.WatchEvent {
		e := w.played("p", title, at, share)
		e.PlayableId = playable
		return e
	}
	w.record(
		w.played("p", "Horror-3", daysAgo(3), 1),
		w.played("p", "Comedy-3", daysAgo(2), .97),
		w.played("p", "Drama-4", daysAgo(1), .4),
		w.played("p", "Drama-5", daysAgo(.5), .01),
		episode("half", "h1", daysAgo(5), .5),
		episode("next", "n1", daysAgo(4), 1),
		episode("over", "o2", daysAgo(6), 1),
		w.played("p", "Western-3", daysAgo(8), .4),
		said("p", "Western-3", ingestv1.EventType_EVENT_TYPE_DISLIKE, daysAgo(7)),
	)
	w.start()
	page := w.home(&servingv1.HomePageRequest{Viewer: viewer("p"), RowSize: 4})
	checkPage(t, page, 4)
	if len(page.Rows) > 10 || len(page.Degraded) > 0 {
		t.Errorf("%d rows, degraded %q", len(page.Rows), page.Degraded)
	}
	if got, want := kinds(page)[:7], []string{"continue_watching", "top_picks", "because_you_watched", "trending", "genre", "because_you_watched", "new"}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	if got, want := titleIDs(row(t, page, "continue_watching").Titles), []string{"Drama-4", "next", "half"}; !slices.Equal(got, want) {
		t.Errorf("continue watching %q, want %q", got, want)
	}
	because := row(t, page, "because_you_watched")
	if because.Heading != "Because you watched Comedy 3" || because.Subject != "Comedy-3" {
		t.Errorf("row about %q: %q", because.Subject, because.Heading)
	}
	for _, title := range because.Titles {
		if !strings.HasPrefix(title.TitleId, "Comedy-") || title.Source != "similar" {
			t.Errorf("%v because of Comedy 3", title)
		}
	}
	if got := titleIDs(row(t, page, "new").Titles); !slices.IsSorted(got) || !strings.HasPrefix(got[0], "fresh") {
		t.Errorf("new %q", got)
	}
	genre := row(t, page, "genre")
	for _, title := range genre.Titles {
		if !slices.Contains(title.Genres, genre.Subject) {
			t.Errorf("%s in the row of %s", title.TitleId, genre.Subject)
		}
	}
	for _, r := range page.Rows {
		for _, id := range []string{"Western-3", "Drama-5"} {
			if slices.Contains(titleIDs(r.Titles), id) {
				t.Errorf("%s stands in %s", id, r.Kind)
			}
		}
	}
}

func TestHomePageOfAnUnknownProfile(t *testing.T) {
	w := furnished(t).start()
	page := w.home(&servingv1.HomePageRequest{Viewer: viewer("nobody")})
	checkPage(t, page, 20)
	top := row(t, page, "top_picks")
	if top.Heading != "Popular now" || top.Titles[0].TitleId != "Drama-0" {
		t.Errorf("top picks %q begin with %s", top.Heading, top.Titles[0].TitleId)
	}
	if slices.Contains(kinds(page), "continue_watching") {
		t.Errorf("rows %q", kinds(page))
	}
}

func TestHomePageKeepsToWhatWasAskedFor(t *testing.T) {
	w := furnished(t)
	w.record(w.played("p", "Horror-3", daysAgo(3), .5))
	w.start()
	for _, rows := range []uint32{1, 2, 3, 5} {
		page := w.home(&servingv1.HomePageRequest{Viewer: viewer("p"), Rows: rows, RowSize: 5})
		checkPage(t, page, 5)
		if len(page.Rows) != int(rows) {
			t.Errorf("%d rows, want %d", len(page.Rows), rows)
		}
	}
}

func TestShortRowsAreDropped(t *testing.T) {
	w := newWorld(t)
	all := titles(5)
	w.put(all...)
	w.releases.promote(w.release(all, 1))
	w.start()
	page := w.home(&servingv1.HomePageRequest{Viewer: viewer("p"), RowSize: 3})
	checkPage(t, page, 3)
	if len(page.Rows) != 1 {
		t.Errorf("rows %q of five titles", kinds(page))
	}
}

// TestPageStaysTheSame asks for one page again and again, between pages of other profiles, and wants the same bytes.
func TestPageStaysTheSame(t *testing.T) {
	w := furnished(t)
	var last []*servingv1.Position
	for i := range 30 {
		// All at one instant: nothing but the rows themselves orders them.
		last = append(last, w.record(w.played("p", titles(80)[i*2].TitleId, daysAgo(3), float64(i%11)/10))...)
	}
	w.start()
	var want []byte
	for range 20 {
		page := w.home(&servingv1.HomePageRequest{Viewer: viewer("p"), MinPosition: last})
		if page.RequestId == "" {
			t.Fatal("no request_id")
		}
		page.RequestId = ""
		got, err := proto.MarshalOptions{Deterministic: true}.Marshal(page)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		} else if !slices.Equal(got, want) {
			t.Fatal("the same page came out differently")
		}
		w.home(&servingv1.HomePageRequest{Viewer: viewer("q")})
		w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p"), Count: 50})
	}
}
