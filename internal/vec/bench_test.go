package vec

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

var (
	sinkFloat float32
	sinkInt   int32
)

func BenchmarkDot(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{16, 64, 100, 128, 256} {
		x, y := randomFloats(r, n, 0), randomFloats(r, n, 0)
		b.Run(fmt.Sprintf("vec/%d", n), func(b *testing.B) {
			for b.Loop() {
				sinkFloat = Dot(x, y)
			}
		})
		b.Run(fmt.Sprintf("generic/%d", n), func(b *testing.B) {
			for b.Loop() {
				sinkFloat = dotGeneric(x, y)
			}
		})
		b.Run(fmt.Sprintf("gonum/%d", n), func(b *testing.B) {
			vx, vy := blas32.Vector{N: n, Inc: 1, Data: x}, blas32.Vector{N: n, Inc: 1, Data: y}
			for b.Loop() {
				sinkFloat = blas32.Dot(vx, vy)
			}
		})
	}
}

func BenchmarkAxpy(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{64, 128} {
		x, y := randomFloats(r, n, 0), randomFloats(r, n, 0)
		b.Run(fmt.Sprintf("vec/%d", n), func(b *testing.B) {
			for b.Loop() {
				Axpy(1e-9, x, y)
			}
		})
		b.Run(fmt.Sprintf("gonum/%d", n), func(b *testing.B) {
			vx, vy := blas32.Vector{N: n, Inc: 1, Data: x}, blas32.Vector{N: n, Inc: 1, Data: y}
			for b.Loop() {
				blas32.Axpy(1e-9, vx, vy)
			}
		})
	}
}

// BenchmarkGemv reports the time of a whole product; ns/row is the figure to compare.
func BenchmarkGemv(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, s := range []struct{ rows, cols int }{{64, 64}, {1000, 64}, {100_000, 64}, {1000, 100}, {1000, 128}, {100_000, 128}} {
		m, x, dst := randomFloats(r, s.rows*s.cols, 0), randomFloats(r, s.cols, 0), make([]float32, s.rows)
		perRow := func(b *testing.B) {
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(s.rows), "ns/row")
		}
		b.Run(fmt.Sprintf("vec/%dx%d", s.rows, s.cols), func(b *testing.B) {
			for b.Loop() {
				Gemv(dst, m, x)
			}
			perRow(b)
		})
		b.Run(fmt.Sprintf("gonum/%dx%d", s.rows, s.cols), func(b *testing.B) {
			a := blas32.General{Rows: s.rows, Cols: s.cols, Stride: s.cols, Data: m}
			vx, vy := blas32.Vector{N: s.cols, Inc: 1, Data: x}, blas32.Vector{N: s.rows, Inc: 1, Data: dst}
			for b.Loop() {
				blas32.Gemv(blas.NoTrans, 1, a, vx, 0, vy)
			}
			perRow(b)
		})
		mi, xi, di := randomInt8(r, s.rows*s.cols, 0), randomInt8(r, s.cols, 0), make([]int32, s.rows)
		b.Run(fmt.Sprintf("int8/%dx%d", s.rows, s.cols), func(b *testing.B) {
			for b.Loop() {
				GemvInt8(di, mi, xi)
			}
			perRow(b)
		})
	}
}

func BenchmarkGather(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	const rows, n = 2000, 16
	ids := make([]uint32, n)
	for i := range ids {
		ids[i] = r.Uint32N(rows)
	}
	for _, cols := range []int{64, 100, 128} {
		m, x, dst := randomFloats(r, rows*cols, 0), randomFloats(r, cols, 0), make([]float32, n)
		mi, xi, di := randomInt8(r, rows*cols, 0), randomInt8(r, cols, 0), make([]int32, n)
		perRow := func(b *testing.B) {
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
		}
		b.Run(fmt.Sprintf("dot/%d", cols), func(b *testing.B) {
			for b.Loop() {
				GatherDot(dst, m, x, ids)
			}
			perRow(b)
		})
		b.Run(fmt.Sprintf("l2/%d", cols), func(b *testing.B) {
			for b.Loop() {
				GatherNegL2(dst, m, x, ids)
			}
			perRow(b)
		})
		b.Run(fmt.Sprintf("int8/%d", cols), func(b *testing.B) {
			for b.Loop() {
				GatherDotInt8(di, mi, xi, ids)
			}
			perRow(b)
		})
	}
}

func BenchmarkDotInt8(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	x, y := randomInt8(r, 64, 0), randomInt8(r, 64, 0)
	for b.Loop() {
		sinkInt = DotInt8(x, y)
	}
}
