//go:build search

package als

import (
	"context"
	"fmt"
	"math"
	"testing"

	"marquee/internal/vec"
)

// TestChooseOnValidation is the search behind DefaultConfig (d=64) and the preset movielens-1m-unordered (d=192); it never reads the test part. It
// takes many minutes and judges nothing, so it is built only on demand:
//
//	go test -tags search ./training/als -run ChooseOnValidation -v -timeout 3h
//
// Each user's last training title is held out and, in a second cut, the last but one. A title's chance of a place among the first ten is
// computed over all draws of 99 others that the user has not met, where one draw would add noise as large as what is to be told apart.
func TestChooseOnValidation(t *testing.T) {
	history, titles, _ := readNCF(t)
	for _, dim := range []int{64, 192} {
		for _, a0 := range []float64{0.2, 0.25, 0.3, 0.5, 0.8} {
			for _, lambda := range []float64{0.003, 0.005, 0.0055, 0.0065, 0.0075, 0.01, 0.015} {
				tryOnValidation(t, history, titles, dim, a0, lambda, Recency{})
			}
		}
	}
}

// TestChooseRecencyOnValidation is the search behind the preset movielens-1m, in the same way.
//
//	go test -tags search ./training/als -run ChooseRecencyOnValidation -v -timeout 3h
func TestChooseRecencyOnValidation(t *testing.T) {
	history, titles, _ := readNCF(t)
	// Each round was laid around the best of the one before.
	for _, p := range [][4]float64{
		{0.15, 0.006, 20, 0.1}, {0.15, 0.006, 15, 0.05}, {0.1, 0.006, 20, 0.05}, {0.15, 0.01, 20, 0.05}, {0.1, 0.009, 20, 0.1},
		{0.06, 0.006, 20, 0.05}, {0.2, 0.008, 20, 0.05}, {0.1, 0.008, 12, 0.05}, {0.1, 0.008, 30, 0.03},
		{0.1, 0.005, 20, 0.05}, {0.12, 0.005, 15, 0.05}, {0.1, 0.005, 15, 0}, {0.08, 0.005, 20, 0.02}, {0.1, 0.0055, 25, 0.02},
		{0.1, 0.006, 15, 0.05}, {0.1, 0.006, 15, 0.1},
		{0.1, 0.006, 12, 0.05}, {0.12, 0.006, 12, 0.05},
	} {
		tryOnValidation(t, history, titles, 192, p[0], p[1], Recency{HalfLife: p[2], Floor: p[3]})
	}
}

func tryOnValidation(t *testing.T, history [][]uint32, titles, dim int, a0, lambda float64, r Recency) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Dim, cfg.UnobservedWeight, cfg.Regularization, cfg.TrackLoss, cfg.Epochs = dim, a0, lambda, false, 12
	line := fmt.Sprintf("d=%d a0=%-4g lambda=%-6g half-life=%g floor=%g", dim, a0, lambda, r.HalfLife, r.Floor)
	first, second := trace(t, history, titles, 1, cfg, r), trace(t, history, titles, 2, cfg, r)
	for i, v := range first {
		line += fmt.Sprintf("  @%d %.4f/%.4f", v.epoch, (v.hr+second[i].hr)/2, (v.ndcg+second[i].ndcg)/2)
	}
	t.Log(line)
}

type judged struct {
	epoch    int
	hr, ndcg float64
}

// trace trains without the last back titles of each user and judges, every few epochs, by the first of those.
func trace(t *testing.T, history [][]uint32, titles, back int, cfg Config, r Recency) (out []judged) {
	t.Helper()
	known, held := make([][]uint32, len(history)), make([]uint32, len(history))
	for u, h := range history {
		known[u], held[u] = h[:len(h)-back], h[len(h)-back]
	}
	m, err := r.Weigh(matrix(t, known, titles), known)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Train(context.Background(), m, cfg, Options{Check: func(epoch int, model func() (*Model, error)) (bool, error) {
		if epoch != 3 && epoch != 5 && epoch != 8 && epoch != 12 {
			return true, nil
		}
		m, err := model()
		if err != nil {
			return false, err
		}
		hr, ndcg := expected(known, held, titles, m)
		out = append(out, judged{epoch: epoch, hr: hr, ndcg: ndcg})
		return true, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// expected returns HR@10 and NDCG@10 of the held-out titles, expected over draws of 99 titles unknown to the user: with a share p of them
// ranked above, the number drawn from above is binomial.
func expected(known [][]uint32, held []uint32, titles int, m *Model) (hr, ndcg float64) {
	const others, k = 99, 10
	scores := make([]float32, titles)
	for u, title := range held {
		vec.Gemv(scores, m.Items, m.Users[u*m.Dim:(u+1)*m.Dim])
		score := scores[title]
		for _, i := range known[u] {
			scores[i] = float32(math.Inf(-1))
		}
		above := -1 // the title itself
		for _, s := range scores {
			if s >= score {
				above++
			}
		}
		p := float64(above) / float64(titles-1-len(known[u]))
		for n := range k {
			chance := math.Pow(p, float64(n)) * math.Pow(1-p, float64(others-n))
			for j := range n {
				chance *= float64(others-j) / float64(j+1)
			}
			hr += chance
			ndcg += chance / math.Log2(float64(n)+2)
		}
	}
	n := float64(len(held))
	return hr / n, ndcg / n
}
