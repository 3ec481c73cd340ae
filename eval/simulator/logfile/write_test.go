package logfile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"marquee/eval/simulator"
)

func world(t testing.TB, viewers int) *simulator.World {
	t.Helper()
	end := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	w, err := simulator.New(simulator.Config{Seed: 7, Titles: 300, Viewers: viewers, SessionsPerViewer: 6, Start: end.AddDate(0, 0, -28), End: end})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestTheLogIsTheSameWhateverTheWorkers writes it twice and reads it back.
func TestTheLogIsTheSameWhateverTheWorkers(t *testing.T) {
	w := world(t, 200)
	var dirs [2]string
	var s *Summary
	for i, workers := range []int{1, 5} {
		dirs[i] = filepath.Join(t.TempDir(), "log")
		done := 0
		var err error
		if s, err = Write(t.Context(), dirs[i], w, w.ByExposure(), workers, func(n int) { done = n }); err != nil || done != 200 {
			t.Fatalf("%d viewers done: %v", done, err)
		}
	}
	for _, name := range []string{Events, Slates, Titles, TitlesTruth, Viewers, World} {
		var content [2][]byte
		for i, dir := range dirs {
			var err error
			if content[i], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		if len(content[0]) == 0 || !bytes.Equal(content[0], content[1]) {
			t.Errorf("%s differs with the number of workers: %d and %d bytes", name, len(content[0]), len(content[1]))
		}
	}
	events, slates := read[eventRow](t, dirs[0], Events), read[slateRow](t, dirs[0], Slates)
	if int64(len(events)) != s.Events || int64(len(slates)) != s.Slates || s.Clicks == 0 || len(read[titleRow](t, dirs[0], Titles)) != 300 {
		t.Fatalf("%d events and %d slates, the summary says %+v", len(events), len(slates), s)
	}
	at := 0
	for v := range w.Viewers() {
		for e := range w.History(v) {
			var want eventRow
			want.fill(e, newNames())
			if got := events[at]; got.EventID != want.EventID || got.Type != want.Type || got.TitleID != want.TitleID || got.OccurredAt != want.OccurredAt || len(got.Seen) != len(want.Seen) {
				t.Fatalf("event %d is %+v, want %+v", at, got, want)
			}
			at++
		}
	}
	clicks := map[string]int64{}
	for _, s := range slates {
		if len(s.Titles) != len(s.Propensities) || len(s.Titles) != len(s.Clicked) || len(s.Titles) != len(s.Examined) {
			t.Fatalf("slate %+v", s)
		}
		for _, c := range s.Clicked {
			if c {
				clicks[s.RequestID]++
			}
		}
	}
	for _, e := range events {
		if e.Type == "click" {
			clicks[e.RequestID]--
		}
	}
	for id, n := range clicks {
		if n != 0 {
			t.Errorf("slate %s has %d clicks more than events", id, n)
		}
	}
	for _, viewer := range read[simulator.ViewerTruth](t, dirs[0], Viewers) {
		if len(viewer.Before) != 12 || len(viewer.After) != 12 {
			t.Fatalf("%+v", viewer)
		}
	}
	var again Summary
	text, err := os.ReadFile(filepath.Join(dirs[0], World))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &again); err != nil || again != *s {
		t.Errorf("%s says %+v (%v), the summary %+v", World, again, err, s)
	}
}

func read[T any](t *testing.T, dir, name string) []T {
	t.Helper()
	rows, err := parquet.ReadFile[T](filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestALogThatFailsHasNoSummary: what says that a log is whole is missing where it is not.
func TestALogThatFailsHasNoSummary(t *testing.T) {
	w, dir := world(t, 200), t.TempDir()
	if _, err := Write(t.Context(), dir, w, w.ByExposure(), 2, func(int) {}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Write(ctx, dir, w, w.ByExposure(), 2, func(n int) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, World)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a log has its %s (%v)", World, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), filepath.Join(dir, "file", "log"), w, w.ByExposure(), 1, func(int) {}); err == nil {
		t.Error("a log in a file was written")
	}
}

// BenchmarkWrite writes logs of some million events: the world made, every viewer simulated, all files on disk.
func BenchmarkWrite(b *testing.B) {
	end := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	events := int64(0)
	for b.Loop() {
		w, err := simulator.New(simulator.Config{Seed: 7, Titles: 6000, Viewers: 12_000, SessionsPerViewer: 16, Start: end.AddDate(0, 0, -28), End: end})
		if err != nil {
			b.Fatal(err)
		}
		s, err := Write(b.Context(), b.TempDir(), w, w.ByExposure(), 2, func(int) {})
		if err != nil {
			b.Fatal(err)
		}
		events += s.Events
	}
	b.ReportMetric(float64(events)/float64(b.N), "events")
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}
