package serving_test

import (
	"math"
	"net/http/httptest"
	"slices"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	catalogv1 "marquee/catalog/v1"
	ingestv1 "marquee/ingest/v1"
	"marquee/serving"
	servingv1 "marquee/serving/v1"
	"marquee/serving/v1/servingv1connect"
)

// admin is the world's service for operators, over HTTP.
func (w *world) admin() servingv1connect.ServingAdminServiceClient {
	w.t.Helper()
	_, h := servingv1connect.NewServingAdminServiceHandler(w.module.Admin())
	server := httptest.NewServer(h)
	w.t.Cleanup(server.Close)
	return servingv1connect.NewServingAdminServiceClient(server.Client(), server.URL)
}

func why(t *testing.T, a servingv1connect.ServingAdminServiceClient, m *servingv1.RecommendRequest, title string) *servingv1.WhyTitleResponse {
	t.Helper()
	resp, err := a.WhyTitle(t.Context(), connect.NewRequest(&servingv1.WhyTitleRequest{Request: m, TitleId: title}))
	if err != nil {
		t.Fatalf("%s: %v", title, err)
	}
	return resp.Msg
}

// TestWhyTitleSaysWhatRecommendDoes: for every title of the catalogue, by every way of asking, what WhyTitle says holds in the answer.
func TestWhyTitleSaysWhatRecommendDoes(t *testing.T) {
	w := furnished(t, func(c *serving.Config, _ *serving.Deps) { c.Candidates = 5 })
	extra := titles(84)
	cold := extra[80:] // in no release
	for _, title := range cold {
		title.AddedAt = daysAgo(3)
	}
	locked := proto.CloneOf(extra[8])
	locked.TitleId, locked.Availability = "locked", []*catalogv1.Window{{Countries: []string{"NO"}}}
	w.put(append(cold, locked)...)
	w.record(w.played("p", "Horror-1", daysAgo(3), 1), w.played("p", "Horror-4", daysAgo(2), 1), w.played("p", "Drama-2", daysAgo(1), 1))
	w.record(w.played("p", "Drama-5", daysAgo(.1), .001))
	w.record(said("p", "Western-2", ingestv1.EventType_EVENT_TYPE_DISLIKE, daysAgo(1)))
	w.start()
	a := w.admin()
	seen := map[string]int{}
	for name, m := range map[string]*servingv1.RecommendRequest{
		"plain":    {Viewer: viewer("p"), Count: 10},
		"filtered": {Viewer: viewer("p"), Count: 10, Filter: `title.year > 1985 && "Horror" in title.genres`},
		"by now":   {Viewer: viewer("p"), Count: 10, Filter: `title.year > 1985 && now - title.added_at > duration("25000h")`},
		"raised":   {Viewer: viewer("p"), Count: 10, Boost: `title.year > 1995 ? 3.0 : 0.5`},
		"cold":     {Viewer: viewer("p"), Count: 10, Boost: `title.year < 1984 ? 50.0 : 1.0`},
		"varied":   {Viewer: viewer("p"), Count: 10, Diversity: proto.Float64(.8)},
		"explored": {Viewer: viewer("p"), Count: 10, Exploration: proto.Float64(.7), Boost: `title.year > 1995 ? 3.0 : 0.5`},
		"young":    {Viewer: &servingv1.Viewer{ProfileId: "p", MaxMaturityAge: proto.Uint32(7)}, Count: 10},
		"nobody":   {Viewer: viewer("nobody"), Count: 10},
	} {
		m.Explain = true
		answer := w.recommend(m)
		for _, title := range append(slices.Clone(extra), locked, &catalogv1.Title{TitleId: "unknown"}) {
			got := why(t, a, m, title.TitleId)
			place := slices.Index(titleIDs(answer.Titles), title.TitleId)
			if (place >= 0) != (got.Place != nil) || place >= 0 && int(got.GetPlace()) != place {
				t.Fatalf("%s: %s is at %d, why says %v", name, title.TitleId, place, got)
			}
			if place < 0 {
				if len(got.Reasons) == 0 || got.RemovedAt == "" || slices.Contains(got.Reasons, "") {
					t.Fatalf("%s: nothing is said of %s: %v", name, title.TitleId, got)
				}
				for _, r := range got.Reasons {
					seen[r]++
				}
				continue
			}
			x := answer.Explanation.Titles[place]
			x.PlayProbability, x.WatchedShare = 0, 0
			if got.GetScore() != answer.Titles[place].Score || got.GetReason() != answer.Titles[place].Reason || !proto.Equal(got.Explanation, x) {
				t.Errorf("%s: %s: why says %v, the answer %v", name, title.TitleId, got, x)
			}
		}
		if got := len(answer.Titles); name != "young" && got == 0 {
			t.Errorf("%s: no titles", name)
		}
	}
	for _, reason := range []string{
		"unknown_title", "unavailable", "maturity", "filter", "seen", "disliked", "just_played", "not_found", "ranked_below", "moved_below", "cold_share",
	} {
		if seen[reason] == 0 {
			t.Errorf("nothing was %s: %v", reason, seen)
		}
	}
}

// TestWhyTitleNamesTheReason holds single titles against what was done to them.
func TestWhyTitleNamesTheReason(t *testing.T) {
	w := furnished(t)
	w.record(w.played("p", "Horror-1", daysAgo(3), 1), w.played("p", "Horror-4", daysAgo(2), 1))
	w.record(w.played("p", "Drama-5", daysAgo(.1), .001), said("p", "Western-2", ingestv1.EventType_EVENT_TYPE_DISLIKE, daysAgo(1)))
	w.start()
	a := w.admin()
	m := &servingv1.RecommendRequest{Viewer: viewer("p"), Count: 5, Filter: `title.id != "Horror-2"`}
	for title, want := range map[string]string{
		"Horror-1": "seen", "Horror-2": "filter", "Drama-5": "just_played", "Western-2": "disliked", "nothing": "unknown_title",
	} {
		if got := why(t, a, m, title); !slices.Equal(got.Reasons, []string{want}) {
			t.Errorf("%s: %v, want %s", title, got.Reasons, want)
		}
	}
	if got := why(t, a, m, "Western-8"); got.RemovedAt == "retrieve" && !(got.GetReleaseScore() <= got.GetLeastFound()) {
		t.Errorf("not found with %g, while %g was", got.GetReleaseScore(), got.GetLeastFound())
	}
}

// TestAnExplanationAddsUp: the parts multiply to the score, whatever raised or moved the title, and the watched titles' to what the vectors say.
func TestAnExplanationAddsUp(t *testing.T) {
	w := furnished(t)
	for i := range 15 {
		w.record(w.played("p", titles(80)[4*i].TitleId, daysAgo(float64(1+i)), 1))
		w.record(w.played("others", "Horror-3", daysAgo(.1*float64(i)), 1))
	}
	w.record(said("p", "Western-2", ingestv1.EventType_EVENT_TYPE_DISLIKE, daysAgo(1)))
	w.start()
	for _, m := range []*servingv1.RecommendRequest{
		{Boost: `title.year > 1995 ? 3.0 : 0.0`}, {Diversity: proto.Float64(.7)}, {Exploration: proto.Float64(.6), Boost: `title.year > 1995 ? 0.3 : 1.0`},
	} {
		m.Viewer, m.Count, m.Explain = viewer("p"), 40, true
		got := w.recommend(m)
		others := 0
		for i, x := range got.Explanation.Titles {
			score := x.Base
			if x.Base > 0 {
				score *= x.Trending * x.Dislike * x.Boost
			}
			if off := math.Abs(score - got.Titles[i].Score); off > 1e-5*max(1, math.Abs(score)) {
				t.Errorf("%s: parts make %g, the score is %g", x.TitleId, score, got.Titles[i].Score)
			}
			sum := x.OtherContributions
			for _, part := range x.Contributions {
				sum += part.Score
			}
			if math.Abs(sum-x.ReleaseScore) > 1e-6 || x.Base > 0 && math.Abs(x.Base-x.ReleaseScore) > 1e-4 {
				t.Errorf("%s: watched titles add up to %g, the release says %g, the base is %g", x.TitleId, sum, x.ReleaseScore, x.Base)
			}
			if math.Abs(x.OtherContributions) > 1e-9 {
				others++
			}
		}
		if others == 0 || len(got.Titles) < 20 {
			t.Errorf("only %d titles, %d with more than are named", len(got.Titles), others)
		}
	}
}

func TestProfileState(t *testing.T) {
	w := furnished(t, func(c *serving.Config, _ *serving.Deps) {
		c.State.MaxTitles = 3
		c.Experiments = []string{"variety: control 1; varied 1 diversity=0.5"}
	})
	w.record(w.played("p", "Horror-1", daysAgo(9), 1), w.played("p", "Horror-4", daysAgo(3), 1), w.played("p", "gone", daysAgo(2), .5))
	at := w.record(said("p", "Western-2", ingestv1.EventType_EVENT_TYPE_DISLIKE, daysAgo(1)))
	w.start()
	a := w.admin()
	resp, err := a.ProfileState(t.Context(), connect.NewRequest(&servingv1.ProfileStateRequest{ProfileId: "p"}))
	if err != nil {
		t.Fatal(err)
	}
	m := resp.Msg
	if !m.Known || m.Events != 4 || m.Stale || len(m.Watermarks) != partitions || m.Watermarks[at[0].Partition] != at[0].Offset+1 || m.Arms["variety"] == "" {
		t.Errorf("the state is %v", m)
	}
	var ids []string
	for _, h := range m.History {
		ids = append(ids, h.TitleId)
	}
	if !slices.Equal(ids, []string{"Western-2", "gone", "Horror-4"}) || !slices.Equal(m.Seen, []string{"Horror-1"}) {
		t.Errorf("history %v, seen %v", ids, m.Seen)
	}
	if h := m.History[0]; !h.Disliked || h.Name != "Western 2" || h.LastAt != daysAgo(1) {
		t.Errorf("the latest is %v", h)
	}
	if h := m.History[1]; h.Name != "" || !h.Watched || h.PlayedAt != daysAgo(2) {
		t.Errorf("the one in no catalogue is %v", h)
	}
	if resp, err = a.ProfileState(t.Context(), connect.NewRequest(&servingv1.ProfileStateRequest{ProfileId: "nobody"})); err != nil || resp.Msg.Known {
		t.Errorf("of nobody there is %v, %v", resp, err)
	}
}
