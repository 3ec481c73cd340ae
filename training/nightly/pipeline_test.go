package nightly_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"marquee/features"
	"marquee/internal/db"
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

func TestTheFirstRunPromotesAndTheSameAgainDoesNothing(t *testing.T) {
	eachEngine(t, openWarehouse(t, tribes(4, 40, 30, 12)), func(t *testing.T, h *house) {
		s := h.run(h.pipeline(), asOf)
		if !s.Promoted || !s.Gate.Pass || s.Bundle == "" || s.Bundle != h.current() || s.Incumbent != "" || len(s.Resumed) != 0 {
			t.Fatalf("first run: %+v, in use is %q", s, h.current())
		}
		says(t, s, "no release before it")
		if s.Protocol != "gt-90" || !s.AsOf.Equal(asOf) || !s.CutAt.After(epoch) || !s.CutAt.Before(asOf) || s.Users < 100 {
			t.Errorf("protocol %s as of %s, cut at %s, %d users", s.Protocol, s.AsOf, s.CutAt, s.Users)
		}
		for _, model := range []string{"als", "popular", "popular_decayed"} {
			for _, name := range []string{"ndcg@10", "recall@10", "hit_rate@10", "mrr@10", "coverage@10"} {
				if v, ok := s.Metrics[model][name]; !ok || v < 0 || v > 1 {
					t.Errorf("%s of %s is %v (%v)", name, model, v, ok)
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

// TestInterruptedBeforeAnyStep stops a run as each step begins; a new process goes on and makes the very same release.
func TestInterruptedBeforeAnyStep(t *testing.T) {
	conn := openWarehouse(t, tribes(3, 20, 20, 10))
	whole := newHouse(t, conn, sqlite(t))
	want := whole.run(whole.pipeline(), asOf)
	eachEngine(t, conn, func(t *testing.T, h *house) {
		for i, at := range []string{"features", "evaluate", "train", "publish", "promote", "tidy"} {
			ctx, cancel := context.WithCancel(t.Context())
			p := h.pipeline()
			p.Progress = func(step string, done, total int64) {
				if step == at && done == 0 {
					cancel()
				}
			}
			s, err := p.Run(ctx, asOf)
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("interrupted at %s: %+v, %v", at, s, err)
			}
			inUse := ""
			if at == "tidy" {
				inUse = want.Bundle
			}
			if h.current() != inUse {
				t.Errorf("interrupted at %s: %q is in use", at, h.current())
			}
			if steps := len(h.journal()); steps != []int{0, 1, 2, 2, 3, 4}[i] {
				t.Errorf("interrupted at %s: %d steps are recorded: %v", at, steps, h.journal())
			}
		}
		s := h.run(h.pipeline(), asOf)
		if s.Bundle != want.Bundle || !s.Promoted || !slices.Equal(s.Resumed, allSteps) || asJSON(t, s.Metrics) != asJSON(t, want.Metrics) {
			t.Errorf("after interruptions: %+v, want the release %s", s, want.Bundle)
		}
		if len(h.releases()) != 1 {
			t.Errorf("releases %v", h.releases())
		}
		h.stagingIsEmpty()
	})
}

// dying is a registry whose process dies right after publishing, or after promoting.
type dying struct {
	nightly.Registry
	after string
}

var errCrash = errors.New("the process died here")

func (d dying) PublishDir(ctx context.Context, dir string) error {
	err := d.Registry.PublishDir(ctx, dir)
	if d.after == "publish" {
		err = errors.Join(err, errCrash)
	}
	return err
}

func (d dying) PromoteID(ctx context.Context, id, reason string, token int64) error {
	err := d.Registry.PromoteID(ctx, id, reason, token)
	if d.after == "promote" {
		err = errors.Join(err, errCrash)
	}
	return err
}

func (d dying) PruneReleases(ctx context.Context, keep int) error {
	if d.after == "tidy" {
		return errCrash
	}
	return d.Registry.PruneReleases(ctx, keep)
}

// TestDeathBetweenDoingAndRecording: what was done and not recorded is done again, to no effect.
func TestDeathBetweenDoingAndRecording(t *testing.T) {
	conn := openWarehouse(t, tribes(3, 20, 20, 10))
	eachEngine(t, conn, func(t *testing.T, h *house) {
		for _, after := range []string{"publish", "promote", "tidy"} {
			p := h.pipeline()
			p.Registry = dying{p.Registry, after}
			s, err := p.Run(t.Context(), asOf)
			if !errors.Is(err, errCrash) || (s != nil) != (after == "tidy") {
				t.Fatalf("died after %s: %v, %v", after, s, err)
			}
		}
		s := h.run(h.pipeline(), asOf)
		if !s.Promoted || s.Incumbent != "" || len(h.releases()) != 1 || h.current() != s.Bundle {
			t.Errorf("after three deaths: %+v", s)
		}
	})
}

// paused is a pipeline whose process stands still when a step begins, until it is let go.
func paused(p *nightly.Pipeline, at string) (reached <-chan struct{}, letGo func()) {
	r, g := make(chan struct{}), make(chan struct{})
	p.Progress = func(step string, done, _ int64) {
		if step == at && done == 0 {
			close(r)
			<-g
		}
	}
	return r, func() { close(g) }
}

type outcome struct {
	s   *nightly.Summary
	err error
}

func (h *house) background(p *nightly.Pipeline) <-chan outcome {
	out := make(chan outcome, 1)
	go func() {
		s, err := p.Run(context.Background(), asOf)
		out <- outcome{s, err}
	}()
	return out
}

func TestASecondRunAtTheSameTimeIsTurnedAway(t *testing.T) {
	eachEngine(t, openWarehouse(t, tribes(3, 20, 20, 10)), func(t *testing.T, h *house) {
		p := h.pipeline()
		reached, letGo := paused(p, "evaluate")
		first := h.background(p)
		<-reached
		_, err := h.pipeline().Run(t.Context(), asOf)
		letGo()
		var held *db.HeldError
		if !errors.Is(err, db.ErrLeaseHeld) || !errors.As(err, &held) || !strings.Contains(held.Holder, "process") {
			t.Errorf("the second run: %v", err)
		}
		if o := <-first; o.err != nil || !o.s.Promoted {
			t.Errorf("the first run: %+v, %v", o.s, o.err)
		}
	})
}

// TestARunThatLostItsLeaseChangesNothing pauses a run at each step for longer than its lease lasts. A successor has the lease
// by then, finished or not: the late run may neither record, promote nor prune, even where the successor has not promoted yet.
func TestARunThatLostItsLeaseChangesNothing(t *testing.T) {
	conn := openWarehouse(t, tribes(3, 20, 20, 10))
	eachEngine(t, conn, func(t *testing.T, engine *house) {
		for _, at := range []string{"evaluate", "train", "promote", "tidy"} {
			for _, finished := range []bool{true, false} {
				t.Run(fmt.Sprintf("at %s, successor finished %v", at, finished), func(t *testing.T) {
					h := newHouse(t, conn, sqlite(t))
					if engine.db.Engine() == db.Postgres {
						h.db = engine.db
						wipe(t, h)
					}
					late := h.pipeline()
					late.Config.KeepReleases = 2
					reached, letGo := paused(late, at)
					out := h.background(late)
					<-reached
					h.expire()

					next := h.pipeline()
					next.Recipe.ALS.Seed = 99 // another release than the late run's
					nextReached, nextGo := paused(next, "promote")
					nextOut := h.background(next)
					<-nextReached
					var promoted outcome
					if finished {
						nextGo()
						promoted = <-nextOut
					}
					inUse, recorded := h.current(), h.journal()
					letGo()
					o := <-out
					if !errors.Is(o.err, db.ErrLeaseLost) {
						t.Errorf("the late run: %v, want ErrLeaseLost", o.err)
					}
					if h.current() != inUse || !slices.Equal(h.journal(), recorded) {
						t.Errorf("the late run changed what is in use from %q to %q, or the record", inUse, h.current())
					}
					if !finished {
						nextGo()
						promoted = <-nextOut
					}
					if promoted.err != nil || !promoted.s.Promoted || h.current() != promoted.s.Bundle {
						t.Errorf("the successor: %+v, %v", promoted.s, promoted.err)
					}
				})
			}
		}
	})
}

// wipe empties a database that cases share.
func wipe(t *testing.T, h *house) {
	t.Helper()
	for _, table := range []string{"nightly_steps", "nightly_runs"} {
		if _, err := h.db.NewRaw("DELETE FROM " + table).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPromotionIsFenced: a registry that knows a higher token refuses, whatever the database says.
func TestPromotionIsFenced(t *testing.T) {
	h := newHouse(t, openWarehouse(t, tribes(3, 20, 20, 10)), sqlite(t))
	first := h.run(h.pipeline(), asOf)
	p := h.pipeline()
	p.Recipe.ALS.Seed = 2
	p.Registry = dying{p.Registry, "publish"}
	if _, err := p.Run(t.Context(), asOf); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	releases := h.releases()
	second := releases[slices.IndexFunc(releases, func(id string) bool { return id != first.Bundle })]
	for _, id := range []string{second, first.Bundle} {
		if _, err := h.registry.Promote(t.Context(), id, registry.Author{By: "later", Token: 1 << 40}); err != nil {
			t.Fatal(err)
		}
	}
	p.Registry = h.registry.As("nightly")
	if _, err := p.Run(t.Context(), asOf); !errors.Is(err, registry.ErrFenced) {
		t.Fatalf("promoting with an old token: %v", err)
	}
	if h.current() != first.Bundle {
		t.Errorf("%q is in use", h.current())
	}
	if got := h.journal(); slices.ContainsFunc(got, func(row string) bool {
		return strings.Contains(row, " promote ") && !strings.Contains(row, "no release before")
	}) {
		t.Errorf("a promotion that was refused is recorded: %v", got)
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

// TestAnInterruptedRunOfTheClockGoesOn: the wall clock's instant, and what had arrived by then, stay the same when an
// interrupted run is begun again, although the clock and the log have moved on.
func TestAnInterruptedRunOfTheClockGoesOn(t *testing.T) {
	watches := tribes(3, 20, 20, 10)
	conn := openWarehouse(t, watches)
	eachEngine(t, conn, func(t *testing.T, h *house) {
		ctx, cancel := context.WithCancel(t.Context())
		p := h.pipeline()
		p.Progress = func(step string, _, _ int64) {
			if step == "train" {
				cancel()
			}
		}
		began := time.Now()
		if _, err := p.Run(ctx, time.Time{}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		insert(t, conn, int64(len(watches)), []watch{{"p:new", "t:new", epoch.Add(time.Hour)}})
		watches = append(watches, watch{})
		s := h.run(h.pipeline(), time.Time{})
		if !s.Promoted || !slices.Equal(s.Resumed, []string{"features", "incumbent", "evaluate"}) {
			t.Errorf("it went on as %+v", s)
		}
		if s.AsOf.Before(began.Add(-time.Minute)) || s.AsOf.After(time.Now()) {
			t.Errorf("as of %s", s.AsOf)
		}
		next := h.run(h.pipeline(), time.Time{})
		if !next.AsOf.After(s.AsOf) || len(next.Resumed) != 0 {
			t.Errorf("a finished run was gone on with: %+v", next)
		}
	})
}

// TestAnInterruptedRunIsNotGoneOnWithForEver: not the night after, not after a run at a given instant, and not on features
// that are gone.
func TestAnInterruptedRunIsNotGoneOnWithForEver(t *testing.T) {
	conn := openWarehouse(t, tribes(3, 20, 20, 10))
	for name, c := range map[string]struct {
		meanwhile func(t *testing.T, h *house)
		goesOn    bool
		resumed   []string
	}{
		"a night later": {func(t *testing.T, h *house) {
			if _, err := h.db.NewRaw("UPDATE nightly_runs SET begun_at = begun_at - ?", (13 * time.Hour).Microseconds()).Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, false, nil},
		"after another": {func(t *testing.T, h *house) { h.run(h.pipeline(), asOf) }, false, nil},
		"features gone": {func(t *testing.T, h *house) {
			for o, err := range h.lake.List(t.Context(), "features/interactions/") {
				if err := errors.Join(err, h.lake.Delete(t.Context(), o.Key)); err != nil {
					t.Fatal(err)
				}
			}
		}, true, []string{"incumbent"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, conn, sqlite(t))
			ctx, cancel := context.WithCancel(t.Context())
			p := h.pipeline()
			p.Progress = func(step string, _, _ int64) {
				if step == "evaluate" {
					cancel()
				}
			}
			if _, err := p.Run(ctx, time.Time{}); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			var micros int64
			if err := h.db.NewSelect().Table("nightly_runs").Column("as_of").Scan(t.Context(), &micros); err != nil {
				t.Fatal(err)
			}
			c.meanwhile(t, h)
			s := h.run(h.pipeline(), time.Time{})
			if goesOn := s.AsOf.Equal(time.UnixMicro(micros)); goesOn != c.goesOn || !slices.Equal(s.Resumed, c.resumed) {
				t.Errorf("gone on with: %v, resumed %v; want %v, %v", goesOn, s.Resumed, c.goesOn, c.resumed)
			}
		})
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
