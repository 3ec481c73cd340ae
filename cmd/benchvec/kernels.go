package main

import (
	"fmt"
	"math/rand/v2"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"

	"marquee/internal/vec"
)

// kernel is one measurement: a kernel at a size, ours and gonum's (nil where it has none).
type kernel struct {
	name        string
	n, m, k     int
	flops       float64
	ours, gonum func()
}

func (k kernel) size() string {
	switch k.name {
	case "gemv", "int8 gemv":
		return fmt.Sprintf("%d x %d", k.m, k.n)
	case "syrk":
		return fmt.Sprintf("%d x %d, %d deep", k.n, k.n, k.k)
	case "gemm":
		return fmt.Sprintf("%d x %d x %d", k.m, k.n, k.k)
	}
	return fmt.Sprint(k.n)
}

// kernels are all that is measured, at the sizes that ALS and search have.
func kernels() []kernel {
	var all []kernel
	for _, n := range []int{64, 128, 256} {
		all = append(all, dots(n)...)
	}
	for _, s := range [][2]int{{256, 64}, {256, 128}, {100_000, 128}} {
		all = append(all, gemvs(s[0], s[1])...)
	}
	for _, n := range []int{64, 128, 256} {
		all = append(all, syrk(n, 256))
	}
	for _, s := range [][3]int{{1024, 64, 1024}, {512, 512, 512}, {1024, 1024, 128}} {
		all = append(all, gemm(s[0], s[1], s[2]))
	}
	for _, n := range []int{64, 128, 256, 512} {
		all = append(all, choleskys(n)...)
	}
	return all
}

func floats(n int) []float32 {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	out := make([]float32, n)
	for i := range out {
		out[i] = r.Float32() - 0.5
	}
	return out
}

func int8s(n int) []int8 {
	r := rand.New(rand.NewPCG(2, uint64(n)))
	out := make([]int8, n)
	for i := range out {
		out[i] = int8(r.IntN(255) - 127)
	}
	return out
}

func dots(n int) []kernel {
	x, y, f := floats(n), floats(n), 2*float64(n)
	a, b := int8s(n), int8s(n)
	vx, vy := blas32.Vector{N: n, Inc: 1, Data: x}, blas32.Vector{N: n, Inc: 1, Data: y}
	return []kernel{
		{name: "dot", n: n, flops: f, ours: func() { vec.Dot(x, y) }, gonum: func() { blas32.Dot(vx, vy) }},
		{name: "axpy", n: n, flops: f, ours: func() { vec.Axpy(1e-9, x, y) }, gonum: func() { blas32.Axpy(1e-9, vx, vy) }},
		{name: "int8 dot", n: n, flops: f, ours: func() { vec.DotInt8(a, b) }},
	}
}

func gemvs(rows, cols int) []kernel {
	m, x, dst, f := floats(rows*cols), floats(cols), make([]float32, rows), 2*float64(rows*cols)
	mi, xi, di := int8s(rows*cols), int8s(cols), make([]int32, rows)
	a, vx, vy := blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: m}, blas32.Vector{N: cols, Inc: 1, Data: x}, blas32.Vector{N: rows, Inc: 1, Data: dst}
	return []kernel{
		{name: "gemv", n: cols, m: rows, flops: f, ours: func() { vec.Gemv(dst, m, x) }, gonum: func() { blas32.Gemv(blas.NoTrans, 1, a, vx, 0, vy) }},
		{name: "int8 gemv", n: cols, m: rows, flops: f, ours: func() { vec.GemvInt8(di, mi, xi) }},
	}
}

// syrk counts the operations of one triangle.
func syrk(n, k int) kernel {
	c, p := make([]float32, n*n), floats(k*n)
	return kernel{
		name: "syrk", n: n, k: k, flops: float64(n) * float64(n+1) * float64(k),
		ours: func() { vec.Syrk(c, p, k, n) },
		gonum: func() {
			blas32.Syrk(blas.Trans, 1, blas32.General{Rows: k, Cols: n, Stride: n, Data: p}, 1, blas32.Symmetric{N: n, Stride: n, Data: c, Uplo: blas.Upper})
		},
	}
}

func gemm(m, n, k int) kernel {
	var g vec.Gemm
	a, b, c := floats(m*k), floats(k*n), make([]float32, m*n)
	return kernel{
		name: "gemm", n: n, m: m, k: k, flops: 2 * float64(m) * float64(n) * float64(k),
		ours: func() { g.Mul(m, n, k, 1, vec.Operand{Data: a, Stride: k}, vec.Operand{Data: b, Stride: n}, 0, c, n) },
		gonum: func() {
			blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, blas32.General{Rows: m, Cols: k, Stride: k, Data: a},
				blas32.General{Rows: k, Cols: n, Stride: n, Data: b}, 0, blas32.General{Rows: m, Cols: n, Stride: n, Data: c})
		},
	}
}

// choleskys are the factorization and the solution with it. The copy of the operand, which both overwrite, is on everyone's clock. gonum
// has them for float64 alone.
func choleskys(n int) []kernel {
	d := floats(n * n)
	for i := range n {
		d[i*n+i] = float32(n)
	}
	a, inv, b, x := make([]float32, n*n), make([]float32, n), floats(n), make([]float32, n)
	wide, work, right := make([]float64, n*n), make([]float64, n*n), make([]float64, n)
	for i, v := range d {
		wide[i] = float64(v)
	}
	factored, factoredInv := append([]float32(nil), d...), make([]float32, n)
	vec.Cholesky(factored, n, factoredInv)
	t, _ := lapack64.Potrf(blas64.Symmetric{N: n, Stride: n, Data: append([]float64(nil), wide...), Uplo: blas.Upper})
	return []kernel{
		{
			name: "cholesky", n: n, flops: float64(n) * float64(n) * float64(n) / 3,
			ours: func() { copy(a, d); vec.Cholesky(a, n, inv) },
			gonum: func() {
				copy(work, wide)
				lapack64.Potrf(blas64.Symmetric{N: n, Stride: n, Data: work, Uplo: blas.Upper})
			},
		},
		{
			name: "solve", n: n, flops: 2 * float64(n) * float64(n),
			ours: func() { copy(x, b); vec.CholeskySolve(factored, n, factoredInv, x) },
			gonum: func() {
				for i, v := range b {
					right[i] = float64(v)
				}
				lapack64.Potrs(t, blas64.General{Rows: n, Cols: 1, Stride: 1, Data: right})
			},
		},
	}
}
