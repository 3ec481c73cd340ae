package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// product is alpha*A*B + beta*c in float64, and the sum of its terms' magnitudes.
func product(m, n, k int, alpha float32, a, b Operand, beta float32, c []float32, ldc int) (out, size []float64) {
	at := func(o Operand, i, j int) float64 {
		if o.Transposed {
			i, j = j, i
		}
		return float64(o.Data[i*o.Stride+j])
	}
	out, size = make([]float64, m*n), make([]float64, m*n)
	for i := range m {
		for j := range n {
			var sum, abs float64
			for p := range k {
				v := at(a, i, p) * at(b, p, j)
				sum, abs = sum+v, abs+math.Abs(v)
			}
			out[i*n+j], size[i*n+j] = float64(alpha)*sum, math.Abs(float64(alpha))*abs
			if beta != 0 {
				out[i*n+j] += float64(beta) * float64(c[i*ldc+j])
				size[i*n+j] += math.Abs(float64(beta) * float64(c[i*ldc+j]))
			}
		}
	}
	return out, size
}

func randomOperand(r *rand.Rand, rows, cols int, transposed bool) Operand {
	if transposed {
		rows, cols = cols, rows
	}
	ld := cols + r.IntN(5)
	return Operand{Data: randomRows(r, max(rows, 1), max(ld, 1)), Stride: max(ld, 1), Transposed: transposed}
}

// TestGemm compares products of odd sizes, every form of transposition and of adding, with float64's, and sees that nothing beside
// the product is written.
func TestGemm(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	sizes := [][3]int{{1, 1, 1}, {8, 32, 4}, {7, 31, 3}, {9, 33, 5}, {16, 24, 16}, {200, 65, 64}, {3, 2100, 7}, {130, 50, 300}, {1, 64, 600}, {4, 4, 0}, {0, 3, 2}}
	for range 20 {
		sizes = append(sizes, [3]int{1 + r.IntN(150), 1 + r.IntN(100), 1 + r.IntN(80)})
	}
	var g Gemm
	for _, s := range sizes {
		m, n, k := s[0], s[1], s[2]
		for form := range 4 {
			for _, beta := range []float32{0, 1, 0.5} {
				a, b := randomOperand(r, m, k, form&1 != 0), randomOperand(r, k, n, form&2 != 0)
				ldc := n + 3
				c := randomRows(r, m+1, ldc)
				if beta == 0 && m > 0 {
					c[0] = float32(math.NaN())
				}
				before := slices.Clone(c)
				want, size := product(m, n, k, 1.5, a, b, beta, c, ldc)
				g.Mul(m, n, k, 1.5, a, b, beta, c, ldc)
				for i := range m + 1 {
					for j := range ldc {
						got := c[i*ldc+j]
						if i == m || j >= n {
							if got != before[i*ldc+j] {
								t.Fatalf("%v, form %d: wrote beside the product at %d, %d", s, form, i, j)
							}
							continue
						}
						if off := math.Abs(float64(got) - want[i*n+j]); !(off <= 1e-6*size[i*n+j]+1e-30) {
							t.Fatalf("%v, form %d, beta %v: element %d, %d is %v, want %v", s, form, beta, i, j, got, want[i*n+j])
						}
					}
				}
			}
		}
	}
}

// TestGemmInPieces is what training in parallel stands on: a product cut along rows or columns is the product to the bit.
func TestGemmInPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	const m, n, k = 77, 91, 530
	for form := range 4 {
		a, b := randomOperand(r, m, k, form&1 != 0), randomOperand(r, k, n, form&2 != 0)
		var g Gemm
		whole, pieces := make([]float32, m*n), make([]float32, m*n)
		g.Mul(m, n, k, 1, a, b, 0, whole, n)
		for _, rows := range [][2]int{{0, 13}, {13, 64}, {64, m}} {
			for _, cols := range [][2]int{{0, 50}, {50, n}} {
				g.Mul(rows[1]-rows[0], cols[1]-cols[0], k, 1, from(a, rows[0], 0), from(b, 0, cols[0]), 0, pieces[rows[0]*n+cols[0]:], n)
			}
		}
		if !slices.Equal(whole, pieces) {
			t.Fatalf("form %d: pieces differ from the whole", form)
		}
	}
}

// from is the operand without its first rows and columns.
func from(o Operand, row, col int) Operand {
	if o.Transposed {
		row, col = col, row
	}
	o.Data = o.Data[row*o.Stride+col:]
	return o
}

func TestGemmRefusesWhatDoesNotFit(t *testing.T) {
	ok := Operand{Data: make([]float32, 6), Stride: 3}
	for name, call := range map[string]func(g *Gemm){
		"A": func(g *Gemm) {
			g.Mul(3, 2, 3, 1, ok, Operand{Data: make([]float32, 6), Stride: 2}, 0, make([]float32, 6), 2)
		},
		"B":          func(g *Gemm) { g.Mul(2, 3, 3, 1, ok, ok, 0, make([]float32, 6), 3) },
		"C":          func(g *Gemm) { g.Mul(2, 3, 2, 1, ok, ok, 0, make([]float32, 5), 3) },
		"C's stride": func(g *Gemm) { g.Mul(2, 3, 2, 1, ok, ok, 0, make([]float32, 6), 2) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("was taken")
				}
			}()
			call(new(Gemm))
		})
	}
}

func TestGemmAllocatesOnce(t *testing.T) {
	var g Gemm
	a, c := Operand{Data: make([]float32, 64*64), Stride: 64}, make([]float32, 64*64)
	if n := testing.AllocsPerRun(5, func() { g.Mul(64, 64, 64, 1, a, a, 0, c, 64) }); n != 0 {
		t.Errorf("%v allocations a product", n)
	}
}

// BenchmarkGemm reports how much of what the processor's multipliers can do (BenchmarkPeak) a product takes.
func BenchmarkGemm(b *testing.B) {
	r := rand.New(rand.NewPCG(7, 9))
	for _, s := range [][3]int{{1024, 1024, 64}, {1024, 64, 4096}, {1024, 4096, 64}, {200, 200, 64}, {4096, 128, 256}} {
		m, n, k := s[0], s[1], s[2]
		for form, name := range []string{"NN", "TN", "NT"} {
			b.Run(fmt.Sprintf("%dx%dx%d/%s", m, n, k, name), func(b *testing.B) {
				x, y := randomOperand(r, m, k, form == 1), randomOperand(r, k, n, form == 2)
				c := make([]float32, m*n)
				var g Gemm
				for b.Loop() {
					g.Mul(m, n, k, 1, x, y, 0, c, n)
				}
				b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOPS")
			})
		}
	}
}

// BenchmarkPeak is one micro tile over and over, out of the first-level cache: what the multipliers can do.
func BenchmarkPeak(b *testing.B) {
	const depth = 64
	x, y, c := make([]float32, gemmMR*depth), make([]float32, gemmMaxNR*depth), make([]float32, gemmMR*gemmMaxNR)
	nr := gemmNR()
	for b.Loop() {
		for range 1000 {
			gemmTile(x, y, c, nr, depth, 1, false)
		}
	}
	b.ReportMetric(2*1000*gemmMR*float64(nr)*depth*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOPS")
}
