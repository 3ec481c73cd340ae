package serving_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	catalogv1 "marquee/catalog/v1"
	"marquee/serving"
	servingv1 "marquee/serving/v1"
)

// plans entitles a profile to the titles whose number its own number divides.
type plans struct{}

func planCovers(profile, title string) bool {
	var p, n int
	if _, err := fmt.Sscanf(profile, "p%d", &p); err != nil || p%3 == 0 {
		return true
	}
	if _, err := fmt.Sscanf(title, "t%d", &n); err != nil {
		return false
	}
	return n%(p%3+1) == 0
}

func (plans) Entitlement(_ context.Context, profile string) (serving.Entitlement, error) {
	if strings.HasSuffix(profile, "7") {
		return serving.Entitlement{}, errors.New("nobody knows")
	}
	e := serving.Entitlement{Covers: func(title string) bool { return planCovers(profile, title) }}
	if strings.HasSuffix(profile, "1") {
		e.Key = "plan of " + profile
	}
	return e, nil
}

// mayShow is the contract's rule for one title, written from its text.
func mayShow(t *catalogv1.Title, v *servingv1.Viewer) bool {
	if t == nil || t.Deleted {
		return false
	}
	if v.GetProfileId() != "" && (strings.HasSuffix(v.GetProfileId(), "7") || !planCovers(v.GetProfileId(), t.TitleId)) {
		return false
	}
	if v != nil && v.MaxMaturityAge != nil && (t.MaturityAge == nil || *t.MaturityAge > *v.MaxMaturityAge) {
		return false
	}
	at := now().UnixMicro()
	for _, a := range t.Availability {
		in := len(a.Countries) == 0 || slices.Contains(a.Countries, v.GetCountry())
		if in && at >= a.From && (a.Until == 0 || at < a.Until) {
			return true
		}
	}
	return false
}

func countries() []string { return []string{"SE", "NO", "DE"} }

func randomTitle(rng *rand.Rand, i int) *catalogv1.Title {
	t := &catalogv1.Title{TitleId: fmt.Sprint("t", i), Name: fmt.Sprint("Title ", i), Kind: catalogv1.TitleKind_TITLE_KIND_FILM, AddedAt: daysAgo(float64(rng.IntN(400)) - 20)}
	t.Genres = []string{genreNames()[rng.IntN(4)]}
	if rng.IntN(4) > 0 {
		t.MaturityAge = proto.Uint32(uint32(rng.IntN(19)))
	}
	for range 1 + rng.IntN(3) {
		w := &catalogv1.Window{}
		if rng.IntN(2) == 0 {
			w.From = daysAgo(float64(rng.IntN(100)) - 30)
		}
		if rng.IntN(2) == 0 {
			w.Until = max(w.From, daysAgo(100)) + rng.Int64N(daysAgo(0)-daysAgo(150))
		}
		for range rng.IntN(3) {
			w.Countries = append(w.Countries, countries()[rng.IntN(3)])
		}
		t.Availability = append(t.Availability, w)
	}
	if rng.IntN(12) == 0 {
		t.Availability = nil
	}
	return t
}

// answersChecked is how many answers the test below checks; SERVING_ANSWERS sets another number, as `make hard-filters` does.
func answersChecked(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SERVING_ANSWERS")
	if text == "" {
		return 10_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 4 {
		t.Fatalf("SERVING_ANSWERS must be a number of 4 or more, is %q", text)
	}
	return n
}

// TestHardFiltersHoldOnEveryRung asks thousands of random questions, with a release that knows most titles, with one that
// knows titles long withdrawn, and with none, and wants not one title that the viewer must not be shown.
func TestHardFiltersHoldOnEveryRung(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	w := newWorld(t, func(_ *serving.Config, d *serving.Deps) {
		d.Entitlements, d.Log = plans{}, slog.New(slog.DiscardHandler)
	})
	byID := make(map[string]*catalogv1.Title)
	var all []*catalogv1.Title
	for i := range 400 {
		title := randomTitle(rng, i)
		all = append(all, title)
		byID[title.TitleId] = title
	}
	w.put(all...)
	for i := range 600 {
		e := w.played(fmt.Sprint("p", i%20), all[rng.IntN(len(all))].TitleId, daysAgo(rng.Float64()*10), rng.Float64())
		w.record(e)
	}
	w.start()
	checked, answers := 0, answersChecked(t)
	for _, rung := range []string{"no release", "a release", "withdrawn titles", "another catalogue"} {
		switch rung {
		case "a release":
			id := w.release(all[:300], 1)
			w.releases.promote(id)
			w.awaitReleaseFor("p1", id)
		case "withdrawn titles":
			var gone []*catalogv1.Title
			for i := range 100 {
				title := &catalogv1.Title{TitleId: all[i*3].TitleId, Deleted: true}
				byID[title.TitleId] = title
				gone = append(gone, title)
			}
			w.put(gone...)
		case "another catalogue":
			var changed []*catalogv1.Title
			for i := range 200 {
				title := randomTitle(rng, i)
				byID[title.TitleId] = title
				changed = append(changed, title)
			}
			w.put(changed...)
		}
		w.until("caught up", func() error { return w.module.Ready(t.Context()) })
		for range answers / 4 {
			checked += w.askAnything(rng, rung, byID)
		}
	}
	if checked < 5*answers {
		t.Errorf("only %d titles were answered", checked)
	}
	t.Logf("%d titles in %d answers checked", checked, answers)
}

// recommendHere asks the service itself: a million answers are not for the network.
func (w *world) recommendHere(m *servingv1.RecommendRequest) *servingv1.RecommendResponse {
	w.t.Helper()
	resp, err := w.module.Service().Recommend(w.t.Context(), connect.NewRequest(m))
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.Msg
}

func (w *world) homeHere(m *servingv1.HomePageRequest) *servingv1.HomePageResponse {
	w.t.Helper()
	resp, err := w.module.Service().HomePage(w.t.Context(), connect.NewRequest(m))
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.Msg
}

func (w *world) awaitReleaseFor(profile, id string) {
	w.t.Helper()
	w.until("released", func() error {
		if got := w.recommend(&servingv1.RecommendRequest{Viewer: viewer(profile)}).BundleId; got != id {
			return errors.New(got)
		}
		return nil
	})
}

// askAnything makes one random request and returns how many titles its answer held, each of them checked.
func (w *world) askAnything(rng *rand.Rand, rung string, byID map[string]*catalogv1.Title) int {
	w.t.Helper()
	v := viewer(fmt.Sprint("p", rng.IntN(25)))
	if rng.IntN(4) > 0 {
		v.Country = countries()[rng.IntN(3)]
	}
	if rng.IntN(2) == 0 {
		v.MaxMaturityAge = proto.Uint32(uint32(rng.IntN(22)))
	}
	wanted, filter := randomFilter(rng)
	var got []*servingv1.Recommendation
	var names []string
	switch rng.IntN(3) {
	case 0:
		got = w.recommendHere(&servingv1.RecommendRequest{Viewer: v, Count: uint32(rng.IntN(60)), Filter: filter}).Titles
	case 1:
		for _, r := range w.homeHere(&servingv1.HomePageRequest{Viewer: v, RowSize: uint32(rng.IntN(12)), Filter: filter}).Rows {
			got = append(got, r.Titles...)
			if r.Kind == "because_you_watched" {
				names = append(names, r.Subject)
			}
		}
	case 2:
		if rng.IntN(4) == 0 {
			v = nil
		}
		r, err := w.module.Service().SimilarTitles(w.t.Context(), connect.NewRequest(&servingv1.SimilarTitlesRequest{TitleId: fmt.Sprint("t", rng.IntN(400)), Viewer: v, Count: uint32(rng.IntN(60)), Filter: filter}))
		if err != nil && connect.CodeOf(err) != connect.CodeNotFound {
			w.t.Fatal(err)
		}
		if err == nil {
			got = r.Msg.Titles
		}
	}
	for _, title := range got {
		if !mayShow(byID[title.TitleId], v) {
			w.t.Fatalf("%s: %v is shown %v", rung, v, byID[title.TitleId])
		}
		if !wanted(byID[title.TitleId], v) {
			w.t.Fatalf("%s: %v, who asks for %q, is shown %v", rung, v, filter, byID[title.TitleId])
		}
	}
	for _, id := range names {
		if !mayShow(byID[id], v) {
			w.t.Fatalf("%s: %v is told of %v", rung, v, byID[id])
		}
	}
	return len(got)
}
