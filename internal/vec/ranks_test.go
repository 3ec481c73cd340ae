package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestRankAll(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 70 {
		for range 20 {
			x := make([]float32, n)
			for i := range x {
				switch x[i] = float32(r.IntN(9)-4) / 2; r.IntN(12) {
				case 0:
					x[i] = float32(math.NaN())
				case 1:
					x[i] = float32(math.Inf(1 - 2*r.IntN(2)))
				case 2:
					x[i] = float32(math.Copysign(0, -1))
				}
			}
			got, want := make([]int32, n), make([]int32, n)
			RankAll(got, x)
			rankAllGeneric(want, x, x)
			if !slices.Equal(got, want) {
				t.Fatalf("ranks of %v: %v, want %v", x, got, want)
			}
		}
	}
	x := []float32{1, 3, 3, float32(math.NaN()), 2}
	got := make([]int32, len(x))
	if RankAll(got, x); !slices.Equal(got, []int32{3, 0, 0, 0, 2}) {
		t.Errorf("ranks of %v: %v", x, got)
	}
}

func BenchmarkRankAll(b *testing.B) {
	for _, n := range []int{100, 250, 500} {
		x, dst := make([]float32, n), make([]int32, n)
		for i := range x {
			x[i] = rand.Float32()
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				RankAll(dst, x)
			}
		})
	}
}
