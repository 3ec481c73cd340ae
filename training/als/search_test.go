//go:build search

package als

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestChooseOnValidation is the search behind DefaultConfig; it never reads the test part's outcome. It takes
// some minutes and judges nothing, so it is built only on demand:
//
//	go test -tags search ./training/als -run ChooseOnValidation -v
func TestChooseOnValidation(t *testing.T) {
	history, titles, _ := readNCF(t)
	v := validation(t, history, titles)
	for _, a0 := range []float64{0.1, 0.2, 0.3, 0.5, 1} {
		for _, lambda := range []float64{0.002, 0.005, 0.01, 0.02, 0.04} {
			cfg := DefaultConfig()
			cfg.UnobservedWeight, cfg.Regularization, cfg.TrackLoss, cfg.Epochs = a0, lambda, false, 16
			line := fmt.Sprintf("a0=%-4g lambda=%-6g", a0, lambda)
			tr, err := newTrainer(v.train, cfg, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for epoch := 1; epoch <= cfg.Epochs; epoch++ {
				if err := tr.epoch(context.Background()); err != nil {
					t.Fatal(err)
				}
				if epoch == 4 || epoch == 8 || epoch == 12 || epoch == 16 {
					m, err := tr.finish(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					hr, ndcg := v.evaluate(m)
					line += fmt.Sprintf("  @%d %.4f/%.4f", epoch, hr, ndcg)
				}
			}
			t.Log(line)
		}
	}
}

// validation holds out each user's last training title and samples 99 titles the user has not met.
func validation(t *testing.T, history [][]uint32, titles int) leaveOneOut {
	t.Helper()
	rng := rand.New(rand.NewPCG(20, 24))
	all := matrix(t, history, titles)
	var v leaveOneOut
	shorter := make([][]uint32, len(history))
	for u, h := range history {
		shorter[u] = h[:len(h)-1]
		v.positive = append(v.positive, h[len(h)-1])
		var negatives []uint32
		for len(negatives) < 99 {
			if i := uint32(rng.IntN(titles)); !all.Has(u, i) {
				negatives = append(negatives, i)
			}
		}
		v.negatives = append(v.negatives, negatives)
	}
	v.train = matrix(t, shorter, titles)
	return v
}
