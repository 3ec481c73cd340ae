package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"marquee/training/model"
)

// importsModels: a release's own tower goes in again, what does not fit is refused, and what went in can be put in use and is no obstacle to
// the next night.
func importsModels(t *testing.T, f *trained) {
	in := f.install(t)
	dir := filepath.Join(in.dir, "models", "bundles", f.release)
	samples := ownSamples(t, dir)
	tower := filepath.Join(dir, model.UserTowerFile)
	writeFiles(t, in.dir, map[string]string{"good.jsonl": samples, "bad.jsonl": strings.Replace(samples, `"vector":[`, `"vector":[9,`, 1)})
	good, bad := filepath.Join(in.dir, "good.jsonl"), filepath.Join(in.dir, "bad.jsonl")
	var out importedModel
	in.run("models", "import", "--role", "user-tower", tower, "--samples", good, "--json").ok().json(&out)
	if out.Samples.Samples != 2 || out.Bundle == f.release || out.From != f.release || out.Towers == nil || out.Towers.Against.Difference.Mean <= 0 {
		t.Fatalf("imported %+v", out)
	}
	in.run("models", "import", "--role", "user-tower", tower, "--samples", bad).fails(exitFailed, `the model is refused: samples, line 1: "vector" must have 64 numbers, has 65`)
	in.run("models", "import", "--role", "title-tower", tower, "--samples", good).fails(exitFailed, `it is no title-tower: it has no input "title" of int64 \[any\]`)
	in.run("models", "import", "--role", "ranker", tower, "--samples", good).fails(exitFailed, "has no ranker to replace")
	in.run("models", "import", "--role", "cook", tower, "--samples", good).fails(exitUsage, "role")
	if left, err := filepath.Glob(filepath.Join(in.dir, "*", "import-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	in.run("models", "promote", out.Bundle).ok()
	s := in.serve()
	if r := s.recommend("mllatest:1", ""); r.BundleID != out.Bundle || len(r.Titles) == 0 {
		t.Errorf("answered from %s, want %s", r.BundleID, out.Bundle)
	}
	s.terminate()
	var n struct {
		Beginning struct {
			Warm           bool
			Titles, Towers int
			Reason         string
		} `json:"beginning"`
	}
	in.run("nightly", "--as-of", "max-event", "--json", "--set", "training.als.seed=7").ok().json(&n)
	if !n.Beginning.Warm || n.Beginning.Titles == 0 || n.Beginning.Towers != 0 || !strings.Contains(n.Beginning.Reason, "made elsewhere") {
		t.Errorf("the next night began from %+v", n.Beginning)
	}
}

// ownSamples are what a release's user's tower says of two viewers, as JSON lines.
func ownSamples(t *testing.T, dir string) string {
	t.Helper()
	b, err := model.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Release(); err != nil {
			t.Error(err)
		}
	}()
	if there, err := b.HasTowers(); !there || err != nil {
		t.Fatalf("the release has towers: %t, %v", there, err)
	}
	var out strings.Builder
	for _, titles := range [][]int{{1, 5, 9}, {3}} {
		var watches []model.Watch
		var strength []float32
		for _, title := range titles {
			watches, strength = append(watches, model.Watch{Row: uint32(title), Strength: 1}), append(strength, 1)
		}
		vector := make([]float32, b.TowerDim())
		if err := b.UserTower(t.Context(), vector, &model.TowerScratch{}, watches); err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(map[string]any{"history": titles, "strength": strength, "vector": vector})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n", line)
	}
	return out.String()
}

func TestImportNeedsARelease(t *testing.T) {
	in := newInstall(t, filepath.Join(t.TempDir(), "data"))
	file := filepath.Join(t.TempDir(), "x.onnx")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	in.run("models", "import", "--role", "ranker", file, "--samples", file).fails(exitFailed, "no release is in use to put the model into")
}
