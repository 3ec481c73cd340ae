package nightly_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"marquee/internal/db"
	"marquee/training/nightly"
	"marquee/training/registry"
)

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
					if at == "tidy" {
						for seed := range uint64(2) { // releases to prune
							p := h.pipeline()
							p.Recipe.ALS.Seed = 20 + seed
							h.run(p, asOf)
						}
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
					inUse, recorded, releases := h.current(), h.journal(), h.releases()
					letGo()
					o := <-out
					if !errors.Is(o.err, db.ErrLeaseLost) {
						t.Errorf("the late run: %v, want ErrLeaseLost", o.err)
					}
					if h.current() != inUse || !slices.Equal(h.journal(), recorded) {
						t.Errorf("the late run changed what is in use from %q to %q, or the record", inUse, h.current())
					}
					if at == "tidy" && !slices.Equal(h.releases(), releases) {
						t.Errorf("the late run pruned %v to %v", releases, h.releases())
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
