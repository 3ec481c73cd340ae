// Package onnxtest has tests' models read by Python.
package onnxtest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"marquee/internal/ort"
	"marquee/internal/testkit"
)

// Case is a model of one output "vector", its inputs by name, and what Go computes of them.
type Case struct {
	Name   string
	Model  []byte
	Inputs map[string]ort.Tensor
	Want   []float32
}

// CheckInPython has the ONNX project's checker read the models, and Python's ONNX Runtime give the numbers of Go to 1e-5. The test is left out
// where `make onnx-readers` was not run.
func CheckInPython(t *testing.T, cases ...Case) {
	t.Helper()
	checks := filepath.Join(testkit.ProjectRoot(t), "training", "onnx", "testdata")
	python := testkit.NeedPython(t, "onnx-readers", filepath.Join(checks, "requirements.txt"))
	dir := t.TempDir()
	put := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	type tensor struct {
		Shape  []int64   `json:"shape"`
		Ints   []int64   `json:"ints,omitempty"`
		Floats []float32 `json:"floats,omitempty"`
	}
	for _, c := range cases {
		inputs := map[string]tensor{}
		for name, in := range c.Inputs {
			inputs[name] = tensor{in.Shape, in.Ints, in.Floats}
		}
		b, err := json.Marshal(map[string]any{"model": c.Name + ".onnx", "inputs": inputs, "want": c.Want})
		if err != nil {
			t.Fatal(err)
		}
		put(c.Name+".onnx", c.Model)
		put(c.Name+".case.json", b)
	}
	out, err := exec.Command(python, filepath.Join(checks, "check.py"), dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Log(strings.TrimSpace(string(out)))
}
