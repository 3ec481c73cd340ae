package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"marquee/ingest/compact"
	"marquee/internal/testkit"
)

// TestTheLakeIsCompacted compacts a real import, killed in the middle and then beside a service that takes events in, and
// rebuilds the warehouse from the day files.
func TestTheLakeIsCompacted(t *testing.T) {
	data := testkit.DataDir(t, "ml-1m")
	in := newInstall(t, filepath.Join(t.TempDir(), "data"), "MARQUEE_INGEST_FLUSH_INTERVAL=50ms", "MARQUEE_INGEST_BATCH_EVENTS=5000")
	in.run("import", "movielens", data).ok()
	before := in.contents()
	var plan compact.Summary
	if in.run("lake", "compact", "--dry-run", "--json", "--open-day").ok().json(&plan); plan.FilesBefore < 50 || plan.Rows != before.Events.Rows {
		t.Fatalf("to compact: %+v of %+v", plan, before)
	}
	killed := in.start("lake", "compact", "--open-day")
	killed.until("a day file being written", func() bool {
		found, err := filepath.Glob(filepath.Join(in.dir, "lake", ".tmp", "c*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found) > 0
	})
	killed.signal(syscall.SIGKILL)
	killed.wait()
	if got := in.contents(); got != before {
		t.Errorf("after a compaction was killed: %+v, want %+v", got, before)
	}

	s := in.serve("--modules", "ingest")
	var done compact.Summary
	running := in.start("lake", "compact", "--json", "--open-day")
	sent := int64(0)
	for ended := false; !ended; sent++ {
		s.record(event("p1", "ml1m:1", "EVENT_TYPE_CLICK"))
		select {
		case <-running.ended:
			ended = true
		default:
		}
	}
	running.wait().ok().json(&done)
	if done.FilesBefore < plan.FilesBefore || done.FilesAfter > 3 || done.Rows < plan.Rows {
		t.Errorf("compacted %+v, planned %+v", done, plan)
	}
	in.run("events", "count", "--wait", "60s").ok()
	after := in.contents()
	if after.Events.Rows != before.Events.Rows+sent {
		t.Errorf("%d events after %d more, before %d", after.Events.Rows, sent, before.Events.Rows)
	}
	s.terminate()

	if err := os.RemoveAll(filepath.Join(in.dir, "warehouse")); err != nil {
		t.Fatal(err)
	}
	in.run("warehouse", "rebuild").ok()
	if got := in.contents(); got != after {
		t.Errorf("rebuilt from day files: %+v, want %+v", got, after)
	}
	for _, path := range strings.Fields(in.run("lake", "files", "--since", "2026-01-01").ok().stdout) {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestFilesAreNamedAsToolsOpenThem(t *testing.T) {
	for lake, want := range map[string]string{
		"file:///data/the%20lake":                      "/data/the lake/events/a",
		"s3://bucket?region=eu-north-1":                "s3://bucket/events/a",
		"gs://bucket?prefix=marquee/&access_id=nobody": "gs://bucket/marquee/events/a",
	} {
		locate, err := lakeFileURL(lake)
		if err != nil {
			t.Fatal(err)
		}
		if got := locate("events/a"); got != want {
			t.Errorf("%s: %s, want %s", lake, got, want)
		}
	}
}
