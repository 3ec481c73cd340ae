package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
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
	s.Steps, s.CPU = map[string]float64{}, map[string]float64{}
	us := timing{Seconds: []float64{0.01, 0.03, 0.02}, CPU: []float64{0.04}}
	s.conclude(us, map[string]*timing{
		"sparse": {Seconds: []float64{0.06}, CPU: []float64{0.1}}, "dense": {Seconds: []float64{0.05}, CPU: []float64{0.12}},
	}, 1000)
	if fmt.Sprintf("%.3f %.3f %s %.0f", s.StepRatio, s.CPURatio, s.Variant, s.Ours) != "2.500 2.500 dense 50000" {
		t.Errorf("%+v", s)
	}
}

// fakePython is an interpreter that runs a shell script, whatever it is given.
func fakePython(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil { //nolint:gosec // It is to be run.
		t.Fatal(err)
	}
	return path
}

const answers = `echo '{"version": "9", "losses": [4, 3]}'
while read steps seconds; do echo '{"seconds": [5, 6, 7], "cpu": [1, 2, 3]}'; done
`

func TestPeerTakesTurns(t *testing.T) {
	o := options{python: fakePython(t, answers), threads: 1}
	p, err := o.start(t.Context(), t.TempDir(), smallWorld(), warmUp, "sparse")
	if err != nil || p.first.Version != "9" || p.first.Losses[1] != 3 {
		t.Fatalf("%+v, %v", p, err)
	}
	for range 2 {
		got, err := p.turn(3, time.Second)
		if err != nil || median(got.Seconds) != 6 || median(got.CPU) != 2 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
}

func TestPeerThatFails(t *testing.T) {
	for script, want := range map[string]string{
		"echo nonsense":                   "its first line",
		"exit 3":                          "exit status 3",
		`echo '{}'; read line; echo '{}'`: "0 steps",
	} {
		o := options{python: fakePython(t, script), threads: 1}
		p, err := o.start(t.Context(), t.TempDir(), smallWorld(), warmUp, "sparse")
		if err == nil {
			_, err = p.turn(3, time.Second)
			err = errors.Join(err, p.close())
		}
		if err == nil || !strings.Contains(err.Error(), "PyTorch, sparse") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", script, err)
		}
	}
}

func TestRun(t *testing.T) {
	for _, bad := range []options{{}, {python: "x"}, {python: "x", threads: 1, steps: 1, rounds: 1}} {
		if run(t.Context(), bad, io.Discard) == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	o := options{python: fakePython(t, "exit 3"), threads: 1, steps: 1, rounds: 1, turn: time.Second}
	if err := run(t.Context(), o, io.Discard); err == nil || !strings.Contains(err.Error(), "PyTorch, sparse") {
		t.Errorf("%v", err)
	}
}
