package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// worldSize is how large a world is measured.
type worldSize struct {
	name            string
	titles, viewers int
	// sessions is the mean number of a viewer's sessions; each is some eleven events.
	sessions int
}

// small has a million events.
func small() worldSize { return worldSize{name: "small", titles: 3_700, viewers: 6_000, sessions: 30} }

// large has as many events a viewer as make a model of so many titles.
func large() worldSize {
	return worldSize{name: "large", titles: 200_000, viewers: 200_000, sessions: 4}
}

// prepare makes a data folder with the world's catalogue, events and a promoted release. A folder that is ready stays as it is.
func (r *run) prepare(ctx context.Context, dir string, w worldSize) error {
	ready := filepath.Join(dir, "ready")
	if _, err := os.Stat(ready); err == nil {
		r.say("%s is ready from before", dir)
		return nil
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	log, data := filepath.Join(dir, "log"), filepath.Join(dir, "data")
	for _, args := range [][]string{
		{"simulate", "--out", log, "--titles", strconv.Itoa(w.titles), "--viewers", strconv.Itoa(w.viewers), "--sessions", strconv.Itoa(w.sessions)},
		{"import", "titles", filepath.Join(log, "titles.parquet"), "--preset", "marquee-titles"},
		{"import", "events", filepath.Join(log, "events.parquet"), "--preset", "marquee-events"},
		{"features", "build"},
	} {
		if _, err := r.marquee(ctx, data, args...); err != nil {
			return err
		}
	}
	// Simulated days are no days like those before; what is to be measured is a release with all that a night makes.
	night, err := r.marquee(ctx, data, "nightly", "--as-of", "max-event", "--json", "--accept", "all", "--reason", "a simulated world")
	if err != nil {
		return err
	}
	var made struct {
		Promoted bool `json:"promoted"`
		Ranker   *struct {
			Released bool
			Reason   string
		} `json:"ranker"`
	}
	if err := json.Unmarshal(night, &made); err != nil || !made.Promoted || made.Ranker == nil {
		return fmt.Errorf("the night says %.200s: %w", night, err)
	}
	r.say("%s", made.Ranker.Reason)
	return errors.Join(os.RemoveAll(log), os.WriteFile(ready, nil, 0o600))
}

// marquee runs a command of the binary and returns what it prints.
func (r *run) marquee(ctx context.Context, data string, args ...string) ([]byte, error) {
	r.say("marquee %s %s", args[0], args[1])
	cmd := exec.CommandContext(ctx, r.binary, append([]string{"--data-dir", data}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		text := bytes.TrimSpace(stderr.Bytes())
		return nil, fmt.Errorf("marquee %s %s: %w: %s", args[0], args[1], err, text[max(0, len(text)-1000):])
	}
	return out, nil
}
