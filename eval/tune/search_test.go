package tune

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// bowl is best at x = 3e-3, y = 7, and better with every round up to the fifth.
func bowl(_ context.Context, p Params, report Report) error {
	for round := 1; round <= 20; round++ {
		score := -math.Abs(math.Log10(p["x"]/3e-3)) - math.Abs(p["y"]-7)/10 - math.Abs(float64(round)-5)/100
		if !report(round, score) {
			return nil
		}
	}
	return nil
}

func space() Space {
	return Space{{Name: "x", Low: 1e-5, High: 1, Log: true}, {Name: "y", Low: 0, High: 20, Whole: true}}
}

func TestFindsTheBest(t *testing.T) {
	for seed := range uint64(5) {
		trials, err := Search(t.Context(), space(), bowl, Options{Trials: 80, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		best := trials[0]
		if best.Score < -0.35 || best.Round != 5 {
			t.Errorf("seed %d found %+v", seed, best)
		}
		stopped := 0
		for i, x := range trials {
			if i > 0 && x.Score > trials[i-1].Score {
				t.Error("the trials are not in order")
			}
			if x.Params["x"] < 1e-5 || x.Params["x"] > 1 || x.Params["y"] != math.Round(x.Params["y"]) {
				t.Errorf("tried %v", x.Params)
			}
			if x.Stopped {
				stopped++
			}
		}
		if stopped < 10 {
			t.Errorf("%d of 80 were stopped for falling behind", stopped)
		}
	}
}

func TestTheSameSeedTriesTheSame(t *testing.T) {
	var tried [2][]Params
	for i := range tried {
		if _, err := Search(t.Context(), space(), bowl, Options{Trials: 20, Seed: 9, Done: func(x Trial) { tried[i] = append(tried[i], x.Params) }}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.EqualFunc(tried[0], tried[1], func(a, b Params) bool { return a["x"] == b["x"] && a["y"] == b["y"] }) {
		t.Error("the same seed tried other parameters")
	}
}

func TestTheFirstAreTriedFirst(t *testing.T) {
	first := Params{"x": 0.5, "y": 1}
	trials, err := Search(t.Context(), space(), bowl, Options{Trials: 1, First: []Params{first}})
	if err != nil || len(trials) != 1 || trials[0].Params["x"] != 0.5 {
		t.Errorf("%+v: %v", trials, err)
	}
}

func TestTheBudgetEndsIt(t *testing.T) {
	rounds := 0
	trials, err := Search(t.Context(), space(), func(ctx context.Context, _ Params, report Report) error {
		report(1, 1)
		rounds++
		<-ctx.Done() // A trial that would go on for ever is cut off and keeps what it reported.
		return ctx.Err()
	}, Options{Budget: 20 * time.Millisecond})
	if err != nil || len(trials) != 1 || rounds != 1 || trials[0].Score != 1 {
		t.Errorf("%+v, %d rounds: %v", trials, rounds, err)
	}
	if _, err := Search(t.Context(), space(), func(ctx context.Context, _ Params, _ Report) error { <-ctx.Done(); return ctx.Err() },
		Options{Budget: 5 * time.Millisecond}); err == nil || !strings.Contains(err.Error(), "too short") {
		t.Errorf("a budget too short for anything: %v", err)
	}
}

func TestNaNIsTheWorst(t *testing.T) {
	n := 0
	trials, err := Search(t.Context(), space(), func(_ context.Context, _ Params, report Report) error {
		n++
		if n == 1 {
			report(1, math.NaN())
			return nil
		}
		report(1, -5)
		return nil
	}, Options{Trials: 2})
	if err != nil || trials[0].Score != -5 {
		t.Errorf("%+v: %v", trials, err)
	}
}

func TestWhatCannotBeSearched(t *testing.T) {
	for name, s := range map[string]Space{
		"empty": nil, "twice": {{Name: "a", High: 1}, {Name: "a", High: 1}}, "backwards": {{Name: "a", Low: 2, High: 1}},
		"log of 0": {{Name: "a", High: 1, Log: true}}, "NaN": {{Name: "a", High: math.NaN()}}, "unnamed": {{High: 1}},
	} {
		if _, err := Search(t.Context(), s, bowl, Options{Trials: 1}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := Search(t.Context(), space(), bowl, Options{}); err == nil {
		t.Error("a search without an end was accepted")
	}
	broken := errors.New("broken")
	if _, err := Search(t.Context(), space(), func(context.Context, Params, Report) error { return broken }, Options{Trials: 3}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Search(ctx, space(), func(ctx context.Context, _ Params, _ Report) error { return ctx.Err() }, Options{Trials: 3}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
