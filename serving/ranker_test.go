package serving_test

import (
	"testing"

	ingestv1 "marquee/ingest/v1"
	servingv1 "marquee/serving/v1"
	"marquee/training/model"
	"marquee/training/model/modeltest"
)

// TestTheReleasesRankerIsAsked: a release that ranks by popularity answers by popularity, says so, and foretells what becomes of titles.
func TestTheReleasesRankerIsAsked(t *testing.T) {
	w := newWorld(t)
	all := titles(80)
	w.put(all...)
	ranks := writeRelease(t, w.releases.dir, all, 1, 16, func(r *model.Release) { r.Ranker = modeltest.Ranker(t, len(r.TitleIDs), "title_percentile") })
	w.releases.promote(ranks)
	w.start()
	w.awaitRelease(ranks)
	var plays []*ingestv1.WatchEvent
	for _, title := range all[70:73] {
		plays = append(plays, w.played("p", title.TitleId, daysAgo(2), 1))
	}
	asked := &servingv1.RecommendRequest{Viewer: viewer("p"), Count: 10, Explain: true, MinPosition: w.record(plays...)}
	got := w.recommend(asked)
	if by := got.GetExplanation().GetRankedBy(); by != "ranker" || len(got.GetDegraded()) > 0 {
		t.Fatalf("ranked by %q, %v", by, got.GetDegraded())
	}
	if got.GetTitles()[0].GetTitleId() != all[0].TitleId {
		t.Errorf("first is %s, want the most popular, %s", got.GetTitles()[0].GetTitleId(), all[0].TitleId)
	}
	if _, asked := got.GetExplanation().GetFound()["knn"]; !asked {
		t.Errorf("neighbours were not asked: %v", got.GetExplanation().GetFound())
	}
	for _, e := range got.GetExplanation().GetTitles() {
		if !(e.GetPlayProbability() > .5 && e.GetPlayProbability() < 1) || !(e.GetWatchedShare() > 0 && e.GetWatchedShare() < 1) {
			t.Errorf("%s is foretold %v and %v", e.GetTitleId(), e.GetPlayProbability(), e.GetWatchedShare())
		}
	}
	if page := w.home(&servingv1.HomePageRequest{Viewer: viewer("p")}); len(page.GetRows()) < 3 {
		t.Errorf("a page of %d rows", len(page.GetRows()))
	}
	vectors := w.release(all, 1)
	w.releases.promote(vectors)
	w.awaitRelease(vectors)
	if by := w.recommend(asked).GetExplanation().GetRankedBy(); by != "vectors" {
		t.Errorf("without a ranker it is ranked by %q", by)
	}
}
