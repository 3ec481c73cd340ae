package ann

import (
	"context"
	"errors"
	"fmt"
)

// RecallGate is the least recall@10 that an index is worth publishing with.
const RecallGate = 0.95

// ErrRecall is the cause of CheckRecall's error about an index that finds too few.
var ErrRecall = errors.New("recall is below the gate")

// Recall searches for the k vectors nearest to each query with the options given, and by comparing with all vectors in
// float32, and returns the share of the latter that the former finds. What scores as high as the k-th counts as one of them.
// Queries should not be among the vectors. It is 1 where there is nothing to find.
func Recall(ctx context.Context, ix Index, queries []float32, k int, opts SearchOptions) (float64, error) {
	found, err := ix.SearchBatch(ctx, queries, k, opts, nil)
	if err != nil {
		return 0, err
	}
	truth, err := ix.SearchBatch(ctx, queries, k, SearchOptions{Force: Exact, Float32: true, Filter: opts.Filter, Threads: opts.Threads}, nil)
	if err != nil {
		return 0, err
	}
	hits, all := 0, 0
	for i, t := range truth {
		all += len(t)
		for _, f := range found[i] {
			if f.Score >= t[len(t)-1].Score {
				hits++
			}
		}
	}
	if all == 0 {
		return 1, nil
	}
	return float64(hits) / float64(all), nil
}

// CheckRecall returns the recall@10 of an index as it is searched without options, and an error that wraps ErrRecall and names the number if it
// is below RecallGate.
func CheckRecall(ctx context.Context, ix Index, queries []float32) (float64, error) {
	r, err := Recall(ctx, ix, queries, 10, SearchOptions{})
	if err != nil {
		return 0, err
	}
	if r < RecallGate {
		info := ix.Info()
		return r, fmt.Errorf("ann: %w: the %v index of %d vectors finds %.3f of the ten nearest, %.2f is the least to publish with",
			ErrRecall, info.Kind, info.Len, r, RecallGate)
	}
	return r, nil
}
