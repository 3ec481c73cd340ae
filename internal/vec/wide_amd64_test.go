//go:build amd64 && !purego

package vec

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestNarrowAgainstWide compares the kernels of 256 bits, which the other tests do not reach on a processor with those of
// 512, with the latter.
func TestNarrowAgainstWide(t *testing.T) {
	if !wide() {
		t.Skip("LEFT OUT: this processor has no kernels of 512 bits to compare with")
	}
	r := rand.New(rand.NewPCG(12, 1))
	const rows = 23
	for cols := 1; cols < 200; cols += 1 + cols/9 {
		m, x := randomRows(r, rows, cols), randomRows(r, 1, cols)
		for n := 1; n < 12; n++ {
			ids := make([]uint32, n)
			for i := range ids {
				ids[i] = r.Uint32N(rows)
			}
			narrow, wide := make([]float32, n), make([]float32, n)
			for name, f := range map[string][2]func(x, m *float32, rows, cols int, ids *uint32, n int, dst *float32) int{
				"dot": {gatherDotAVX2, gatherDot512}, "L2": {gatherNegL2AVX2, gatherNegL2512},
			} {
				if f[0](&x[0], &m[0], rows, cols, &ids[0], n, &narrow[0]) != 0 || f[1](&x[0], &m[0], rows, cols, &ids[0], n, &wide[0]) != 0 {
					t.Fatalf("%s: rows in range were refused", name)
				}
				for i := range narrow {
					if off := math.Abs(float64(narrow[i] - wide[i])); off > 1e-5*float64(cols) {
						t.Fatalf("%s of %d columns, %d of %d rows: %v and %v", name, cols, i, n, narrow[i], wide[i])
					}
				}
			}
		}
	}
}

func TestNarrowInt8AgainstWide(t *testing.T) {
	if !wide() {
		t.Skip("LEFT OUT: this processor has no kernels of 512 bits to compare with")
	}
	r := rand.New(rand.NewPCG(13, 1))
	const rows = 23
	for cols := minInt8; cols < 300; cols += 1 + cols/9 {
		m, x := randomInt8(r, rows*cols, 3), randomInt8(r, cols, 1)
		for n := 1; n < 12; n++ {
			ids := make([]uint32, n)
			for i := range ids {
				ids[i] = r.Uint32N(rows)
			}
			narrow, wide := make([]int32, n), make([]int32, n)
			gatherDotInt8AVX2(&x[0], &m[0], rows, cols, &ids[0], n, &narrow[0])
			gatherDotInt8512(&x[0], &m[0], rows, cols, &ids[0], n, &wide[0])
			for i, id := range ids {
				want := dotInt8Generic(x, m[int(id)*cols:(int(id)+1)*cols])
				if narrow[i] != want || wide[i] != want {
					t.Fatalf("%d columns, row %d: %d and %d, want %d", cols, id, narrow[i], wide[i], want)
				}
			}
			gemvInt8AVX2(&x[0], &m[0], cols, n, &narrow[0])
			gemvInt8512(&x[0], &m[0], cols, n, &wide[0])
			for i := range n {
				if want := dotInt8Generic(x, m[i*cols:(i+1)*cols]); narrow[i] != want || wide[i] != want {
					t.Fatalf("%d columns, scanned row %d: %d and %d, want %d", cols, i, narrow[i], wide[i], want)
				}
			}
		}
	}
}

// TestPrefetchRows is that no number, however wild, faults.
func TestPrefetchRows(t *testing.T) {
	ids := []uint32{0, 1, 1 << 20, math.MaxUint32}
	for _, cols := range []int{1, 16, 17, 64, 4000} {
		PrefetchRows(make([]float32, 2*cols), cols, ids)
		PrefetchRows(make([]int8, 2*cols), cols, ids)
	}
	PrefetchRows[float32](nil, 8, ids)
	PrefetchRows(make([]float32, 8), 8, nil)
}

// TestFarAgainstNear compares the scans a row at a time, which a matrix beyond the second-level cache takes, with those of four rows: to the bit.
func TestFarAgainstNear(t *testing.T) {
	if !Accelerated() {
		t.Skip("LEFT OUT: this processor has no AVX2")
	}
	type scan func(x, m *float32, cols, rows int, dst *float32)
	r := rand.New(rand.NewPCG(13, 1))
	for cols := 1; cols < 300; cols += 1 + cols/7 {
		for _, rows := range []int{1, 2, 3, 4, 5, 11, 40} {
			m, x := randomRows(r, rows, cols), randomRows(r, 1, cols)
			for name, f := range map[string][2]scan{"dot": {gemvAVX2, gemvFarAVX2}, "L2": {negL2RowsAVX2, negL2RowsFarAVX2}} {
				near, far := make([]float32, rows), make([]float32, rows)
				f[0](&x[0], &m[0], cols, rows, &near[0])
				f[1](&x[0], &m[0], cols, rows, &far[0])
				if !slices.Equal(near, far) {
					t.Fatalf("%s, %d x %d: %v and %v", name, rows, cols, near, far)
				}
			}
		}
	}
}
