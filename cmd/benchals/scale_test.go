package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"marquee/training/als"
)

func TestGrownSetsHaveOneShape(t *testing.T) {
	for _, n := range []int{1_000_000, 2_000_000} {
		m, err := grown(n)
		if err != nil {
			t.Fatal(err)
		}
		if m.Rows != n/50 || m.Cols != n/200 || m.NNZ() < n*8/10 || m.NNZ() > n {
			t.Fatalf("%d asked for: %d interactions, %d x %d", n, m.NNZ(), m.Rows, m.Cols)
		}
		counts := m.Transpose()
		head := 0
		for i := range m.Cols / 100 {
			head += counts.RowLen(i)
		}
		if share := float64(head) / float64(m.NNZ()); share < 0.18 || share > 0.3 {
			t.Errorf("%d asked for: the first hundredth of the titles has %.3f of the interactions", n, share)
		}
	}
}

func TestScaleOfOneSize(t *testing.T) {
	var out bytes.Buffer
	o := options{one: 20_000, dim: 16, threads: 2, iterations: 2, solver: als.SolverCG}
	if err := run(context.Background(), o, &out); err != nil {
		t.Fatal(err)
	}
	var s scaled
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Seconds <= 0 || s.Interactions < 10_000 || s.Matrix < 16*int64(s.Interactions) || s.Users != 400 || s.Titles != 100 {
		t.Errorf("%+v", s)
	}
}

func TestScaleTable(t *testing.T) {
	var out bytes.Buffer
	table := scaleTable([]*scaled{
		{Solver: "cg", Interactions: 1e6, CPU: 2, Seconds: 1, Matrix: 1e9, Peak: 2e9}, {Solver: "cg", Interactions: 1e8, CPU: 200, Seconds: 100, Matrix: 1e9, Peak: 3e9},
		{Solver: "cholesky", Interactions: 1e6, CPU: 2, Seconds: 1, Matrix: 1e9, Peak: 2e9},
	}, options{dim: 8, threads: 2, iterations: 1})
	if err := table.Write(&out, "markdown"); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Count(got, "| 2.000 | 1.00 |") != 1 || !strings.Contains(got, "| 3.00 |") {
		t.Error(got)
	}
}

func TestScaleRefuses(t *testing.T) {
	for _, sizes := range []string{"x", "999", "", "3000000000"} {
		err := run(context.Background(), options{sizes: "," + sizes, threads: 1, iterations: 1}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "-scale takes numbers") {
			t.Errorf("%q: %v", sizes, err)
		}
	}
}
