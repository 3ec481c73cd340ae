package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"marquee/ann"
)

func TestMeasureOpen(t *testing.T) {
	s := clustered("s", ann.InnerProduct, 20_000, 64, 1)
	ix, err := ann.Build(context.Background(), s.vectors, s.dim, ann.Options{Kind: ann.Exact})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "index")
	if err := ann.WriteFile(path, ix); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := measureOpen(path)
	if err != nil {
		t.Fatal(err)
	}
	if f.Resident < info.Size()*9/10 || f.Resident > info.Size()*2 {
		t.Errorf("%d bytes of memory for a file of %d, all of it read", f.Resident, info.Size())
	}
	if len(f.Open) != 21 || median(f.Open) <= 0 {
		t.Errorf("times to open: %v", f.Open)
	}
	if _, err := measureOpen(path + "x"); err == nil {
		t.Error("no error about a file that is not there")
	}
}
