package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"marquee/eval/benchmark"
)

// split writes a small split in the lightgcn layout: user u has five titles of its block of eight, one more is held out.
func split(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var train, test strings.Builder
	for u := range 40 {
		fmt.Fprintf(&train, "%d", u)
		for i := range 5 {
			fmt.Fprintf(&train, " %d", u%4*8+(u+i)%8)
		}
		fmt.Fprintf(&train, "\n")
		fmt.Fprintf(&test, "%d %d\n", u, u%4*8+(u+5)%8)
	}
	for name, text := range map[string]string{"train.txt": train.String(), "test.txt": test.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestASideJudgesWhatIsHandedOver hands vectors over and has them judged: the three titles of a user's block that it has not seen,
// the held-out one among them, come first nearly always, by chance in one of nine cases.
func TestASideJudgesWhatIsHandedOver(t *testing.T) {
	o := options{data: split(t), dim: 16, k: 3, cpu: 2, handover: t.TempDir()}
	b, err := benchmark.Load("lightgcn", o.data)
	if err != nil {
		t.Fatal(err)
	}
	if err := write(o, b); err != nil {
		t.Fatal(err)
	}
	printed := stdout(t, func() error { return side(t.Context(), o, b) })
	var r result
	if err := json.Unmarshal([]byte(printed), &r); err != nil {
		t.Fatal(err)
	}
	if r.Metrics["hit_rate@3"] < 0.8 || r.Seconds <= 0 || r.PeakBytes < 1<<20 {
		t.Errorf("judged %+v", r)
	}
	for name := range shared(3) {
		if _, ok := r.Metrics[name]; !ok {
			t.Errorf("the judge has no %s", name)
		}
	}
	for _, name := range []string{"users", "titles"} {
		if err := os.Truncate(filepath.Join(o.handover, name), 8); err != nil {
			t.Fatal(err)
		}
	}
	if err := side(t.Context(), o, b); err == nil {
		t.Error("vectors that were cut off were judged")
	}
}

// stdout is what f prints.
func stdout(t *testing.T, f func() error) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stdout
	os.Stdout = w
	failed := f()
	os.Stdout = was
	if err := w.Close(); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestSidesMustAgree(t *testing.T) {
	of := func(ndcg float64) *result {
		return &result{Metrics: map[string]float64{"precision@5": .1, "recall@5": .2, "hit_rate@5": .3, "mrr@5": .4, "ndcg@5": ndcg}}
	}
	if err := agree(of(.5), of(.5+agreement/2), 5); err != nil {
		t.Error(err)
	}
	for _, ndcg := range []float64{.5 + 2*agreement, math.NaN()} {
		if err := agree(of(.5), of(ndcg), 5); err == nil || !strings.Contains(err.Error(), "ndcg@5") {
			t.Errorf("%g against %g: %v", .5, ndcg, err)
		}
	}
	if err := agree(of(.5), &result{}, 5); err == nil {
		t.Error("a side without metrics agrees")
	}
}

func TestMedians(t *testing.T) {
	got := median([]result{{Seconds: 3, PeakBytes: 5}, {Seconds: 9, PeakBytes: 7}, {Seconds: 4, PeakBytes: 1}})
	if got.Seconds != 4 || got.PeakBytes != 7 {
		t.Errorf("%+v", got)
	}
	if got := median([]result{{Seconds: 3}, {Seconds: 4}}); got.Seconds != 3.5 {
		t.Errorf("%+v", got)
	}
}

func TestWhatCannotBeRunIsRefused(t *testing.T) {
	good := options{data: split(t), dim: 4, k: 2, rounds: 1, cpu: 1}
	for name, o := range map[string]struct {
		options
		says string
	}{
		"no split":       {options{data: t.TempDir(), dim: 4, k: 2, rounds: 1, cpu: 1}, "train.txt"},
		"no interpreter": {good, "make bench-eval"},
		"no rounds":      {options{data: good.data, dim: 4, k: 2, cpu: 1}, "-rounds"},
	} {
		if err := run(context.Background(), o.options); err == nil || !strings.Contains(err.Error(), o.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
