package serving_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"marquee/serving"
	servingv1 "marquee/serving/v1"
)

// TestExploration: a page is the same until its profile does something, and a child's is never explored.
func TestExploration(t *testing.T) {
	w := furnished(t).start()
	at := w.record(w.played("p", "Drama-3", daysAgo(3), 1), w.played("p", "Comedy-2", daysAgo(2), 1))
	ask := func(share float64, v *servingv1.Viewer) *servingv1.RecommendResponse {
		t.Helper()
		return w.recommend(&servingv1.RecommendRequest{Viewer: v, Exploration: proto.Float64(share), Explain: true, MinPosition: at})
	}
	greedy, first, second := ask(0, viewer("p")), ask(.5, viewer("p")), ask(.5, viewer("p"))
	if !slices.Equal(titleIDs(first.GetTitles()), titleIDs(second.GetTitles())) {
		t.Error("nothing was done and the list is another")
	}
	if slices.Equal(titleIDs(first.GetTitles()), titleIDs(greedy.GetTitles())) {
		t.Error("half of the places are drawn by lot and the list is the same")
	}
	moved := 0
	for i, e := range first.GetExplanation().GetTitles() {
		if p := e.GetPropensity(); !(p > 0 && p < 1) {
			t.Errorf("propensity %g", p)
		} else if p < .5 {
			moved++
		}
		if got := greedy.GetExplanation().GetTitles()[i]; got.GetPropensity() != 1 || got.GetRanked() != uint32(i) {
			t.Errorf("place %d without exploration: %v", i, got)
		}
	}
	if moved == 0 {
		t.Error("no title has a small chance")
	}
	at = append(at, w.record(w.played("p", "Comedy-2", daysAgo(1), 1))...)
	if slices.Equal(titleIDs(ask(.5, viewer("p")).GetTitles()), titleIDs(first.GetTitles())) {
		t.Error("the profile did something and the list is the same")
	}
	for _, v := range []*servingv1.Viewer{
		{ProfileId: "p", Kids: true}, {ProfileId: "p", MaxMaturityAge: proto.Uint32(12)},
	} {
		if !slices.Equal(titleIDs(ask(1, v).GetTitles()), titleIDs(ask(0, v).GetTitles())) {
			t.Errorf("a child's list is explored: %v", v)
		}
	}
	home := func() [][]string {
		var out [][]string
		for _, r := range w.home(&servingv1.HomePageRequest{Viewer: viewer("p"), Exploration: proto.Float64(1)}).GetRows() {
			out = append(out, titleIDs(r.GetTitles()))
		}
		return out
	}
	if !slices.EqualFunc(home(), home(), slices.Equal[[]string]) {
		t.Error("nothing was done and the page is another")
	}
}

// TestExplanationTellsOfSources and of every factor of a score.
func TestExplanationTellsOfSources(t *testing.T) {
	w := furnished(t).start()
	at := w.record(w.played("p", "Drama-3", daysAgo(3), 1))
	resp := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p"), Explain: true, MinPosition: at, Boost: "title.genres == ['Comedy'] ? 1.5 : 1.0"})
	e := resp.GetExplanation()
	if e.GetFound()["als"] == 0 || len(e.GetSourceMs()) != len(e.GetFound()) {
		t.Errorf("sources %v, %v", e.GetFound(), e.GetSourceMs())
	}
	if _, ok := e.GetStageMs()["als"]; ok {
		t.Error("a source among the stages")
	}
	for i, x := range e.GetTitles() {
		score := x.GetBase()
		if score > 0 {
			score *= x.GetTrending() * x.GetDislike() * x.GetBoost()
		}
		if got := resp.GetTitles()[i].GetScore(); score-got > 1e-5 || got-score > 1e-5 {
			t.Errorf("%s scores %g, its parts say %g", x.GetTitleId(), got, score)
		}
	}
}

// TestLateSourcesAreLeftOut: an answer without them is an answer, and says so.
func TestLateSourcesAreLeftOut(t *testing.T) {
	w := newWorld(t, func(c *serving.Config, _ *serving.Deps) { c.SourceTimeout = time.Microsecond })
	all := titles(80)
	w.put(all...)
	w.releases.promote(writeRelease(t, w.releases.dir, all, 1, 16, towered(t, all)))
	w.start()
	at := w.record(w.played("p", "Drama-3", daysAgo(3), 1))
	resp := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p"), MinPosition: at})
	if len(resp.GetTitles()) != 20 || resp.GetTitles()[0].GetSource() != "als" {
		t.Errorf("answer %v", resp)
	}
	late := slices.DeleteFunc(slices.Clone(resp.GetDegraded()), func(s string) bool { return !strings.HasPrefix(s, serving.SourceLate) })
	if !slices.Contains(late, "source_late:trending") || !slices.Contains(late, "source_late:tower") || slices.Contains(late, "source_late:als") {
		t.Errorf("late %q", resp.GetDegraded())
	}
}
