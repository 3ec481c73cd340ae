package vec

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestGatherCopy(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 1))
	const rows = 60
	for _, cols := range []int{0, 1, 8, 15, 16, 40, 64, 200} {
		for _, n := range []int{0, 1, 3, 4, 5, 19, 20, 25, 70} {
			m, x := randomRows(rng, rows, cols), randomRows(rng, 1, cols)
			ids := make([]uint32, n)
			for i := range ids {
				ids[i] = rng.Uint32N(rows)
			}
			if cols == 0 && n > 0 {
				continue // a matrix without columns has no rows
			}
			dst, packed := slices.Repeat([]float32{7}, n+1), slices.Repeat([]float32{7}, n*cols+1)
			if !GatherCopy(dst, packed, m, x, ids) {
				t.Fatalf("%d of %d columns: refused", n, cols)
			}
			for i, id := range ids {
				row := m[int(id)*cols : (int(id)+1)*cols]
				if !slices.Equal(packed[i*cols:(i+1)*cols], row) {
					t.Fatalf("%d of %d columns: row %d was copied otherwise", n, cols, i)
				}
				if off := math.Abs(float64(dst[i]) - float64(dotGeneric(row, x))); off > 1e-4 {
					t.Fatalf("%d of %d columns: product %d is off by %g", n, cols, i, off)
				}
			}
			if dst[n] != 7 || packed[n*cols] != 7 {
				t.Fatalf("%d of %d columns: wrote past the end", n, cols)
			}
			for i := range ids {
				bad := slices.Clone(ids)
				bad[i] = rows
				if GatherCopy(dst, packed, m, x, bad) {
					t.Fatalf("%d of %d columns: id %d is no row and was accepted", n, cols, i)
				}
			}
		}
	}
}

func TestStepsOfConjugateGradientsAgainstFloat64(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 1))
	near := func(what string, n, i int, got float32, want float64) {
		t.Helper()
		if !(math.Abs(float64(got)-want) <= 1e-5*(1+math.Abs(want))) {
			t.Fatalf("%s of %d: element %d is %g, want %g", what, n, i, got, want)
		}
	}
	for _, n := range []int{0, 1, 7, 8, 9, 16, 40, 64, 131} {
		vector := func() []float32 { return randomRows(rng, 1, n) }
		x, r, z, p, ap, inverse := vector(), vector(), vector(), vector(), vector(), vector()
		wasX, wasR := slices.Clone(x), slices.Clone(r)
		sum, got := 0.0, Advance(0.75, x, r, z, p, ap, inverse)
		for i := range n {
			residual := float64(wasR[i]) - 0.75*float64(ap[i])
			near("Advance x", n, i, x[i], float64(wasX[i])+0.75*float64(p[i]))
			near("Advance r", n, i, r[i], residual)
			near("Advance z", n, i, z[i], residual*float64(inverse[i]))
			sum += residual * residual * float64(inverse[i])
		}
		near("Advance product", n, 0, got, sum)

		was, diag := slices.Clone(p), vector()
		Direct(-0.5, p, ap, z, diag)
		for i := range n {
			want := float64(z[i]) - 0.5*float64(was[i])
			near("Direct p", n, i, p[i], want)
			near("Direct ap", n, i, ap[i], want*float64(diag[i]))
		}

		values := vector()
		for i := range values {
			values[i] *= values[i]
		}
		Diagonal(diag, inverse, values, 2, 0.25, 3)
		for i, v := range values {
			near("Diagonal", n, i, diag[i], 2*float64(v)+0.25)
			near("Diagonal inverse", n, i, inverse[i], 1/(5*float64(v)+0.25))
		}
		clear(values)
		Diagonal(diag, inverse, values, 2, 0, 3)
		for i := range values {
			near("Diagonal of zeros", n, i, inverse[i], 0)
		}
	}
}

func TestStepsOfConjugateGradientsRefuseSizes(t *testing.T) {
	four, five := make([]float32, 4), make([]float32, 5)
	for name, f := range map[string]func(){
		"advance":  func() { Advance(1, four, four, four, four, four, five) },
		"direct":   func() { Direct(1, four, five, four, four) },
		"diagonal": func() { Diagonal(four, four, five, 1, 1, 1) },
		"gather":   func() { GatherCopy(four, four, four, four, []uint32{0, 0}) },
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

func TestLarge(t *testing.T) {
	for _, n := range []int{0, 1, 1000, 1<<20 + 3, 5 << 20} {
		v := Large(n)
		if len(v) != n || slices.ContainsFunc(v, func(x float32) bool { return x != 0 }) {
			t.Errorf("%d: %d numbers, or not all of them 0", n, len(v))
		}
	}
}
