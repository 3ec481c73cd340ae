package serving_test

import (
	"strings"
	"testing"

	servingv1 "marquee/serving/v1"
)

// TestTheReasonNamesWhatTheScoreComesFrom: without the watched title that a reason names the score is lower than it is, and no watched
// title would be missed more.
func TestTheReasonNamesWhatTheScoreComesFrom(t *testing.T) {
	w := furnished(t)
	watched := []string{"Horror-1", "Horror-4", "Comedy-2", "Drama-7", "Drama-9", "Western-3"}
	// A profile with all of them, and one without each.
	for i, title := range watched {
		for _, profile := range append([]string{"all"}, watched...) {
			if profile != title {
				w.record(w.played(profile, title, daysAgo(float64(1+i)), 1))
			}
		}
	}
	w.start()
	scores := map[string]map[string]float64{}
	for _, profile := range watched {
		scores[profile] = scoresOf(w.recommend(&servingv1.RecommendRequest{Viewer: viewer(profile), Count: 80, Explain: true}))
	}
	got := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("all"), Count: 80, Explain: true})
	with := scoresOf(got)
	compared := map[string]int{}
	for _, title := range got.Titles {
		name, says := strings.CutPrefix(title.Reason, "Because you watched ")
		if !says {
			continue
		}
		named := strings.ReplaceAll(name, " ", "-")
		without, ok := scores[named][title.TitleId]
		if !ok {
			t.Fatalf("%s is not recommended without %s", title.TitleId, name)
		}
		if without >= with[title.TitleId] {
			t.Errorf("%s scores %g, and %g without %s", title.TitleId, with[title.TitleId], without, name)
		}
		for _, other := range watched {
			if less := scores[other][title.TitleId]; less < without-0.03 {
				t.Errorf("%s scores %g without %s, and %g without %s", title.TitleId, without, name, less, other)
			}
		}
		compared[name]++
	}
	if len(compared) < 4 {
		t.Errorf("only %v are named", compared)
	}
}

// scoresOf are the release's scores of the answered titles: the sums of their parts.
func scoresOf(r *servingv1.RecommendResponse) map[string]float64 {
	out := map[string]float64{}
	for _, title := range r.Explanation.Titles {
		for _, part := range title.Contributions {
			out[title.TitleId] += part.Score
		}
	}
	return out
}
