package model

import (
	"context"
	"errors"
	"os"
	"regexp"
	"testing"

	"marquee/ann"
	"marquee/ann/coderhnsw"
)

// TestRecallIsMeasuredAndGated: the recall of both indexes is in the manifest and not in the name, and an index that finds too few is
// refused with the number, leaving nothing behind.
func TestRecallIsMeasuredAndGated(t *testing.T) {
	ctx := context.Background()
	r := release(2000, 16, 3)
	_, without, err := Write(ctx, t.TempDir(), r)
	if err != nil {
		t.Fatal(err)
	}
	r.Probes = release(40, 16, 4).Factors
	dir, m, err := Write(ctx, t.TempDir(), r)
	if err != nil {
		t.Fatal(err)
	}
	if m.ID != without.ID || len(without.Recall) != 0 {
		t.Errorf("bundle %s with probes, %s without, which found %v", m.ID, without.ID, without.Recall)
	}
	read, err := ReadManifest(dir)
	if err != nil || read.Recall["inner product"] != 1 || read.Recall["cosine"] != 1 {
		t.Errorf("read %v, %v; want 1 of exact indexes", read.Recall, err)
	}
	r.BuildIndex = coderhnsw.Build
	parent := t.TempDir()
	_, _, err = Write(ctx, parent, r)
	if !errors.Is(err, ann.ErrRecall) || !regexp.MustCompile(`finds 0\.\d+ of the ten nearest`).MatchString(err.Error()) {
		t.Errorf("coder/hnsw: %v, want it refused with the number", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("%v left behind, %v", left, err)
	}
}
