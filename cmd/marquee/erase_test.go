package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// erasedProfile is an id that is nowhere by chance, in whatever encoding its bytes are kept as they are.
const erasedProfile = "erase-me-7f3a91c2"

// TestErase: beside a service that is taking events in, everything about one profile goes, and stays away when the warehouse is
// rebuilt and when its events are sent again.
func TestErase(t *testing.T) {
	in := newInstall(t, filepath.Join(t.TempDir(), "data"))
	s := in.serve()
	var mine []string
	send := func(n int) {
		t.Helper()
		var list []string
		for i := range n {
			list = append(list, event(fmt.Sprintf("other-%d", i%7), fmt.Sprintf("t%d", i%5), "EVENT_TYPE_PLAY_END"))
			if i%4 == 0 {
				mine = append(mine, event(erasedProfile, fmt.Sprintf("t%d", i%5), "EVENT_TYPE_PLAY_END"))
				list = append(list, mine[len(mine)-1])
			}
		}
		s.call(http.StatusOK, "/marquee.ingest.v1.IngestService/RecordEvents", batch(list...), nil)
	}
	send(40)
	in.run("events", "count", "--wait", "1m").ok("warehouse 50, lake 50 ")
	// Day files, small files and a snapshot each hold the profile.
	in.run("lake", "compact", "--open-day").ok("compacted")
	send(20)
	in.run("events", "count", "--wait", "1m").ok("warehouse 75, lake 75 ")
	in.run("features", "build", "--as-of", "max-event").ok()
	if out := in.run("profiles", "export", erasedProfile).ok(`"erased":false`, `"what":"event"`, `"what":"features","row"|"set":"interactions"`); strings.Count(out.stdout, `"what":"event"`) != 15 {
		t.Errorf("an export of 15 events: %v", out)
	}
	if found := holding(t, in.dir); len(found) == 0 {
		t.Fatal("the search finds nothing even before the erasure, so it would find nothing after it")
	}

	in.run("profiles", "erase", erasedProfile).ok(`erased: 15 rows from the warehouse, 15 from the lake, 1 feature snapshots`)
	nothingLeft(t, in, "erased")
	in.run("events", "count", "--wait", "1m").ok("warehouse 60, lake 60 ")
	in.run("profiles", "erase", erasedProfile).ok(`erased: 0 rows from the warehouse, 0 from the lake, 0 feature snapshots`)
	if out := in.run("profiles", "export", erasedProfile).ok(`"erased":true`); strings.Count(out.stdout, "\n") != 1 {
		t.Errorf("an export of nothing: %v", out)
	}

	// A client that missed the answer sends again, and somebody restores the warehouse from the lake.
	s.call(http.StatusOK, "/marquee.ingest.v1.IngestService/RecordEvents", batch(mine...), nil)
	in.run("events", "count", "--wait", "1m").ok("warehouse 60, lake 60 ")
	in.run("warehouse", "rebuild").ok()
	in.run("events", "count").ok("warehouse 60, lake 60 ")
	nothingLeft(t, in, "rebuilt")
	in.run("features", "build", "--as-of", "max-event").ok()
	nothingLeft(t, in, "features built again")
	in.run("profiles", "erase", strings.Repeat("x", 65)).fails(exitUsage, "1 to 64 bytes")
}

// nothingLeft searches what is stored. The log keeps its records until their retention ends them: it is left out.
func nothingLeft(t *testing.T, in *install, when string) {
	t.Helper()
	for _, path := range holding(t, in.dir) {
		t.Errorf("%s: %s holds the profile", when, path)
	}
}

// holding returns the files, the broker's aside, that hold the profile's id as it is, or that are Parquet files or parts of the
// warehouse whose content does. Those are compressed, so commands that read everything are asked as well; here it is the bytes.
func holding(t *testing.T, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // The engines delete while we look.
			}
			return err
		}
		if d.IsDir() {
			if d.Name() == "broker" {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil // Links lead to what is walked anyway.
		}
		content, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if bytes.Contains(content, []byte(erasedProfile)) {
			found = append(found, strings.TrimPrefix(path, dir))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestAnErasureThatIsKilledIsGoneOnWith kills the command at moments all over its run, beside a service; given again, it finishes.
func TestAnErasureThatIsKilledIsGoneOnWith(t *testing.T) {
	t.Parallel()
	in := newInstall(t, filepath.Join(t.TempDir(), "data"), "MARQUEE_TRAINING_NIGHTLY_LEASE_TTL=10s")
	s := in.serve("--modules", "ingest")
	const per = 20
	record := func(profile string) {
		t.Helper()
		list := []string{event("other", "t1", "EVENT_TYPE_PLAY_END")}
		for i := range per {
			list = append(list, event(profile, fmt.Sprintf("t%d", i%5), "EVENT_TYPE_PLAY_END"))
		}
		s.call(http.StatusOK, "/marquee.ingest.v1.IngestService/RecordEvents", batch(list...), nil)
	}
	record("first")
	record(erasedProfile)
	in.run("events", "count", "--wait", "1m").ok("warehouse 42, lake 42 ")
	in.run("features", "build", "--as-of", "max-event").ok()
	began := time.Now()
	in.run("profiles", "erase", "first").ok("20 rows from the warehouse, 20 from the lake, 1 feature snapshots")
	whole := time.Since(began)
	in.run("features", "build", "--as-of", "max-event").ok()
	const kills = 4
	for k := range kills {
		p := in.start("profiles", "erase", erasedProfile)
		select {
		case <-p.ended: // The machine is faster now: this run was the last.
		case <-time.After(whole * time.Duration(k+1) / (kills + 1)):
			p.signal(syscall.SIGKILL)
		}
		p.wait()
		// Whatever was done of it, what others own is all there, and nothing half-written is in the way of a reader.
		in.run("lake", "verify").ok()
	}
	in.run("profiles", "erase", erasedProfile).ok("erased:")
	nothingLeft(t, in, "erased after kills")
	in.run("events", "count", "--wait", "1m").ok("warehouse 2, lake 2 ")
	in.run("warehouse", "rebuild").ok()
	nothingLeft(t, in, "rebuilt after kills")
	s.terminate()
}
