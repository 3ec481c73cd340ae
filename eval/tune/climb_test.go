package tune

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func rungs() Ladder { return Ladder{Name: "dim", Values: []float64{8, 16, 32, 64}} }

// slope is bowl with a dimension that pays up to a point, and a best x that moves with it.
func slope(peak float64) Objective {
	return func(ctx context.Context, p Params, report Report) error {
		d := math.Log2(p["dim"])
		q := Params{"x": p["x"] * math.Pow(1.3, d), "y": p["y"]}
		return bowl(ctx, q, func(round int, score float64) bool {
			return report(round, 10+score-math.Abs(d-math.Log2(peak)))
		})
	}
}

func TestClimbFindsTheDimensionAndTheRest(t *testing.T) {
	for _, peak := range []float64{8, 16, 64} {
		trials, err := Climb(t.Context(), space(), rungs(), slope(peak), Options{Trials: 90, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		best := trials[0]
		if best.Params["dim"] != peak || best.Score < 9.8 || best.Round != 5 {
			t.Errorf("peak at %g: %+v", peak, best)
		}
		above := 0
		for i, x := range trials {
			if i > 0 && x.Score > trials[i-1].Score {
				t.Error("the trials are not in order")
			}
			if x.Params["dim"] > 2*peak {
				above++
			}
		}
		if above > 0 {
			t.Errorf("peak at %g: %d trials beyond the rung after it", peak, above)
		}
	}
}

func TestClimbIsSeeded(t *testing.T) {
	var tried [2][]float64
	for i := range tried {
		if _, err := Climb(t.Context(), space(), rungs(), slope(16), Options{Trials: 50, Seed: 9, Done: func(x Trial) { tried[i] = append(tried[i], x.Params["x"]) }}); err != nil {
			t.Fatal(err)
		}
	}
	if len(tried[0]) != len(tried[1]) || len(tried[0]) > 50 {
		t.Fatalf("%d and %d trials", len(tried[0]), len(tried[1]))
	}
	for i := range tried[0] {
		if tried[0][i] != tried[1][i] {
			t.Fatalf("trial %d differs", i)
		}
	}
}

// TestClimbKeepsItsBudget has trials that end by being cut off alone: what they reported counts.
func TestClimbKeepsItsBudget(t *testing.T) {
	slow := func(ctx context.Context, p Params, report Report) error {
		report(1, p["dim"])
		<-ctx.Done()
		return ctx.Err()
	}
	trials, err := Climb(t.Context(), space(), rungs(), slow, Options{Budget: 30 * time.Millisecond})
	if err != nil || len(trials) != 1 || trials[0].Score != 8 {
		t.Errorf("%+v: %v", trials, err)
	}
	silent := func(ctx context.Context, _ Params, _ Report) error { <-ctx.Done(); return ctx.Err() }
	if _, err := Climb(t.Context(), space(), rungs(), silent, Options{Budget: time.Millisecond}); err == nil || !strings.Contains(err.Error(), "budget of 1ms is too short") {
		t.Errorf("%v", err)
	}
}

// TestClimbInterrupted is asked to stop in its third trial.
func TestClimbInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	trials, err := Climb(ctx, space(), rungs(), func(ctx context.Context, p Params, report Report) error {
		if n++; n == 3 {
			report(1, 100)
			cancel()
			return ctx.Err()
		}
		return bowl(ctx, p, report)
	}, Options{Trials: 30})
	if !errors.Is(err, context.Canceled) || len(trials) != 3 || trials[0].Score != 100 {
		t.Errorf("%d trials: %v", len(trials), err)
	}
}

// TestARungIsForeseen holds what a rung is expected to take to what is known of those below.
func TestARungIsForeseen(t *testing.T) {
	c := &climber{ladder: rungs(), rungs: make([][]Trial, 4), o: Options{Budget: time.Hour, Reserve: 2}, start: time.Now()}
	if c.reserve(0) != 0 {
		t.Error("before the first trial nothing is known")
	}
	c.rungs[0] = []Trial{{Seconds: 1}, {Seconds: 2}}
	if got := c.takes(1); got != 8*time.Second {
		t.Errorf("the second rung is foreseen to take %v", got)
	}
	c.rungs[1] = []Trial{{Seconds: 5}}
	if got := c.takes(2); math.Abs(got.Seconds()-15) > 0.01 {
		t.Errorf("the third rung is foreseen to take %v", got)
	}
	if !c.affords(2) {
		t.Error("an hour is enough")
	}
	c.o.Budget = 40 * time.Second
	if c.affords(2) || !c.affords(1) {
		t.Error("40 seconds are enough for a trial of 5 and what is reserved, not for one of 15")
	}
}

func TestWhatIsNoLadder(t *testing.T) {
	for name, l := range map[string]Ladder{
		"empty": {Name: "dim"}, "falling": {Name: "dim", Values: []float64{2, 1}}, "twice": {Name: "dim", Values: []float64{1, 1}},
		"0": {Name: "dim", Values: []float64{0}}, "taken": {Name: "x", Values: []float64{1}}, "unnamed": {Values: []float64{1}},
	} {
		if _, err := Climb(t.Context(), space(), l, slope(8), Options{Trials: 1}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := Climb(t.Context(), space(), rungs(), slope(8), Options{}); err == nil {
		t.Error("a search without an end was accepted")
	}
	broken := errors.New("broken")
	if _, err := Climb(t.Context(), space(), rungs(), func(context.Context, Params, Report) error { return broken }, Options{Trials: 3}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
