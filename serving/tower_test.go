package serving_test

import (
	"fmt"
	"slices"
	"testing"

	catalogv1 "marquee/catalog/v1"
	servingv1 "marquee/serving/v1"
	"marquee/training/model"
	"marquee/training/model/content"
	"marquee/training/model/modeltest"
)

// towered gives a release towers by what the titles are.
func towered(t testing.TB, all []*catalogv1.Title) func(*model.Release) {
	return func(r *model.Release) {
		var known []content.Title
		for _, title := range all {
			known = append(known, content.Title{ID: title.GetTitleId(), Genres: title.GetGenres(), Maturity: -1})
		}
		modeltest.Towers(t, r, known)
	}
}

// TestTheTowersFindATitleOfTheLastMinute: who watched Westerns is shown one that was published after the release, which the towers found, and
// the explanation says so.
func TestTheTowersFindATitleOfTheLastMinute(t *testing.T) {
	w := newWorld(t)
	all := titles(80)
	w.put(all...)
	release := writeRelease(t, w.releases.dir, all, 1, 16, towered(t, all))
	w.releases.promote(release)
	w.start()
	w.awaitRelease(release)
	western, horror := titles(80)[3], titles(80)[2]
	western.TitleId, horror.TitleId = "Western-new", "Horror-new"
	for _, title := range []*catalogv1.Title{western, horror} {
		title.AddedAt = 0 // not known, so that no other source has it for being new
	}
	w.put(western, horror)
	positions := w.record(w.played("p", "Western-3", daysAgo(2), 1), w.played("p", "Western-7", daysAgo(3), 1))
	asked := &servingv1.RecommendRequest{Viewer: viewer("p"), Count: 20, Explain: true, MinPosition: positions}
	var got *servingv1.RecommendResponse
	w.until("found by the towers", func() error {
		got = w.recommend(asked)
		at := slices.IndexFunc(got.GetTitles(), func(r *servingv1.Recommendation) bool { return r.GetTitleId() == "Western-new" })
		if at < 0 || got.GetTitles()[at].GetSource() != "tower" || got.GetExplanation().GetFound()["tower"] == 0 || len(got.GetDegraded()) > 0 {
			return fmt.Errorf("the new Western is not in %v, found %v, degraded %v", titleIDs(got.GetTitles()), got.GetExplanation().GetFound(), got.GetDegraded())
		}
		return nil
	})
	if slices.Contains(titleIDs(got.GetTitles()), "Horror-new") {
		t.Errorf("so is the new horror film: %v", titleIDs(got.GetTitles()))
	}
	if _, timed := got.GetExplanation().GetSourceMs()["tower"]; !timed {
		t.Errorf("the explanation's times are %v", got.GetExplanation().GetSourceMs())
	}
	if page := w.home(&servingv1.HomePageRequest{Viewer: viewer("p")}); len(page.GetDegraded()) > 0 || len(page.GetRows()) < 3 {
		t.Errorf("a page of %d rows, %v", len(page.GetRows()), page.GetDegraded())
	}
	// Somebody of whom nothing is known has no vector, and is shown what is popular.
	if got := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("q"), Count: 5, Explain: true}); got.GetExplanation().GetFound()["tower"] != 0 || len(got.GetTitles()) != 5 {
		t.Errorf("found %v for a stranger", got.GetExplanation().GetFound())
	}
	plain := w.release(all, 2)
	w.releases.promote(plain)
	w.awaitRelease(plain)
	if got := w.recommend(asked); len(got.GetDegraded()) > 0 || got.GetExplanation().GetFound()["als"] == 0 {
		t.Errorf("a release without towers: %v, found %v", got.GetDegraded(), got.GetExplanation().GetFound())
	} else if _, asked := got.GetExplanation().GetFound()["tower"]; asked {
		t.Error("towers were asked that the release has not")
	}
}
