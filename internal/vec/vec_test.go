package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// lengths covers every path of the kernels: below, at and above each step width, with every kind of tail.
var lengths = []int{0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 40, 47, 63, 64, 65, 96, 100, 127, 128, 129, 200, 257}

// unaligned returns a slice of n elements that starts off elements into its array and ends where the array does, so
// that reading past it would be seen by a checker and be garbage otherwise.
func unaligned[T any](n, off int) []T { return make([]T, n+off)[off:] }

func randomFloats(r *rand.Rand, n, off int) []float32 {
	v := unaligned[float32](n, off)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

func randomInt8(r *rand.Rand, n, off int) []int8 {
	v := unaligned[int8](n, off)
	for i := range v {
		v[i] = int8(r.IntN(255) - 127)
	}
	return v
}

func isNaN(f float32) bool { return math.IsNaN(float64(f)) }

func dot64(a, b []float32) (sum, magnitude float64) {
	for i := range a {
		p := float64(a[i]) * float64(b[i])
		sum += p
		magnitude += math.Abs(p)
	}
	return sum, magnitude
}

func negL264(a, b []float32) (sum, magnitude float64) {
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum -= d * d
	}
	return sum, -sum
}

// near fails the test unless got is within float32 rounding of want, given the size of what was added up.
func near(t *testing.T, what string, got float32, want, magnitude float64) {
	t.Helper()
	if math.Abs(float64(got)-want) > 1e-6*magnitude+1e-30 {
		t.Fatalf("%s = %v, want %v", what, got, want)
	}
}

func TestDotAndAxpyAgainstFloat64(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range lengths {
		for off := range 4 {
			a, b := randomFloats(r, n, off), randomFloats(r, n, 3-off)
			want, mag := dot64(a, b)
			near(t, fmt.Sprintf("Dot of %d", n), Dot(a, b), want, mag)
			near(t, fmt.Sprintf("dotGeneric of %d", n), dotGeneric(a, b), want, mag)

			y, yg := slices.Clone(b), slices.Clone(b)
			Axpy(0.37, a, y)
			axpyGeneric(0.37, a, yg)
			for i := range y {
				want := float64(float32(0.37))*float64(a[i]) + float64(b[i])
				near(t, fmt.Sprintf("Axpy of %d at %d", n, i), y[i], want, 4)
				near(t, fmt.Sprintf("axpyGeneric of %d at %d", n, i), yg[i], want, 4)
			}
		}
	}
}

func TestAxpyWritesNothingBeyondItsSlice(t *testing.T) {
	for _, n := range lengths {
		back := make([]float32, n+16)
		for i := range back {
			back[i] = 5
		}
		x := randomFloats(rand.New(rand.NewPCG(9, 9)), n, 0)
		Axpy(2, x, back[8:8+n])
		for i, v := range back {
			if (i < 8 || i >= 8+n) && v != 5 {
				t.Fatalf("length %d: element %d outside the slice became %v", n, i-8, v)
			}
		}
	}
}

// rowOps are the functions that work on the rows of a float32 matrix, each with what it computes for one row.
var rowOps = []struct {
	name     string
	all      func(dst, m, x []float32)
	allGen   func(dst, m, x []float32)
	some     func(dst, m, x []float32, ids []uint32) bool
	someGen  func(dst, m, x []float32, ids []uint32, rows int) bool
	expected func(a, b []float32) (float64, float64)
}{
	{"dot", Gemv, gemvGeneric, GatherDot, gatherDotGeneric, dot64},
	{"l2", NegL2Rows, negL2RowsGeneric, GatherNegL2, gatherNegL2Generic, negL264},
}

func TestRowsAgainstFloat64(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, op := range rowOps {
		for _, cols := range lengths[1:] {
			for rows := range 14 {
				x, m := randomFloats(r, cols, rows%3), randomFloats(r, rows*cols, rows%5)
				dst, gen := make([]float32, rows+1), make([]float32, rows)
				dst[rows] = 77
				op.all(dst[:rows], m, x)
				op.allGen(gen, m, x)
				for i := range rows {
					want, mag := op.expected(x, m[i*cols:(i+1)*cols])
					near(t, fmt.Sprintf("%s row %d of %dx%d", op.name, i, rows, cols), dst[i], want, mag)
					near(t, fmt.Sprintf("generic %s row %d of %dx%d", op.name, i, rows, cols), gen[i], want, mag)
				}
				if dst[rows] != 77 {
					t.Fatalf("%s of %dx%d wrote past dst", op.name, rows, cols)
				}
			}
		}
	}
}

func TestGatherAgainstFloat64(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const rows = 37
	for _, op := range rowOps {
		for _, cols := range lengths[1:] {
			x, m := randomFloats(r, cols, 1), randomFloats(r, rows*cols, 3)
			for n := range 20 {
				ids := make([]uint32, n)
				for i := range ids {
					ids[i] = r.Uint32N(rows)
				}
				dst, gen := make([]float32, n+1), make([]float32, n)
				dst[n] = 77
				if !op.some(dst[:n], m, x, ids) || !op.someGen(gen, m, x, ids, rows) {
					t.Fatalf("gather %s refused ids in range", op.name)
				}
				for i, id := range ids {
					want, mag := op.expected(x, m[int(id)*cols:(int(id)+1)*cols])
					near(t, fmt.Sprintf("gather %s %d of %d, %d columns", op.name, i, n, cols), dst[i], want, mag)
					near(t, fmt.Sprintf("generic gather %s %d of %d, %d columns", op.name, i, n, cols), gen[i], want, mag)
				}
				if dst[n] != 77 {
					t.Fatalf("gather %s of %d wrote past dst", op.name, n)
				}
			}
		}
	}
}

func TestInt8IsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	const rows = 13
	for _, cols := range lengths[1:] {
		x, m := randomInt8(r, cols, 1), randomInt8(r, rows*cols, 5)
		if cols%2 == 0 {
			for i := range x { // the largest sums there can be
				x[i], m[i], m[cols+i] = 127, 127, -127
			}
		}
		want := make([]int32, rows)
		for i := range want {
			for j := range x {
				want[i] += int32(x[j]) * int32(m[i*cols+j])
			}
			if got := DotInt8(x, m[i*cols:(i+1)*cols]); got != want[i] {
				t.Fatalf("DotInt8 of %d = %d, want %d", cols, got, want[i])
			}
		}
		for n := range rows + 1 {
			dst := make([]int32, n+1)
			dst[n] = 77
			GemvInt8(dst[:n], m[:n*cols], x)
			if !slices.Equal(dst[:n], want[:n]) || dst[n] != 77 {
				t.Fatalf("GemvInt8 of %dx%d = %v, want %v", n, cols, dst, want[:n])
			}
		}
		for n := range 80 {
			ids := make([]uint32, n)
			dst := make([]int32, n+1)
			dst[n] = 77
			for i := range ids {
				ids[i] = r.Uint32N(rows)
			}
			if !GatherDotInt8(dst[:n], m, x, ids) || dst[n] != 77 {
				t.Fatalf("GatherDotInt8 of %d failed or wrote past dst", n)
			}
			for i, id := range ids {
				if dst[i] != want[id] {
					t.Fatalf("GatherDotInt8 of %d columns, row %d = %d, want %d", cols, id, dst[i], want[id])
				}
			}
		}
	}
}

func TestGatherReportsRowsOutOfRange(t *testing.T) {
	for _, cols := range []int{1, 3, 32, 64, 65} {
		const rows = 9
		m, x := make([]float32, rows*cols), make([]float32, cols)
		mi, xi := make([]int8, rows*cols), make([]int8, cols)
		for n := 1; n < 12; n++ {
			for at := range n {
				for _, bad := range []uint32{rows, rows + 1, 1 << 20, 1 << 31, math.MaxUint32} {
					ids := make([]uint32, n)
					ids[at] = bad
					if GatherDot(make([]float32, n), m, x, ids) || GatherNegL2(make([]float32, n), m, x, ids) ||
						GatherDotInt8(make([]int32, n), mi, xi, ids) {
						t.Fatalf("%d columns: row %d of %d taken at position %d of %d", cols, bad, rows, at, n)
					}
				}
			}
		}
	}
	if GatherDot(make([]float32, 1), nil, make([]float32, 8), []uint32{0}) {
		t.Error("row 0 taken of a matrix without rows")
	}
}

func TestNotANumberAndInfinity(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, n := range lengths[1:] {
		for _, at := range []int{0, n / 2, n - 1} {
			// Two rows: the second must not see what the first holds, and the other way round.
			m, x := make([]float32, 2*n), make([]float32, n)
			for i := range x {
				x[i], m[i], m[n+i] = 1, 1, 1
			}
			dst := make([]float32, 2)
			m[at] = nan
			if Gemv(dst, m, x); !isNaN(dst[0]) || dst[1] != float32(n) {
				t.Fatalf("length %d, NaN at %d: Gemv = %v", n, at, dst)
			}
			if d := Dot(m[:n], x); !isNaN(d) {
				t.Fatalf("length %d, NaN at %d: Dot = %v", n, at, d)
			}
			m[at], m[n+at] = 1, inf
			if Gemv(dst, m, x); dst[0] != float32(n) || dst[1] != inf {
				t.Fatalf("length %d, infinity at %d: Gemv = %v", n, at, dst)
			}
			if GatherNegL2(dst, m, x, []uint32{1, 0}); dst[0] != -inf || dst[1] != 0 {
				t.Fatalf("length %d, infinity at %d: GatherNegL2 = %v", n, at, dst)
			}
			x[at] = -inf
			if d := Dot(m[n:], x); d != -inf {
				t.Fatalf("length %d, infinities at %d: Dot = %v", n, at, d)
			}
		}
	}
}

func TestAbove(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, n := range lengths {
		scores, ints := make([]float32, n), make([]int32, n)
		for i := range scores {
			ints[i] = r.Int32N(9) - 4
			scores[i] = float32(ints[i])
			if r.IntN(10) == 0 {
				scores[i] = float32(math.NaN())
			}
		}
		got, want := make([]uint32, n), make([]uint32, n)
		for th := float32(-5); th < 5; th++ {
			g, w := Above(got, scores, th), aboveGeneric(want, scores, th)
			if !slices.Equal(got[:g], want[:w]) {
				t.Fatalf("Above %v of %v = %v, want %v", th, scores, got[:g], want[:w])
			}
			g, w = AboveInt32(got, ints, int32(th)), aboveGeneric(want, ints, int32(th))
			if !slices.Equal(got[:g], want[:w]) {
				t.Fatalf("AboveInt32 %v of %v = %v, want %v", th, ints, got[:g], want[:w])
			}
		}
	}
}

func TestZeroLengths(t *testing.T) {
	if Dot(nil, nil) != 0 || DotInt8(nil, nil) != 0 {
		t.Error("the product of empty vectors is not 0")
	}
	dst := []float32{1, 2}
	if Gemv(dst, nil, nil); dst[0] != 0 || dst[1] != 0 {
		t.Errorf("Gemv of a 2x0 matrix = %v", dst)
	}
	Gemv(nil, nil, []float32{1})
	NegL2Rows(nil, nil, []float32{1})
	GemvInt8(nil, nil, []int8{1})
	Axpy(1, nil, nil)
	if !GatherDot(nil, nil, nil, nil) || !GatherDotInt8(nil, nil, nil, nil) {
		t.Error("a gather of nothing failed")
	}
}

func TestMismatchedLengthsPanic(t *testing.T) {
	f, i, u := make([]float32, 70), make([]int8, 70), make([]uint32, 3)
	o := make([]int32, 3)
	cases := map[string]func(){
		"Dot":           func() { Dot(f[:2], f[:3]) },
		"Axpy":          func() { Axpy(1, f[:3], f[:2]) },
		"Gemv":          func() { Gemv(f[:2], f[:7], f[:4]) },
		"NegL2Rows":     func() { NegL2Rows(f[:2], f[:9], f[:4]) },
		"GatherDot dst": func() { GatherDot(f[:2], f[:8], f[:4], u) },
		"GatherDot m":   func() { GatherDot(f[:3], f[:9], f[:4], u) },
		"GatherNegL2":   func() { GatherNegL2(f[:3], f[:4], nil, u) },
		"DotInt8":       func() { DotInt8(i[:33], i[:34]) },
		"GemvInt8":      func() { GemvInt8(o, i[:64], i[:32]) },
		"GatherDotInt8": func() { GatherDotInt8(o[:2], i[:64], i[:32], u) },
		"Above":         func() { Above(u, f, 0) },
		"AboveInt32":    func() { AboveInt32(u[:2], o, 0) },
	}
	for name, call := range cases {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call()
		})
	}
}
