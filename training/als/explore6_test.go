//go:build search

package als

import (
	"context"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"marquee/internal/sparse"
)

// Scratch: recency weights.
func TestExplore6(t *testing.T) {
	history, titles, _ := readNCF(t)
	dim, _ := strconv.Atoi(os.Getenv("DIM"))
	for _, spec := range strings.Fields(os.Getenv("SPECS")) {
		// a0,lambda,nu,h,floor,epochs,seed
		var p []float64
		for _, s := range strings.Split(spec, ",") {
			v, err := strconv.ParseFloat(s, 64)
			if err != nil {
				t.Fatal(err)
			}
			p = append(p, v)
		}
		cfg := DefaultConfig()
		cfg.Dim, cfg.UnobservedWeight, cfg.Regularization, cfg.RegularizationExponent, cfg.Epochs, cfg.TrackLoss = dim, p[0], p[1], p[2], int(p[5]), false
		cfg.Seed, cfg.Solver = uint64(p[6]), SolverCholesky
		var hr, ndcg [2]float64
		for c := range 2 {
			back := c + 1
			known, held := make([][]uint32, len(history)), make([]uint32, len(history))
			for u, h := range history {
				known[u], held[u] = h[:len(h)-back], h[len(h)-back]
			}
			m, err := Train(context.Background(), weighted(t, known, titles, p[3], p[4]), cfg, Options{})
			if err != nil {
				t.Fatal(err)
			}
			hr[c], ndcg[c] = expected(known, held, titles, m)
		}
		fmt.Printf("d=%d %s  %.4f/%.4f  (%.4f %.4f)\n", dim, spec, (hr[0]+hr[1])/2, (ndcg[0]+ndcg[1])/2, hr[0], hr[1])
	}
}

func weighted(t *testing.T, history [][]uint32, titles int, half, floor float64) *sparse.CSR {
	t.Helper()
	var row, col []uint32
	var val []float32
	for u, h := range history {
		for i, c := range h {
			age := float64(len(h) - 1 - i)
			w := 1.0
			if half > 0 {
				w = floor + (1-floor)*math.Exp2(-age/half)
			}
			row, col, val = append(row, uint32(u)), append(col, c), append(val, float32(w))
		}
	}
	m, err := sparse.FromTriplets(len(history), titles, row, col, val, sparse.Max)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
