package knn

import (
	"context"
	"fmt"
	"math"

	"marquee/internal/sparse"
)

// ItemModel holds each title's nearest titles. It is immutable and safe for concurrent use.
type ItemModel struct {
	// Near is titles x titles: row i holds the titles nearest to i, columns ascending, with their similarities, all above 0.
	Near *sparse.CSR
}

// TrainItems computes item-kNN of m, users x titles with strengths as values, those of 0 and below ignored: the similarity of titles
// i and j is x_i.x_j / (|x_i|^2a * |x_j|^2(1-a) + shrinkage), the Neighbours largest kept. The result does not depend on
// the number of workers.
func TrainItems(ctx context.Context, m *sparse.CSR, cfg Config) (*ItemModel, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	users, err := positive(m)
	if err != nil {
		return nil, err
	}
	near, err := newTable(users.Transpose(), cfg).all(ctx)
	if err != nil {
		return nil, err
	}
	return &ItemModel{Near: near}, nil
}

// Score sets scores[t] to the sum, over the titles of a history, of its strength times the similarity to title t: negative
// strengths take away. A title no neighbour speaks for gets -Inf, it is not recommended.
func (m *ItemModel) Score(history []uint32, strength []float32, scores []float32) error {
	if err := checkHistory(history, strength, m.Near.Rows, len(scores)); err != nil {
		return err
	}
	clear(scores)
	for i, h := range history {
		cols, sims := m.Near.Row(int(h))
		for n, t := range cols {
			scores[t] += strength[i] * sims[n]
		}
	}
	leaveOut(scores)
	return nil
}

// checkHistory reports a history that is not of so many titles.
func checkHistory(history []uint32, strength []float32, titles, scores int) error {
	if scores != titles || len(history) != len(strength) {
		return fmt.Errorf("%d scores for %d titles, %d strengths for %d titles", scores, titles, len(strength), len(history))
	}
	for i, h := range history {
		if int64(h) >= int64(titles) {
			return fmt.Errorf("title %d of %d", h, titles)
		}
		if v := strength[i]; v-v != 0 {
			return fmt.Errorf("title %d has strength %v, want a finite number", h, v)
		}
	}
	return nil
}

// leaveOut sets the score of titles that nothing speaks for to -Inf.
func leaveOut(scores []float32) {
	gone := float32(math.Inf(-1))
	for t, s := range scores {
		if s == 0 {
			scores[t] = gone
		}
	}
}
