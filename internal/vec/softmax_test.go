package vec

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestExpShift(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for n := range 40 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64() * 20)
		}
		const shift = 7
		got := make([]float32, n)
		sum := ExpShift(got, x, shift)
		var want float64
		for i, v := range x {
			e := math.Exp(float64(v - shift))
			want += e
			if off := math.Abs(float64(got[i]) - e); off > 3e-7*e {
				t.Fatalf("e^(%v-%v) is %v, want %v", v, shift, got[i], e)
			}
		}
		if math.Abs(float64(sum)-want) > 2e-6*want {
			t.Fatalf("sum of %d is %v, want %v", n, sum, want)
		}
	}
}

func TestExpShiftAtTheEnds(t *testing.T) {
	inf := float32(math.Inf(1))
	x := []float32{-inf, -200, -87.4, 0, 1000, inf, float32(math.NaN()), 1, -inf}
	got := make([]float32, len(x))
	ExpShift(got, x, 0)
	most := float32(math.Exp(88))
	for i, want := range []float32{0, 0, 0, 1, most, most} {
		if math.Abs(float64(got[i]-want)) > 3e-7*float64(want) {
			t.Errorf("e^%v is %v, want %v", x[i], got[i], want)
		}
	}
	if got[6] == got[6] {
		t.Errorf("e^NaN is %v", got[6])
	}
}

func TestLargest(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for n := 1; n < 50; n++ {
		x := randomRows(r, 1, n)
		if got := Largest(x); got != slices.Max(x) {
			t.Fatalf("largest of %d is %v, want %v", n, got, slices.Max(x))
		}
	}
}

func TestAdamStep(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	s := AdamStep{Keep1: 0.9, Take1: 0.1, Keep2: 0.99, Take2: 0.01, Rate: 0.1, Epsilon: 1e-4, Decay: 0.3}
	for n := range 30 {
		w, g, m, v := randomRows(r, 1, n), randomRows(r, 1, n), randomRows(r, 1, n), randomRows(r, 1, n)
		for i := range v {
			v[i] *= v[i]
		}
		was := [4][]float32{slices.Clone(w), slices.Clone(g), slices.Clone(m), slices.Clone(v)}
		Adam(w, g, m, v, &s)
		for i := range w {
			grad := float64(was[1][i]) + 0.3*float64(was[0][i])
			wantM := 0.9*float64(was[2][i]) + 0.1*grad
			wantV := 0.99*float64(was[3][i]) + 0.01*grad*grad
			wantW := float64(was[0][i]) - 0.1*wantM/(math.Sqrt(wantV)+1e-4)
			for k, pair := range [][2]float64{{float64(m[i]), wantM}, {float64(v[i]), wantV}, {float64(w[i]), wantW}, {float64(g[i]), 0}} {
				if math.Abs(pair[0]-pair[1]) > 1e-5*(1+math.Abs(pair[1])) {
					t.Fatalf("%d of %d, part %d: %v, want %v", i, n, k, pair[0], pair[1])
				}
			}
		}
	}
}

func BenchmarkExpShift(b *testing.B) {
	x, y := make([]float32, 4096), make([]float32, 4096)
	b.SetBytes(4 * 4096)
	for b.Loop() {
		ExpShift(y, x, 1)
	}
}

func BenchmarkAdam(b *testing.B) {
	w, g, m, v := make([]float32, 4096), make([]float32, 4096), make([]float32, 4096), make([]float32, 4096)
	b.SetBytes(4 * 4096)
	for b.Loop() {
		Adam(w, g, m, v, &AdamStep{Keep1: 0.9, Take1: 0.1, Keep2: 0.99, Take2: 0.01, Rate: 0.1, Epsilon: 1e-4})
	}
}
