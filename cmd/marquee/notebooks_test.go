package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"marquee/internal/testkit"
	"marquee/training/model"
)

// TestNotebooks runs the example of notebooks/ against a release with towers and a ranker and imports what it exports.
func TestNotebooks(t *testing.T) {
	python := os.Getenv("MARQUEE_TEST_NOTEBOOKS_PYTHON")
	if python == "" {
		t.Skip("LEFT OUT: PyTorch is not part of what tests need; make notebooks fetches it and runs this")
	}
	f := makeTrained(t)
	in := f.install(t)
	// Vectors of two numbers tell four tastes apart badly, so that the ranker does better.
	var n night
	in.run("nightly", "--as-of", "max-event", "--json", "--set", "training.nightly.ranker=always", "--set", "training.ranker.windows=2",
		"--set", "training.als.dim=2", "--set", "training.als.epochs=1", "--set", "training.nightly.max_loss=0.99").json(&n)
	release := filepath.Join(in.dir, "models", "bundles", n.Bundle)
	m, err := model.ReadManifest(release)
	if err != nil || m.Towers == nil {
		t.Fatalf("the release has the towers %+v (%v)", m.Towers, err)
	}
	out := t.TempDir()
	cmd := exec.CommandContext(t.Context(), python, filepath.Join(testkit.ProjectRoot(t), "notebooks", "export_models.py"), "--release", release,
		"--interactions", filepath.Join(in.dir, "lake", "features", "interactions", m.Snapshot.ID), "--out", out, "--epochs", "30")
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	t.Logf("%s", said)
	into := n.Bundle
	for _, role := range []string{"user-tower", "ranker"} {
		if role == "ranker" && m.Ranker == nil {
			t.Fatal("the night made no ranker to replace")
		}
		file := map[string]string{"user-tower": "user_tower", "ranker": "ranker"}[role]
		var got importedModel
		in.run("models", "import", "--into", into, "--role", role, filepath.Join(out, file+".onnx"), "--samples", filepath.Join(out, file+".jsonl"), "--json").ok().json(&got)
		if got.Samples.Samples != 20 || got.Bundle == into {
			t.Errorf("imported %+v", got)
		}
		if text, err := json.Marshal(got); err == nil {
			t.Logf("%s", text)
		}
		into = got.Bundle
	}
	in.run("models", "promote", into).ok()
	s := in.serve()
	r := s.recommend("mllatest:1", "")
	if r.BundleID != into || len(r.Titles) == 0 || len(r.Degraded) > 0 {
		t.Errorf("with both models: %+v", r)
	}
	s.terminate()
}
