package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOursIsMeasured(t *testing.T) {
	w := smallWorld()
	w.users, w.batch = 300, 64
	got, err := ours(context.Background(), w, w.histories(), 2, 7)
	if err != nil || len(got.Seconds) != 7 || len(got.CPU) != 7 || slices.Min(got.Seconds) <= 0 {
		t.Errorf("%+v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := ours(ctx, w, w.histories(), 2, 7); err == nil {
		t.Error("an interrupted measurement was taken")
	}
}

func TestHistoriesHaveTitlesOnce(t *testing.T) {
	w := smallWorld()
	for u, h := range w.histories() {
		if len(h) != w.width || len(slices.Compact(slices.Sorted(slices.Values(h)))) != w.width || slices.Max(h) >= uint32(w.titles) {
			t.Fatalf("user %d: %v", u, h)
		}
	}
}

// TestTheBestVariantCounts runs the comparison with a peer that prints what it is told.
func TestTheBestVariantCounts(t *testing.T) {
	var s summary
	s.Steps = map[string]float64{}
	us := timing{Seconds: []float64{0.01, 0.03, 0.02}, CPU: []float64{0.04}}
	s.conclude(us, map[string]*timing{
		"sparse": {Seconds: []float64{0.06}, CPU: []float64{0.1}}, "dense": {Seconds: []float64{0.05}, CPU: []float64{0.12}},
	}, 1000)
	if fmt.Sprintf("%.3f %.3f %s %.0f", s.StepRatio, s.CPURatio, s.Variant, s.Ours) != "2.500 3.000 dense 50000" {
		t.Errorf("%+v", s)
	}
}

func TestPeer(t *testing.T) {
	fake := filepath.Join(t.TempDir(), "python")
	write := func(script string) {
		if err := os.WriteFile(fake, []byte("#!/bin/sh\n"+script), 0o700); err != nil { //nolint:gosec // It is to be run.
			t.Fatal(err)
		}
	}
	o := options{python: fake, threads: 1, steps: 3, rounds: 1}
	write(`echo '{"version": "9", "seconds": [5, 6, 7], "cpu": [1, 2, 3], "losses": [4, 3]}'`)
	a, err := o.peer(context.Background(), t.TempDir(), smallWorld(), 3, "sparse")
	if err != nil || a.Version != "9" || median(a.Seconds) != 6 || a.Losses[1] != 3 {
		t.Errorf("%+v, %v", a, err)
	}
	write("echo nonsense")
	if _, err := o.peer(context.Background(), t.TempDir(), smallWorld(), 3, "sparse"); err == nil || !strings.Contains(err.Error(), `printed "nonsense`) {
		t.Errorf("%v", err)
	}
	write("exit 3")
	if err := run(context.Background(), o, io.Discard); err == nil || !strings.Contains(err.Error(), "PyTorch, sparse") {
		t.Errorf("%v", err)
	}
	for _, bad := range []options{{}, {python: "x"}} {
		if run(context.Background(), bad, io.Discard) == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	var buf bytes.Buffer
	if err := json.NewEncoder(&buf).Encode(summary{}); err != nil || !strings.Contains(buf.String(), `"step_ratio"`) {
		t.Errorf("%s, %v", buf.String(), err)
	}
}
