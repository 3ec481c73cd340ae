package main

import (
	"path/filepath"
	"strings"
	"testing"

	"marquee/eval/simulator/logfile"
)

// TestASimulatedLogIsImported writes one and imports it with the presets it names: what was written is what is stored.
func TestASimulatedLogIsImported(t *testing.T) {
	t.Parallel()
	in := newInstall(t, filepath.Join(t.TempDir(), "data"))
	dir := filepath.Join(t.TempDir(), "log")
	simulate := []string{"simulate", "--out", dir, "--titles", "200", "--viewers", "150", "--sessions", "6", "--end", "2026-03-01T00:00:00Z", "--seed", "5"}
	var s logfile.Summary
	in.run(append(simulate, "--json")...).ok().json(&s)
	if s.Events < 2000 || s.Clicks == 0 || s.Titles != 200 || s.Viewers != 150 {
		t.Fatalf("simulated: %+v", s)
	}
	said := in.run(append(simulate, "--workers", "3")...).ok("events of 150 viewers", "marquee import titles")
	for line := range strings.Lines(said.stdout) {
		if words := strings.Fields(line); len(words) > 0 && words[0] == "marquee" {
			in.run(words[1:]...).ok()
		}
	}
	var counts eventCounts
	in.run("events", "count", "--json").ok().json(&counts)
	counts.are(t, s.Events)
	in.run("nightly", "--as-of", "max-event", "--set", "training.als.dim=8").ok("popular")
	in.run("recommend", "--profile", "sim:v000001").ok("Simulated: ")
	in.run("simulate").fails(exitUsage, "--out")
	in.run("simulate", "--out", dir, "--titles", "3").fails(exitUsage, "titles must be between 20")
}

// TestSimulatedViewersUseAService lets them: it is told all they do, and what it shows them is worth more than chance once it knows
// what they like.
func TestSimulatedViewersUseAService(t *testing.T) {
	t.Parallel()
	in := newInstall(t, filepath.Join(t.TempDir(), "data"))
	s := in.serve()
	var v visited
	in.run("simulate", "--service", s.url, "--titles", "150", "--viewers", "60", "--sessions", "5", "--json").ok().json(&v)
	if v.Viewers != 60 || v.Events < 500 || v.Slates < 100 || v.Clicks <= 0 || v.Best <= v.Service || v.Service <= 0 || v.ByExposure <= 0 {
		t.Errorf("visited: %+v", v)
	}
	var counts eventCounts
	in.run("events", "count", "--wait", patience.String(), "--json").ok().json(&counts)
	counts.are(t, v.Events)
	s.terminate()
	in.run("simulate", "--service", s.url, "--end", "2026-03-01T00:00:00Z").fails(exitUsage, "last 35 days")
	in.run("simulate", "--service", "http://127.0.0.1:1", "--titles", "20", "--viewers", "1").fails(exitFailed, "publish titles")
}
