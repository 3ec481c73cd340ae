package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"marquee/ingest/rebuild"
	"marquee/internal/testkit"
)

// TestTheWarehouseIsRebuilt deletes the warehouse of a real import, kills its rebuild in the middle, goes on with it, and
// rebuilds again beside a service that takes events in.
func TestTheWarehouseIsRebuilt(t *testing.T) {
	data := testkit.DataDir(t, "ml-1m")
	in := newInstall(t, filepath.Join(t.TempDir(), "data"), "MARQUEE_INGEST_FLUSH_INTERVAL=50ms")
	in.run("import", "movielens", data).ok()
	before := in.contents()
	if before.Events.Rows < 400_000 || before.Titles.Rows < 3000 {
		t.Fatalf("imported: %+v", before)
	}
	if err := os.RemoveAll(filepath.Join(in.dir, "warehouse")); err != nil {
		t.Fatal(err)
	}
	first := in.start("--log-level", "debug", "warehouse", "rebuild")
	first.until("files in the warehouse", func() bool {
		return strings.Count(first.stderr.String(), `"brought into the warehouse"`) >= 2
	})
	first.signal(syscall.SIGKILL)
	if ended := first.wait(); ended.code == exitOK {
		t.Fatalf("not killed: %v", ended)
	}
	var summary rebuild.Summary
	in.run("warehouse", "rebuild", "--json").ok().json(&summary)
	if summary.Content != before || summary.RowsBefore == 0 || summary.RowsBefore >= summary.Rows {
		t.Errorf("rebuilt after the kill: %+v, before it was lost there was %+v", summary, before)
	}

	s := in.serve("--modules", "ingest")
	again := in.start("warehouse", "rebuild", "--json")
	sent := int64(0)
	for running := true; running; sent++ {
		s.record(event(fmt.Sprintf("p%d", sent%7), "ml1m:1", "EVENT_TYPE_CLICK"))
		select {
		case <-again.ended:
			running = false
		default:
		}
	}
	again.wait().ok()
	s.record(event("after", "ml1m:1", "EVENT_TYPE_CLICK"))
	in.run("events", "count", "--wait", "60s").ok()
	if after := in.contents(); after.Events.Rows != before.Events.Rows+sent+1 || after.Titles != before.Titles {
		t.Errorf("beside a service that took %d events: %+v, before %+v", sent+1, after, before)
	}
	s.terminate()
}

// contents is what warehouse checksum says; the lake must say the same.
func (i *install) contents() (c rebuild.Contents) {
	i.t.Helper()
	i.run("warehouse", "checksum", "--json").ok().json(&c)
	var lake rebuild.Contents
	if i.run("lake", "checksum", "--json").ok().json(&lake); lake.Events != c.Events {
		i.t.Errorf("the lake has %+v, the warehouse %+v", lake.Events, c.Events)
	}
	return c
}
