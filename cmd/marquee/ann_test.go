package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"marquee/ann"
)

// indexFile writes an index of n vectors.
func indexFile(t *testing.T, n int, opts ann.Options) string {
	t.Helper()
	const dim = 16
	r := rand.New(rand.NewPCG(5, 5))
	vectors := make([]float32, n*dim)
	for i := range vectors {
		vectors[i] = float32(r.NormFloat64())
	}
	ix, err := ann.Build(context.Background(), vectors, dim, opts)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "index.ann")
	if err := ann.WriteFile(path, ix); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAnnInfo(t *testing.T) {
	path := indexFile(t, 500, ann.Options{Kind: ann.HNSW, Int8: true, M: 8, EFConstruction: 40})
	var out bytes.Buffer
	c := &console{ctx: context.Background(), stdout: &out}
	if err := (annInfoCommand{File: path}).Run(c); err != nil {
		t.Fatal(err)
	}
	if want := "hnsw index of 500 vectors of dimension 16 by inner product, with int8 codes, M 8, efConstruction 40"; !strings.Contains(out.String(), want) {
		t.Errorf("%s, want %s", &out, want)
	}
	out.Reset()
	if err := (annInfoCommand{File: path, JSON: true}).Run(c); err != nil {
		t.Fatal(err)
	}
	var info annInfo
	if err := json.Unmarshal(out.Bytes(), &info); err != nil || info.Vectors != 500 || !info.Int8 || info.Plan == "" {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestAnnVerify(t *testing.T) {
	whole, damaged := indexFile(t, 300, ann.Options{}), indexFile(t, 300, ann.Options{})
	b, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-5] ^= 4
	if err := os.WriteFile(damaged, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = annVerifyCommand{Files: []string{damaged, whole}}.Run(&console{ctx: context.Background(), stdout: &out})
	if !errors.Is(err, ann.ErrCorrupt) || !strings.Contains(err.Error(), damaged) || !strings.Contains(out.String(), whole+" is whole") {
		t.Errorf("%v, said %s", err, &out)
	}
}

func TestAnnBench(t *testing.T) {
	path := indexFile(t, 2000, ann.Options{Kind: ann.HNSW, Int8: true, EFConstruction: 80})
	var out bytes.Buffer
	c := &console{ctx: context.Background(), stdout: &out}
	if err := (annBenchCommand{File: path, Queries: 40, K: 10, JSON: true}).Run(c); err != nil {
		t.Fatal(err)
	}
	var rows []annBenchRow
	if err := json.Unmarshal(out.Bytes(), &rows); err != nil || len(rows) != 12 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if r := rows[0]; r.Search != "exact float32" || r.Recall != 1 || r.ScoredMean != 2000 {
		t.Errorf("the exact search: %+v", r)
	}
	if r := rows[len(rows)-1]; r.Search != "hnsw int8" || r.EF != 192 || r.Recall < .95 || r.ScoredMean >= 2000 {
		t.Errorf("the widest walk: %+v", r)
	}
	out.Reset()
	if err := (annBenchCommand{File: path, Queries: 5, K: 3}).Run(c); err != nil || !strings.Contains(out.String(), "RECALL@3") {
		t.Errorf("%v: %s", err, &out)
	}
	if err := (annBenchCommand{File: path}).Run(c); err == nil {
		t.Error("no queries were accepted")
	}
	if err := (annBenchCommand{File: indexFile(t, 0, ann.Options{}), Queries: 1, K: 1}).Run(c); err == nil {
		t.Error("an empty index was measured")
	}
}
