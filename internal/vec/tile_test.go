package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestTileProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, n := range []int{0, 16, 48, 80, 128} {
		a, b, c := randomFloats(r, n*n, 0), randomFloats(r, n*n, 0), randomFloats(r, n*n, 0)
		added, taken := append([]float32(nil), c...), append([]float32(nil), c...)
		AddTransposed(added, a, b, n)
		SubTransposed(taken, a, b, n)
		for i := range n {
			for j := range n {
				var want float64
				for k := range n {
					want += float64(a[k*n+i]) * float64(b[k*n+j])
				}
				at := float64(c[i*n+j])
				if math.Abs(float64(added[i*n+j])-at-want) > 1e-4 || math.Abs(float64(taken[i*n+j])-at+want) > 1e-4 {
					t.Fatalf("n=%d (%d, %d): %g and %g, want %g added and taken", n, i, j, added[i*n+j], taken[i*n+j], want)
				}
			}
		}
	}
	for name, call := range map[string]func(){
		"side":  func() { AddTransposed(make([]float32, 64), make([]float32, 64), make([]float32, 64), 8) },
		"short": func() { SubTransposed(make([]float32, 256), make([]float32, 255), make([]float32, 256), 16) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("accepted")
				}
			}()
			call()
		})
	}
}

func BenchmarkAddTransposed(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{64, 128, 192, 256} {
		x, y, c := randomFloats(r, n*n, 0), randomFloats(r, n*n, 0), make([]float32, n*n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				AddTransposed(c, x, y, n)
			}
			b.ReportMetric(2*float64(n)*float64(n)*float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
