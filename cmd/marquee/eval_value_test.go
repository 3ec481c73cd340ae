package main

import (
	"os"
	"path/filepath"
	"testing"

	"marquee/eval/simulator/logfile"
)

// TestRankerIsWorthMoreByTrueTastes: learnt from what was shown, the order over all sources brings viewers more than any source alone.
func TestRankerIsWorthMoreByTrueTastes(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	in := newInstall(t, filepath.Join(t.TempDir(), "data"))
	in.run("simulate", "--out", log, "--viewers", "1500", "--titles", "300", "--end", "2026-11-01T00:00:00Z", "--seed", "3").ok()
	in.run("import", "titles", filepath.Join(log, logfile.Titles), "--preset", "marquee-titles").ok()
	in.run("import", "events", filepath.Join(log, logfile.Events), "--preset", "marquee-events").ok()
	var w worths
	in.run("eval", "value", "--log", log, "--as-of", "max-event", "--model", "popular,knn,als,hybrid", "--json",
		"--set", "training.ranker.windows=4", "--set", "training.ranker.trees.rounds=80", "--set", "training.ranker.trees.min_leaf=100").ok().json(&w)
	if len(w.Models) != 4 || w.Viewers < 300 || w.Models[3].Less != nil {
		t.Fatalf("worth %+v", w)
	}
	for _, m := range w.Models[:3] {
		t.Logf("%s: %.3f clicks, hybrid %+.3f (%+.3f to %+.3f)", m.Model, m.Clicks, m.Less.Mean, m.Less.Low, m.Less.High)
		if m.Less.Low <= 0 || m.Clicks <= 0 || m.Minutes <= 0 || m.Clicks >= w.Best {
			t.Errorf("%s: %+v, interval %+v; the best %.3f", m.Model, m, *m.Less, w.Best)
		}
	}
	if err := os.WriteFile(filepath.Join(log, logfile.World), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	in.run("eval", "value", "--log", log).fails(exitFailed, "world.json is not what simulate writes")
	in.run("eval", "value", "--log", t.TempDir()).fails(exitFailed, "read the world of the log")
}
