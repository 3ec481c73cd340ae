package main

import (
	"context"
	"encoding/binary"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"marquee/training/als"
)

func TestOursIsMeasuredAndItsLossIsTheSharedOne(t *testing.T) {
	m, err := zipf(300, 200, 4000)
	if err != nil {
		t.Fatal(err)
	}
	if m.NNZ() < 2000 || m.Rows != 300 || m.Cols != 200 {
		t.Fatalf("%d interactions, %d x %d", m.NNZ(), m.Rows, m.Cols)
	}
	begin := start(m.Cols, 16)
	for _, solver := range []string{als.SolverCG, als.SolverCholesky} {
		cfg := config(16, 2, 1, solver)
		us, err := ours(context.Background(), m, cfg, begin)
		if err != nil || !(us.seconds > 0 && us.loss > 0) {
			t.Fatalf("%+v, %v", us, err)
		}
		model, err := als.Train(context.Background(), m, cfg, als.Options{WarmItems: begin})
		if err != nil {
			t.Fatal(err)
		}
		// The model's users have been solved for once more, after the last iteration.
		if loss, err := als.Loss(m, model, 1); err != nil || loss > us.loss*(1+1e-6) || loss < us.loss/2 {
			t.Errorf("%s: loss %g, of the model %g, %v", solver, us.loss, loss, err)
		}
	}
}

func TestWhatIsHandedOverIsReadAgain(t *testing.T) {
	m, err := zipf(20, 10, 50)
	if err != nil {
		t.Fatal(err)
	}
	dir, begin := t.TempDir(), start(10, 3)
	if err := handOver(dir, m, begin); err != nil {
		t.Fatal(err)
	}
	if got, err := factors(dir, "items", 30); err != nil || !slices.Equal(got, begin) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := factors(dir, "items", 31); err == nil {
		t.Error("a file of another size was accepted")
	}
	bytes, err := os.ReadFile(filepath.Join(dir, "indptr"))
	if err != nil || len(bytes) != 8*21 || binary.LittleEndian.Uint64(bytes[160:]) != uint64(m.NNZ()) {
		t.Errorf("%d bytes of indptr, %v", len(bytes), err)
	}
}

func TestSummary(t *testing.T) {
	s := summarise([]*measured{
		{Set: "a", Dim: 64, Solver: als.SolverCG, Ratio: 2, Theirs: 6}, {Set: "a", Dim: 64, Solver: als.SolverCholesky, Ratio: 9, Ours: 2},
		{Set: "b", Dim: 128, Solver: als.SolverCG, Ratio: 8, Theirs: 1}, {Set: "b", Dim: 128, Solver: als.SolverCholesky, Ratio: 4, Ours: 2},
	})
	if math.Abs(s.CG-4) > 1e-12 || math.Abs(s.Cholesky-6) > 1e-12 || s.ExactByCG != 3 {
		t.Errorf("%+v", s)
	}
	if got := median([]float64{3, 1, 2, 10}); got != 2.5 {
		t.Errorf("median %g", got)
	}
}

func TestRefusals(t *testing.T) {
	for want, o := range map[string]options{
		"-python is missing": {threads: 2, iterations: 1},
		"-iterations and":    {python: "x", threads: 2},
		"there is no set":    {python: "x", threads: 1, iterations: 1, sets: "netflix"},
	} {
		if err := run(context.Background(), o, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
