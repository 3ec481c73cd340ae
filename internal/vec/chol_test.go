package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"
)

func randomRows(rng *rand.Rand, k, n int) []float32 {
	p := make([]float32, k*n)
	for i := range p {
		p[i] = float32(rng.NormFloat64())
	}
	return p
}

func TestSyrkAgainstFloat64(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{16, 32, 48, 64, 80, 128, 208} {
		for _, k := range []int{0, 1, 2, 3, 17, 64, 65, 200} {
			p, c := randomRows(rng, k, n), randomRows(rng, n, n)
			want := make([]float64, n*n)
			for i := range n {
				for j := i; j < n; j++ {
					want[i*n+j] = float64(c[i*n+j])
					for q := range k {
						want[i*n+j] += float64(p[q*n+i]) * float64(p[q*n+j])
					}
				}
			}
			Syrk(c, p, k, n)
			for i := range n {
				for j := i; j < n; j++ {
					if d := math.Abs(float64(c[i*n+j]) - want[i*n+j]); d > 1e-5*float64(k+10) {
						t.Fatalf("n=%d k=%d: (%d, %d) is off by %g", n, k, i, j, d)
					}
				}
			}
		}
	}
}

// TestPanelKernelsAgree holds the assembly, where there is any, against plain Go.
func TestPanelKernelsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	for _, sub := range []bool{false, true} {
		for _, k := range []int{1, 2, 7, 8} {
			const n, tiles = 48, 2
			a, c := randomRows(rng, k, n), randomRows(rng, 4, n)
			want := append([]float32(nil), c...)
			panel(c, a[3:], a[16:], n, k, tiles, sub)
			panelGeneric(want, a[3:], a[16:], n, k, tiles, sub)
			for i := range c {
				if math.Abs(float64(c[i]-want[i])) > 1e-5 {
					t.Fatalf("k=%d sub=%v element %d: %v, want %v", k, sub, i, c[i], want[i])
				}
			}
		}
	}
}

func TestPackScaled(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	for _, n := range []int{0, 1, 7, 8, 9, 50, 64} {
		src, acc := randomRows(rng, 1, n), randomRows(rng, 1, n+3)
		before := append([]float32(nil), acc...)
		dst := randomRows(rng, 1, n+3)
		PackScaled(dst, acc, src, 0.5, -2)
		for i := range dst {
			want, wantAcc := float32(0), before[i]
			if i < n {
				want = 0.5 * src[i]
				wantAcc -= src[i]
			}
			if dst[i] != want || math.Abs(float64(acc[i]-wantAcc)) > 1e-6 {
				t.Fatalf("n=%d element %d: packed %v acc %v, want %v and %v", n, i, dst[i], acc[i], want, wantAcc)
			}
		}
	}
}

// positiveDefinite returns P^T P + n/4*I with its upper triangle set and the lower filled with a trap value.
func positiveDefinite(rng *rand.Rand, n int) ([]float32, *mat.SymDense) {
	a := make([]float32, n*n)
	Syrk(a, randomRows(rng, 2*n, n), 2*n, n)
	sym := mat.NewSymDense(n, nil)
	for i := range n {
		a[i*n+i] += float32(n) / 4
		for j := range n {
			if j < i {
				a[i*n+j] = float32(math.NaN())
			} else {
				sym.SetSym(i, j, float64(a[i*n+j]))
			}
		}
	}
	return a, sym
}

func TestCholeskySolvesAsGonumDoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	for n := 16; n <= 208; n += 16 {
		a, sym := positiveDefinite(rng, n)
		b := randomRows(rng, 1, n)
		rhs := mat.NewVecDense(n, nil)
		for i, v := range b {
			rhs.SetVec(i, float64(v))
		}
		var chol mat.Cholesky
		if !chol.Factorize(sym) {
			t.Fatal("gonum refuses the test matrix")
		}
		var want mat.VecDense
		if err := chol.SolveVecTo(&want, rhs); err != nil {
			t.Fatal(err)
		}
		inv := make([]float32, n)
		if !Cholesky(a, n, inv) {
			t.Fatalf("n=%d: refused a positive definite matrix", n)
		}
		var u mat.TriDense
		chol.UTo(&u)
		for i := range n {
			for j := i; j < n; j++ {
				if d := math.Abs(float64(a[i*n+j]) - u.At(i, j)); d > 1e-4*math.Sqrt(float64(n)) {
					t.Fatalf("n=%d: U(%d, %d) = %v, want %v", n, i, j, a[i*n+j], u.At(i, j))
				}
			}
		}
		generic := append([]float32(nil), b...)
		CholeskySolve(a, n, inv, b)
		cholSolveGeneric(a, n, inv, generic)
		for i := range n {
			if d := math.Abs(float64(b[i]) - want.AtVec(i)); d > 1e-5 {
				t.Fatalf("n=%d: x[%d] = %v, want %v", n, i, b[i], want.AtVec(i))
			}
			if d := math.Abs(float64(generic[i]) - want.AtVec(i)); d > 1e-5 {
				t.Fatalf("n=%d: plain Go x[%d] = %v, want %v", n, i, generic[i], want.AtVec(i))
			}
		}
	}
}

func TestCholRowsKernelsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	const n = 48
	a, _ := positiveDefinite(rng, n)
	b := append([]float32(nil), a...)
	ia, ib := make([]float32, 8), make([]float32, 8)
	cholRows(a, n, n, ia)
	cholRowsGeneric(b, n, n, ib)
	for i := range 8 {
		if math.Abs(float64(ia[i]/ib[i]-1)) > 1e-6 {
			t.Fatalf("reciprocal %d: %v, want %v", i, ia[i], ib[i])
		}
		for j := range n {
			if math.Abs(float64(a[i*n+j]-b[i*n+j])) > 1e-5 {
				t.Fatalf("(%d, %d): %v, want %v", i, j, a[i*n+j], b[i*n+j])
			}
		}
	}
}

func TestCholeskyRefusesWhatIsNotPositiveDefinite(t *testing.T) {
	for _, bad := range []float32{0, -1, float32(math.NaN()), float32(math.Inf(1))} {
		for _, at := range []int{0, 7, 8, 31} {
			const n = 32
			a, inv := make([]float32, n*n), make([]float32, n)
			for i := range n {
				a[i*n+i] = 1
			}
			a[at*n+at] = bad
			if Cholesky(a, n, inv) {
				t.Errorf("diagonal %v at %d was accepted", bad, at)
			}
		}
	}
}

func TestSizesThatDoNotFitPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"Syrk":          func() { Syrk(make([]float32, 16), nil, 0, 16) },
		"Cholesky":      func() { Cholesky(make([]float32, 64), 8, make([]float32, 8)) },
		"CholeskySolve": func() { CholeskySolve(make([]float32, 256), 16, make([]float32, 16), nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s took sizes that do not fit", name)
				}
			}()
			f()
		}()
	}
}

func BenchmarkSyrk(b *testing.B) {
	rng := rand.New(rand.NewPCG(6, 1))
	for _, n := range []int{64, 128} {
		for _, k := range []int{20, 100} {
			p, c := randomRows(rng, k, n), make([]float32, n*n)
			b.Run(fmt.Sprintf("n=%d/k=%d", n, k), func(b *testing.B) {
				for b.Loop() {
					Syrk(c, p, k, n)
				}
				b.ReportMetric(float64(k*n*(n+1))*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

func BenchmarkCholesky(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 1))
	for _, n := range []int{32, 64, 128, 256} {
		a, _ := positiveDefinite(rng, n)
		work, inv, x := make([]float32, n*n), make([]float32, n), make([]float32, n)
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			for b.Loop() {
				copy(work, a)
				Cholesky(work, n, inv)
			}
			b.ReportMetric(float64(n*n*n)/3*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
		b.Run(fmt.Sprintf("solve/n=%d", n), func(b *testing.B) {
			for b.Loop() {
				CholeskySolve(work, n, inv, x)
			}
		})
	}
}
