package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"marquee/features/snapshot"
	"marquee/ingest/rebuild"
	"marquee/internal/db"
	"marquee/training/model"
)

// edit replaces a file by what change makes of it, as a damaged disk does: nobody is told.
func edit(t *testing.T, file string, change func([]byte) []byte) (before []byte) {
	t.Helper()
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, change(bytes.Clone(before)), 0o644); err != nil {
		t.Fatal(err)
	}
	return before
}

func flipBit(data []byte) []byte {
	data[len(data)/2] ^= 1
	return data
}

func cutInHalf(data []byte) []byte { return data[:len(data)/2] }

// oneOf is a file that matches a pattern in the data folder.
func (i *install) oneOf(pattern ...string) string {
	i.t.Helper()
	files, err := filepath.Glob(filepath.Join(append([]string{i.dir}, pattern...)...))
	if err != nil || len(files) == 0 {
		i.t.Fatalf("no file matches %s: %v", pattern, err)
	}
	return files[0]
}

// corruptRelease damages releases: one is never put in use, the one in use is never taken for whole, and pages go on.
func corruptRelease(t *testing.T, f *trained) {
	in := f.install(t)
	s := in.serve()
	var second struct{ ID string }
	in.run("train", "als", "--json", "--set", "training.als.dim=8").ok().json(&second)
	factors := func(id string) string { return in.oneOf("models", "bundles", id, model.FactorsFile) }
	for what, change := range map[string]func([]byte) []byte{"a flipped bit": flipBit, "half a file": cutInHalf} {
		whole := edit(t, factors(second.ID), change)
		in.run("models", "promote", second.ID).fails(exitFailed, second.ID, "corrupt model bundle", model.FactorsFile, "its manifest says")
		if r := s.recommend("mllatest:1", ""); r.BundleID != f.release || len(r.Degraded) > 0 {
			t.Errorf("after a release with %s was refused: %+v", what, r)
		}
		edit(t, factors(second.ID), func([]byte) []byte { return whole })
	}
	in.run("models", "promote", second.ID).ok()
	edit(t, factors(f.release), flipBit)
	in.run("models", "rollback").fails(exitFailed, "no earlier release", "corrupt model bundle")
	s.terminate()

	// A service that starts on a damaged release serves what is popular and says why; the night makes the release again.
	edit(t, factors(second.ID), cutInHalf)
	s = in.serve()
	s.logged(`"release refused".*corrupt model bundle`)
	r := s.recommend("mllatest:1", "")
	if len(r.Titles) != 10 || strings.Join(r.Degraded, " ") != "model_unavailable" {
		t.Errorf("with a damaged release: %+v", r)
	}
	for _, title := range r.Titles {
		if !slices.Contains([]string{"popular", "trending", "new", "genre"}, title.Source) {
			t.Errorf("with a damaged release %s comes from %s, which needs one", title.TitleID, title.Source)
		}
	}
	var n night
	in.run("nightly", "--as-of", "max-event", "--json", "--set", "training.als.seed=7").ok().json(&n)
	s.until("the night's release", func() bool {
		r := s.recommend("mllatest:1", "")
		return r.BundleID == n.Bundle && len(r.Degraded) == 0
	})
	edit(t, factors(n.Bundle), flipBit)
	again := n
	in.run("nightly", "--as-of", "max-event", "--json", "--set", "training.als.seed=7").ok().json(&again)
	if again.Bundle != n.Bundle || !again.Promoted {
		t.Errorf("the same night once more: %+v, before %+v", again, n)
	}
	in.run("models", "promote", n.Bundle).ok()

	edit(t, filepath.Join(in.dir, "models", "current.json"), cutInHalf)
	in.run("models", "list").fails(exitFailed, "current.json is damaged", "delete it", "promote")
	s.call(http.StatusOK, servingService+"Recommend", `{"viewer":{"profileId":"mllatest:1"}}`, nil)
	s.terminate()
}

// truncatedParquet cuts files of the lake: every reader says which file, nothing is changed for it, and a feature file is
// built again.
func truncatedParquet(t *testing.T, f *trained) {
	in := f.install(t)
	before := in.contents()
	file := in.oneOf("lake", "events", "dt=*", "*.parquet")
	whole := edit(t, file, cutInHalf)
	for _, command := range []string{"events count", "lake checksum", "warehouse rebuild", "import movielens " + f.files} {
		in.run(strings.Fields(command)...).fails(exitFailed, "corrupt lake file", "events/dt=.*"+filepath.Base(file), "its manifest says")
	}
	var house rebuild.Contents
	if in.run("warehouse", "checksum", "--json").ok().json(&house); house != before {
		t.Errorf("after a rebuild that was refused: %+v, before %+v", house, before)
	}
	if out := in.run("lake", "verify").fails(exitFailed, "1 findings", "corrupt lake file"); !strings.Contains(out.stdout, filepath.Base(file)) {
		t.Errorf("%s is not named: %v", filepath.Base(file), out)
	}
	edit(t, file, func([]byte) []byte { return whole })
	if after := in.contents(); after != before {
		t.Errorf("with the file put back: %+v, before %+v", after, before)
	}
	in.run("lake", "verify").ok("files, ", "rows, ")

	for _, name := range []string{"part-00000.parquet", "manifest.json"} {
		newest, err := filepath.Glob(filepath.Join(in.dir, "lake", snapshot.Root, "interactions", "*", name))
		if err != nil || len(newest) != 2 {
			t.Fatalf("feature files %v: %v", newest, err)
		}
		edit(t, newest[1], cutInHalf)
		in.run("train", "als").fails(exitFailed, "corrupt feature snapshot", "features/interactions/.*"+name)
		in.run("features", "build", "--as-of", "max-event").ok()
		in.run("train", "als").ok("published")
		// An old one is nobody's business but that of who asks for it.
		edit(t, newest[0], cutInHalf)
		in.run("train", "als").ok("published")
	}
	in.run("features", "list").ok("damaged: interactions")
}

// damagedLedger changes a row as a flipped bit would: the service does not start on it, says what to do, and when that was done goes on from
// the lake.
func damagedLedger(t *testing.T, f *trained) {
	in := f.install(t)
	before := in.contents()
	execute := func(statements string) {
		t.Helper()
		d, err := db.Open(t.Context(), "sqlite:"+filepath.Join(in.dir, "marquee.db"), "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.ExecContext(t.Context(), statements); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	execute("UPDATE ingest_partitions SET next_offset = next_offset + 4096 WHERE partition_no = 0")
	refused := in.run("serve", "--modules", "ingest").fails(exitFailed, "the ledger is damaged", "partition 0 of watch-events", "Nothing was changed")
	in.run("lake", "verify").fails(exitFailed, "the ledger is damaged")
	_, rest, _ := strings.Cut(refused.stderr, " run ")
	statements, _, _ := strings.Cut(rest, " in it")
	execute(statements)
	s := in.serve("--modules", "ingest")
	s.record(event("after", "t1", "EVENT_TYPE_CLICK"))
	in.run("events", "count", "--wait", "60s").ok()
	s.terminate()
	in.run("lake", "verify").ok()
	if after := in.contents(); after.Events.Rows != before.Events.Rows+1 {
		t.Errorf("after one event more: %+v, before %+v", after, before)
	}
}
