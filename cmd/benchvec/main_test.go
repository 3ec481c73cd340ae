package main

import (
	"context"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestEveryKernelRunsBesideItsPeers(t *testing.T) {
	var names []string
	for _, k := range kernels() {
		if k.m > 10_000 || k.flops > 3e7 {
			continue // An emulated or loaded machine takes seconds.
		}
		if k.flops <= 0 || k.size() == "" {
			t.Errorf("%s %s: %g operations", k.name, k.size(), k.flops)
		}
		k.ours()
		if k.gonum != nil {
			k.gonum()
		}
		names = append(names, k.name)
	}
	for _, want := range []string{"dot", "axpy", "gemv", "syrk", "gemm", "cholesky", "solve", "int8 dot", "int8 gemv"} {
		if want != "gemm" && !slices.Contains(names, want) {
			t.Errorf("there is no %s among %v", want, names)
		}
	}
}

func TestRefusals(t *testing.T) {
	if err := run(context.Background(), "", io.Discard); err == nil || !strings.Contains(err.Error(), "-openblas is missing") {
		t.Error(err)
	}
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("LEFT OUT: no C compiler")
	}
	if err := run(context.Background(), "/nonexistent/libopenblas.so", io.Discard); err == nil || !strings.Contains(err.Error(), "drive OpenBLAS") {
		t.Error(err)
	}
}

func TestFigures(t *testing.T) {
	if figure("%.1f", 0) != "" || figure("%.1f", 2) != "2.0" || ratio(1, 0) != 0 || ratio(3, 2) != 1.5 {
		t.Error("an absent peer is no number")
	}
}
