package nightly_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"marquee/features"
	"marquee/training/model"
	"marquee/training/model/content"
	"marquee/training/nightly"
	"marquee/training/registry"
)

var allSteps = []string{"incumbent", "evaluate", "train", "promote"}

func comparison(t *testing.T, s *nightly.Summary, against string) nightly.Comparison {
	t.Helper()
	for _, c := range s.Comparisons {
		if c.Against == against {
			return c
		}
	}
	t.Fatalf("no comparison against %s among %+v", against, s.Comparisons)
	return nightly.Comparison{}
}

func says(t *testing.T, s *nightly.Summary, want string) {
	t.Helper()
	if !strings.Contains(strings.Join(s.Gate.Reasons, "\n"), want) {
		t.Errorf("the gate says %q, want something of %q", s.Gate.Reasons, want)
	}
}

// shelf is a catalogue.
type shelf []content.Title

func (s shelf) Titles(context.Context) ([]content.Title, error) { return s, nil }

func TestTheFirstRunPromotesAndTheSameAgainDoesNothing(t *testing.T) {
	eachEngine(t, openWarehouse(t, tribes(4, 40, 30, 12)), func(t *testing.T, h *house) {
		p := h.pipeline()
		p.Catalogue = shelf{{ID: "cold", Name: "Night train", Genres: []string{"Drama"}, Maturity: -1}, {ID: "other", Genres: []string{"Drama"}, Maturity: -1}}
		s := h.run(p, asOf)
		if !s.Promoted || !s.Gate.Pass || s.Bundle == "" || s.Bundle != h.current() || s.Incumbent != "" || len(s.Resumed) != 0 {
			t.Fatalf("first run: %+v, in use is %q", s, h.current())
		}
		says(t, s, "no release before it")
		if s.Protocol != "gt-90" || !s.AsOf.Equal(asOf) || !s.CutAt.After(epoch) || !s.CutAt.Before(asOf) || s.Users < 100 {
			t.Errorf("protocol %s as of %s, cut at %s, %d users", s.Protocol, s.AsOf, s.CutAt, s.Users)
		}
		for _, measured := range []string{"als", "popular", "popular_decayed"} {
			for _, name := range []string{"ndcg@10", "recall@10", "hit_rate@10", "mrr@10", "coverage@10"} {
				if v, ok := s.Metrics[measured][name]; !ok || v < 0 || v > 1 {
					t.Errorf("%s of %s is %v (%v)", name, measured, v, ok)
				}
			}
		}
		if c := comparison(t, s, "popular"); c.Difference.Low <= 0 || c.Ratio <= 1 || c.Difference.Users != s.Users {
			t.Errorf("tribes are beyond popularity, but against it: %+v", c)
		}
		if slices.ContainsFunc(s.Comparisons, func(c nightly.Comparison) bool { return c.Against == "incumbent" }) || s.Metrics["incumbent"] != nil {
			t.Error("the first release was compared with an incumbent")
		}
		m, err := h.registry.Manifest(t.Context(), s.Bundle)
		if err != nil || m.Metrics["als"]["ndcg@10"] != s.Metrics["als"]["ndcg@10"] || m.Profiles != 160 || m.Interactions != 160*12 || m.CodeVersion != "test" {
			t.Errorf("manifest %+v (%v)", m, err)
		}
		if m.Described != 2 || m.Files[model.ContentFile].Bytes == 0 {
			t.Errorf("%d titles of the catalogue are described, want 2", m.Described)
		}
		h.stagingIsEmpty()

		before := h.journal()
		again := h.run(h.pipeline(), asOf)
		if !again.Promoted || again.Bundle != s.Bundle || !slices.Equal(again.Resumed, allSteps) || !slices.Equal(h.journal(), before) {
			t.Errorf("the same again: %+v", again)
		}
		again.Resumed = nil
		if a, b := asJSON(t, s), asJSON(t, again); a != b {
			t.Errorf("the same run again says\n%s\nand not\n%s", b, a)
		}
		c, err := h.registry.Current(t.Context())
		if err != nil || len(c.Changes) != 1 || c.Changes[0].By != "nightly" || len(h.releases()) != 1 {
			t.Errorf("after the same again: %+v, %d releases (%v)", c, len(h.releases()), err)
		}
	})
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSummaryKeysAreStable(t *testing.T) {
	var keys map[string]any
	if err := json.Unmarshal([]byte(asJSON(t, nightly.Summary{Incumbent: "x", Resumed: []string{"x"}, Comparisons: []nightly.Comparison{{}}})), &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"promoted", "bundle", "incumbent", "as_of", "protocol", "cut_at", "users", "metrics", "comparisons", "gate", "resumed"} {
		if _, ok := keys[key]; !ok {
			t.Errorf("%s is gone", key)
		}
	}
	c := keys["comparisons"].([]any)[0].(map[string]any)
	for _, key := range []string{"against", "ndcg@10_difference", "ndcg@10_ratio"} {
		if _, ok := c[key]; !ok {
			t.Errorf("%s of a comparison is gone", key)
		}
	}
}

func TestARefusedReleaseIsKeptOutUntilSomethingChanges(t *testing.T) {
	watches := tribes(4, 40, 30, 12)
	conn := openWarehouse(t, watches)
	h := newHouse(t, conn, sqlite(t))
	good := h.run(h.pipeline(), asOf)
	p := h.pipeline()
	p.Recipe = poor()
	for _, resumed := range [][]string{nil, {"incumbent", "evaluate", "train"}} {
		s := h.run(p, asOf)
		if s.Promoted || s.Gate.Pass || s.Bundle == good.Bundle || s.Incumbent != good.Bundle || h.current() != good.Bundle || !slices.Equal(s.Resumed, resumed) {
			t.Fatalf("a poor recipe: %+v", s)
		}
		says(t, s, "worse than the incumbent")
		if c := comparison(t, s, "incumbent"); c.Difference.High >= 0 || c.Ratio >= 1 || c.Note != "" || s.Metrics["incumbent"]["ndcg@10"] != good.Metrics["als"]["ndcg@10"] {
			t.Errorf("against the incumbent: %+v, %v", c, s.Metrics)
		}
	}
	// Late events arrive: the same instant is other data, and is judged anew.
	insert(t, conn, int64(len(watches)), []watch{{"p:0-0", "t:3-1", epoch.Add(time.Hour)}})
	if s := h.run(p, asOf); len(s.Resumed) != 0 || s.Promoted {
		t.Errorf("with other data: %+v", s)
	}
	// So is the same data beside another release in use.
	best := h.run(h.pipeline(), asOf)
	if !best.Promoted {
		t.Fatalf("%+v", best)
	}
	if s := h.run(p, asOf); s.Incumbent != best.Bundle || slices.Contains(s.Resumed, "evaluate") || s.Promoted {
		t.Errorf("beside another release: %+v", s)
	}
	// And by a laxer gate.
	p.Config.MaxLoss = 0.99
	if s := h.run(p, asOf); s.Promoted {
		t.Errorf("certainly worse, but promoted: %+v", s)
	}
}

func TestAnIncumbentOfTheSameRecipeIsSaidToBeEqual(t *testing.T) {
	h := newHouse(t, openWarehouse(t, tribes(4, 40, 30, 12)), sqlite(t))
	first := h.run(h.pipeline(), asOf.AddDate(0, 0, -20))
	p := h.pipeline()
	p.Recipe.ALS.Workers, p.Recipe.ALS.TrackLoss = 1, false // decide nothing
	s := h.run(p, asOf)
	if !s.Promoted || s.Incumbent != first.Bundle || s.Bundle == first.Bundle {
		t.Fatalf("the next night: %+v", s)
	}
	c := comparison(t, s, "incumbent")
	if c.Difference.Mean != 0 || c.Difference.Low != 0 || c.Difference.High != 0 || c.Ratio != 1 || !strings.Contains(c.Note, "same recipe") {
		t.Errorf("against the incumbent: %+v", c)
	}
	if asJSON(t, s.Metrics["incumbent"]) != asJSON(t, s.Metrics["als"]) {
		t.Errorf("metrics of the incumbent %v, of the candidate %v", s.Metrics["incumbent"], s.Metrics["als"])
	}
	says(t, s, "same recipe")
	m, err := h.registry.Manifest(t.Context(), s.Bundle)
	if err != nil || m.Metrics["incumbent"] != nil {
		t.Errorf("the release carries its incumbent's metrics: %v (%v)", m.Metrics, err)
	}
}

func TestDataThatVanishedIsRefused(t *testing.T) {
	h := newHouse(t, openWarehouse(t, tribes(4, 40, 30, 12)), sqlite(t))
	all := h.run(h.pipeline(), asOf)
	s := h.run(h.pipeline(), epoch.AddDate(0, 0, 40))
	if s.Promoted || h.current() != all.Bundle {
		t.Fatalf("%+v", s)
	}
	says(t, s, "less than half")
	if s := h.run(h.pipeline(), epoch.AddDate(0, 0, 60)); !s.Promoted {
		t.Errorf("with two thirds: %+v", s.Gate)
	}
}

// TestPopularityBeatsIt trains without a word on what was not watched: such scores say nothing of what will be.
func TestPopularityBeatsIt(t *testing.T) {
	h := newHouse(t, openWarehouse(t, tribes(1, 200, 150, 12)), sqlite(t))
	p := h.pipeline()
	p.Recipe.ALS.Dim, p.Recipe.ALS.UnobservedWeight, p.Recipe.ALS.Regularization = 32, 0, 1e-6
	s := h.run(p, asOf)
	if s.Promoted || h.current() != "" {
		t.Fatalf("%+v", s)
	}
	says(t, s, "popular beats it")
	if c := comparison(t, s, "popular"); c.Difference.High >= 0 {
		t.Errorf("against popularity: %+v", c)
	}
}

func TestOnlyTheLastReleasesAndSnapshotsAreKept(t *testing.T) {
	h := newHouse(t, openWarehouse(t, tribes(3, 20, 20, 10)), sqlite(t))
	var ids []string
	for day := range 5 {
		p := h.pipeline()
		p.Config.KeepReleases, p.Config.KeepSnapshots = 2, 2
		s := h.run(p, epoch.AddDate(0, 0, 80+day))
		if !s.Promoted {
			t.Fatalf("day %d: %+v", day, s)
		}
		ids = append(ids, s.Bundle)
	}
	slices.Sort(ids)
	if got := h.releases(); len(got) != 2 || !slices.Contains(got, ids[4]) || !slices.Contains(got, ids[3]) {
		t.Errorf("kept %v, want the last two of %v", got, ids)
	}
	list, err := (&features.Builder{Conn: h.conn, Lake: h.lake}).List(t.Context())
	if err != nil || len(list) != 2 {
		t.Errorf("%d snapshots kept (%v)", len(list), err)
	}
	// Refused releases do not push out the one in use, nor the one before it.
	for seed := range uint64(3) {
		p := h.pipeline()
		p.Config.KeepReleases, p.Recipe = 2, poor()
		p.Recipe.ALS.Seed = 10 + seed
		if s := h.run(p, epoch.AddDate(0, 0, 84)); s.Promoted {
			t.Fatalf("%+v", s)
		}
	}
	if c, err := h.registry.Rollback(t.Context(), registry.Author{By: "operator", Token: 1 << 40}); err != nil || c.ID != ids[3] {
		t.Errorf("rolled back to %s (%v), want %s", c.ID, err, ids[3])
	}
}

func TestARunOverIsNotPromotedAgain(t *testing.T) {
	h := newHouse(t, openWarehouse(t, tribes(3, 20, 20, 10)), sqlite(t))
	first := h.run(h.pipeline(), asOf.AddDate(0, 0, -20))
	second := h.run(h.pipeline(), asOf)
	h.promote(first.Bundle) // an operator goes back
	s := h.run(h.pipeline(), asOf)
	if s.Promoted || !s.Gate.Pass || s.Bundle != second.Bundle || h.current() != first.Bundle || !slices.Equal(s.Resumed, allSteps) {
		t.Errorf("the operator's choice was not kept: %+v", s)
	}
	says(t, s, "put in use since")
}

// TestAStaleEvaluationIsNotUsed: a run that was interrupted before promoting meets another release in use when it goes on.
func TestAStaleEvaluationIsNotUsed(t *testing.T) {
	h := newHouse(t, openWarehouse(t, tribes(4, 40, 30, 12)), sqlite(t))
	p := h.pipeline()
	p.Recipe = poor()
	ctx, cancel := context.WithCancel(t.Context())
	p.Progress = func(step string, _, _ int64) {
		if step == "promote" {
			cancel()
		}
	}
	if _, err := p.Run(ctx, asOf); !errors.Is(err, context.Canceled) {
		t.Fatal(err) // it would have passed: nothing is in use yet
	}
	good := h.run(h.pipeline(), asOf)
	p.Progress = nil
	s := h.run(p, asOf)
	if s.Promoted || s.Incumbent != good.Bundle || h.current() != good.Bundle {
		t.Errorf("a stale verdict: %+v", s)
	}
	if !slices.Equal(s.Resumed, []string{"train"}) {
		t.Errorf("resumed %v, want the trained release alone", s.Resumed)
	}
}

func TestAPrunedReleaseIsMadeAgain(t *testing.T) {
	h := newHouse(t, openWarehouse(t, tribes(3, 20, 20, 10)), sqlite(t))
	h.run(h.pipeline(), asOf)
	p := h.pipeline()
	p.Recipe = poor()
	refused := h.run(p, asOf)
	for seed := range uint64(2) {
		q := h.pipeline()
		q.Recipe.ALS.Seed, q.Config.KeepReleases = 50+seed, 2
		h.run(q, asOf)
	}
	if slices.Contains(h.releases(), refused.Bundle) {
		t.Fatalf("%s was not pruned", refused.Bundle)
	}
	again := h.run(p, asOf)
	if again.Bundle != refused.Bundle || !slices.Contains(h.releases(), refused.Bundle) || slices.Contains(again.Resumed, "train") {
		t.Errorf("made again: %+v", again)
	}
}

// TestADamagedReleaseIsMadeAgain: the release in use is, one that was replaced since stays as it is.
func TestADamagedReleaseIsMadeAgain(t *testing.T) {
	h := newHouse(t, openWarehouse(t, tribes(3, 20, 20, 10)), sqlite(t))
	first := h.run(h.pipeline(), asOf)
	h.damage(first.Bundle)
	again := h.run(h.pipeline(), asOf)
	if again.Bundle != first.Bundle || !again.Promoted || h.current() != first.Bundle || slices.Contains(again.Resumed, "train") {
		t.Errorf("made again: %+v", again)
	}
	if err := h.registry.Verify(t.Context(), first.Bundle); err != nil {
		t.Errorf("after the run: %v", err)
	}
	h.damage(first.Bundle)
	p := h.pipeline()
	p.Recipe = poor()
	h.promote(h.run(p, asOf).Bundle)
	if s := h.run(h.pipeline(), asOf); s.Promoted || !slices.Contains(s.Resumed, "train") {
		t.Errorf("a release that nobody asks for was made again: %+v", s)
	}
}

func TestNothingToLearnFromIsAnErrorAndEndsTheRun(t *testing.T) {
	conn := openWarehouse(t, []watch{{"p:1", "t:1", epoch}, {"p:2", "t:1", epoch}})
	h := newHouse(t, conn, sqlite(t))
	if _, err := h.pipeline().Run(t.Context(), epoch.Add(-time.Hour)); !errors.Is(err, features.ErrNoEvents) {
		t.Errorf("before the first event: %v", err)
	}
	if _, err := h.pipeline().Run(t.Context(), time.Time{}); err == nil || !strings.Contains(err.Error(), "nobody to judge by") {
		t.Errorf("two events: %v", err)
	}
	insert(t, conn, 2, tribes(3, 20, 20, 10))
	if s := h.run(h.pipeline(), time.Time{}); !s.Promoted || len(s.Resumed) != 0 {
		t.Errorf("with data: %+v", s)
	}
}

func TestSettingsOutOfRangeAreRefusedAtOnce(t *testing.T) {
	p := &nightly.Pipeline{Recipe: recipe()}
	if _, err := p.Run(t.Context(), asOf); err == nil || !strings.Contains(err.Error(), "training.nightly.keep_releases must be") {
		t.Errorf("%v", err)
	}
	p = &nightly.Pipeline{Config: nightly.DefaultConfig()}
	if _, err := p.Run(t.Context(), asOf); err == nil || !strings.Contains(err.Error(), "training.als.dim must be") {
		t.Errorf("%v", err)
	}
}
