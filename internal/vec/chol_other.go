//go:build !amd64 || purego

package vec

func cholRows(a []float32, ld, cols int, inv []float32) { cholRowsGeneric(a, ld, cols, inv) }

func cholSolve(u []float32, n int, inv, b []float32) { cholSolveGeneric(u, n, inv, b) }
