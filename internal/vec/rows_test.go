package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestPackTransposed(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 1))
	for _, n := range []int{0, 8, 16, 40, 64} {
		for _, ld := range []int{8, 16, 33} {
			var rows [Group][]float32
			for r := range rows {
				rows[r] = randomRows(rng, 1, n+r)
			}
			scale := randomRows(rng, 1, n)
			dst := make([]float32, n*ld)
			for i := range dst {
				dst[i] = 77
			}
			PackTransposed(dst, ld, &rows, scale)
			for j := range n {
				for r := range ld {
					want := float32(77)
					if r < Group {
						want = scale[j] * rows[r][j]
					}
					if dst[j*ld+r] != want {
						t.Fatalf("n=%d ld=%d: (%d, %d) is %v, want %v", n, ld, j, r, dst[j*ld+r], want)
					}
				}
			}
		}
	}
}

func TestMulTransposedAgainstFloat64(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 1))
	for _, n := range []int{16, 48, 64, 144} {
		for _, rows := range []int{0, 4, 8, 16} {
			a, b, c := randomRows(rng, n, n), randomRows(rng, n, n), randomRows(rng, 16, n)
			was := append([]float32(nil), c...)
			MulTransposed(c, a, b, rows, n)
			for i := range 16 {
				for j := range n {
					want := float64(was[i*n+j])
					for k := 0; i < rows && k < n; k++ {
						want += float64(a[k*n+i]) * float64(b[k*n+j])
					}
					if off := math.Abs(float64(c[i*n+j]) - want); off > 1e-4 {
						t.Fatalf("n=%d rows=%d: (%d, %d) is off by %g", n, rows, i, j, off)
					}
				}
			}
		}
	}
}

func TestGemvTAgainstFloat64(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 1))
	for _, cols := range []int{0, 1, 15, 16, 17, 48, 64, 80, 131, 200} {
		for _, rows := range []int{0, 1, 2, 9, 50} {
			m, v, dst := randomRows(rng, rows, cols), randomRows(rng, 1, rows), randomRows(rng, 1, cols+1)
			was := append([]float32(nil), dst...)
			GemvT(dst[:cols], m, v)
			for j := range cols {
				want := float64(was[j])
				for k := range rows {
					want += float64(v[k]) * float64(m[k*cols+j])
				}
				if off := math.Abs(float64(dst[j]) - want); off > 1e-5*float64(rows+1) {
					t.Fatalf("%d x %d: column %d is off by %g", rows, cols, j, off)
				}
			}
			if dst[cols] != was[cols] {
				t.Fatalf("%d x %d: wrote past dst", rows, cols)
			}
		}
	}
}

func TestRowKernelsRefuseSizes(t *testing.T) {
	short := [Group][]float32{}
	for name, f := range map[string]func(){
		"scale":     func() { PackTransposed(make([]float32, 64), 8, &short, make([]float32, 7)) },
		"row":       func() { PackTransposed(make([]float32, 64), 8, &short, make([]float32, 8)) },
		"ld":        func() { PackTransposed(make([]float32, 64), 4, &short, make([]float32, 8)) },
		"mul":       func() { MulTransposed(nil, nil, nil, 4, 16) },
		"mul rows":  func() { MulTransposed(make([]float32, 256), make([]float32, 256), make([]float32, 256), 3, 16) },
		"transpose": func() { GemvT(make([]float32, 3), make([]float32, 5), make([]float32, 2)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			f()
		}()
	}
}

func BenchmarkGemvT(b *testing.B) {
	rng := rand.New(rand.NewPCG(11, 1))
	for _, n := range []int{64, 128} {
		const rows = 50
		m, v, dst := randomRows(rng, rows, n), randomRows(rng, 1, rows), make([]float32, n)
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			for b.Loop() {
				GemvT(dst, m, v)
			}
			b.ReportMetric(float64(2*rows*n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
