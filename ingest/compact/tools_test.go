package compact

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"marquee/ingest/events"
	"marquee/internal/testkit"
)

// outside is what a tool reads of the lake.
type outside struct {
	Events int    `json:"events"`
	SHA256 string `json:"sha256"`
}

// TestOtherToolsReadTheLake runs the code of LAKE.md: pyarrow, polars, pandas and DuckDB read what Marquee reads, of day files,
// of ranges that are not compacted, and beside files that were replaced and are still there.
func TestOtherToolsReadTheLake(t *testing.T) {
	python := testkit.NeedPython(t, "lake-readers", "testdata/requirements.txt")
	w := newWorld(t)
	w.fillUpTo(2000)
	w.compact(Options{})
	w.ingest(0, 2001, 2002, 2001, 700)
	w.compact(Options{OpenDay: true})
	w.ingest(1, 2003, 2004, 2003, 3)
	if set := w.set(); len(set.Manifests()) != 1 || len(set.Replaced()) == 0 || w.files() <= len(set.Files()) {
		t.Fatalf("%d ranges, %q replaced: not what this test is about", len(set.Manifests()), set.Replaced())
	}
	var lines []string
	for r, err := range w.set().Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line(r))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	want := outside{len(lines), hex.EncodeToString(sum[:])}

	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(t.Context(), python, "testdata/read.py", "../events/LAKE.md", filepath.Join(w.dir, "lake"))
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var got map[string]outside
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, &stdout)
	}
	for _, tool := range []string{"pandas", "pyarrow", "polars", "duckdb"} {
		if got[tool] != want {
			t.Errorf("%s reads %+v, Marquee reads %+v", tool, got[tool], want)
		}
	}
}

// line is a row as testdata/read.py writes it.
func line(r *events.Row) string {
	rank := int64(-1)
	if r.Rank != nil {
		rank = int64(*r.Rank)
	}
	return fmt.Sprintf("%x %s %s %d %d %d %d %d %d %s", r.EventID, r.ProfileID, r.Type, r.OccurredAt, r.ReceivedAt, r.WatchedMS,
		rank, r.KafkaPartition, r.KafkaOffset, strings.Join(r.SeenTitleIDs, ","))
}
