package retrieve

import (
	"math"
	"slices"
	"strings"
	"testing"

	"marquee/catalog/changes"
	catalogv1 "marquee/catalog/v1"
	ingestv1 "marquee/ingest/v1"
	"marquee/serving/view"
	"marquee/training/model"
	"marquee/training/model/content"
	"marquee/training/model/modeltest"
)

// withTowers has towers by genre, and one more new title of which the catalogue says nothing.
func withTowers(t *testing.T) *scene {
	t.Helper()
	return newScene(t, true, func(r *model.Release) {
		var known []content.Title
		for _, id := range append(slices.Clone(r.TitleIDs), "other-a", "other-b") {
			known = append(known, content.Title{ID: id, Genres: []string{strings.TrimPrefix(id, "other-")[:1]}, Maturity: -1})
		}
		modeltest.Towers(t, r, known)
	})
}

func TestTowersFindWhatTheReleaseKnowsAndWhatIsNew(t *testing.T) {
	s := withTowers(t)
	s.watch("b0", hour, 1)
	s.watch("a0", 2*hour, .01) // abandoned: the towers are told of what speaks for a title
	s.say("a1", ingestv1.EventType_EVENT_TYPE_DISLIKE)
	q := s.begin()
	if err := q.FromTower(t.Context(), 2, 5); err != nil {
		t.Fatal(err)
	}
	if got := found(q); !slices.Equal(got, []string{"b1", "b2", "new-b"}) {
		t.Errorf("found %v", got)
	}
	for _, c := range q.Candidates {
		if c.Source != Tower || c.Subject != view.None || !(c.Score > 0) {
			t.Errorf("candidate %+v", c)
		}
	}
	for id, want := range map[string]float32{"new-a": 0, "new-b": 1} {
		if like, ok := q.TowerLiking(s.picture.Find(id)); !ok || math.Abs(float64(like-want)) > 1e-6 {
			t.Errorf("%s is liked %v (%t), want %v", id, like, ok, want)
		}
	}
	b, _ := q.TowerScore(s.picture.Find("b1"))
	a, ok := q.TowerScore(s.picture.Find("a2"))
	if !ok || math.Abs(float64(b-1)) > 1e-6 || a != 0 {
		t.Errorf("b1 scores %v and a2 %v (%t), want 1 and 0", b, a, ok)
	}
	if _, ok := q.TowerLiking(s.picture.Find("a2")); ok {
		t.Error("a title that the release knows is taken for a new one")
	}
	q.Reset()
	if err := q.FromTower(t.Context(), 1, 0); err != nil || len(q.Candidates) != 1 {
		t.Errorf("one and no new one: %v, %v", found(q), err)
	}
	// Another request knows nothing of the last.
	q = s.begin()
	if _, ok := q.TowerScore(0); ok {
		t.Error("the towers score before they are asked")
	}
	if _, ok := q.TowerLiking(s.picture.Find("new-b")); ok {
		t.Error("the towers like before they are asked")
	}
}

func TestWithoutTowersOrHistoryNothingIsFound(t *testing.T) {
	for name, s := range map[string]*scene{"no towers": newScene(t, true), "no release": newScene(t, false), "no history": withTowers(t)} {
		if name != "no history" {
			s.watch("b0", hour, 1)
		}
		q := s.begin()
		if err := q.FromTower(t.Context(), 5, 5); err != nil || len(q.Candidates) > 0 {
			t.Errorf("%s: %v, %v", name, found(q), err)
		}
	}
}

// TestVectorsOfNewTitlesAreKept from one picture of a release to the next, and made anew of what changed.
func TestVectorsOfNewTitlesAreKept(t *testing.T) {
	s := withTowers(t)
	b := s.picture.Bundle
	catalog := changes.NewTitles()
	titles := []*catalogv1.Title{title("new-b", "b", at()), title("newer", "a", at()), title("unknown", "c", at())}
	for i := range titles {
		titles[i].Revision = int64(i + 1)
		if titles[i].TitleId == "unknown" {
			titles[i].Language, titles[i].Year = "", 0
		}
	}
	if err := catalog.Apply(t.Context(), titles); err != nil {
		t.Fatal(err)
	}
	first := pictured(t, view.Build(1, catalog.All(), b, s.table), b)
	vector := func(p *Picture, id string) []float32 { return p.fresh.vector(p.Find(id), b.TowerDim()) }
	if v := vector(first, "unknown"); slices.Max(v) != 0 {
		t.Errorf("a title of which nothing is known has the vector %v", v)
	}
	clear(vector(first, "new-b")) // to tell whether it is taken over
	changed := title("newer", "b", at())
	changed.Revision = 9
	if err := catalog.Apply(t.Context(), []*catalogv1.Title{changed}); err != nil {
		t.Fatal(err)
	}
	next, err := NewPictureAfter(first, view.Build(9, catalog.All(), b, s.table), b)
	if err != nil {
		t.Fatal(err)
	}
	if v := vector(next, "new-b"); slices.Max(v) != 0 {
		t.Error("a vector that was there was made again")
	}
	whole := pictured(t, view.Build(9, catalog.All(), b, s.table), b)
	if !slices.Equal(vector(next, "newer"), vector(whole, "new-b")) || slices.Max(vector(whole, "new-b")) == 0 {
		t.Error("a title that became another has the vector it had")
	}
}
