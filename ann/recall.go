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
	truth, err := nearestOf(ctx, ix, queries, k, opts)
	if err != nil {
		return 0, err
	}
	return shareFound(found, truth), nil
}

// nearestOf is the truth for searches with these options.
func nearestOf(ctx context.Context, ix Index, queries []float32, k int, opts SearchOptions) ([][]Neighbor, error) {
	return ix.SearchBatch(ctx, queries, k, SearchOptions{Force: Exact, Float32: true, Filter: opts.Filter, Threads: opts.Threads}, nil)
}

// shareFound is the recall of what was found for each query.
func shareFound(found, truth [][]Neighbor) float64 {
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
		return 1
	}
	return float64(hits) / float64(all)
}

// CheckRecall returns the recall@10 of an index as it is searched without options, and an error that wraps ErrRecall and names the number if it
// is below RecallGate.
func CheckRecall(ctx context.Context, ix Index, queries []float32) (float64, error) {
	r, err := Recall(ctx, ix, queries, 10, SearchOptions{})
	if err != nil {
		return 0, err
	}
	return r, refuse(ix, r)
}

// refuse is the error of an index with a recall below the gate.
func refuse(ix Index, r float64) error {
	if r >= RecallGate {
		return nil
	}
	info := ix.Info()
	return fmt.Errorf("ann: %w: the %v index of %d vectors finds %.3f of the ten nearest, %.2f is the least to publish with",
		ErrRecall, info.Kind, info.Len, r, RecallGate)
}

// MaxEF is the largest EF an index keeps for searches that give none, and the largest Calibrate tries.
const MaxEF = 4096

// calibrateAim is the recall at which Calibrate looks no further: the gate and what chance moves the recall of some
// hundred queries by.
const calibrateAim = RecallGate + .01

// Calibrate returns an index that passes CheckRecall, and its recall@10: ix itself if it finds enough, or else ix with the
// smallest EF at which it does, in steps of a half and a third. Searches that give no EF then use that one, and a
// file keeps it. It never goes below the EF that ix has: the queries are a sample. Where a walk would need so many candidates that
// comparing all vectors costs less, searches compare all.
//
// Its error wraps ErrRecall and names the number if no EF up to MaxEF is enough, or ix is not one that Build made.
func Calibrate(ctx context.Context, ix Index, queries []float32) (Index, float64, error) {
	const k = 10
	truth, err := nearestOf(ctx, ix, queries, k, SearchOptions{})
	if err != nil {
		return nil, 0, err
	}
	tunable, _ := ix.(interface{ withEF(ef int) Index })
	best, bestRecall := ix, -1.0
	for _, ef := range calibrationSteps(ix.Info().EF) {
		tried := ix
		if ef != ix.Info().EF {
			if tunable == nil {
				break
			}
			tried = tunable.withEF(ef)
		}
		found, err := tried.SearchBatch(ctx, queries, k, SearchOptions{}, nil)
		if err != nil {
			return nil, 0, err
		}
		r := shareFound(found, truth)
		if r >= calibrateAim {
			return tried, r, nil
		}
		if r > bestRecall && bestRecall < RecallGate {
			best, bestRecall = tried, r
		}
	}
	return best, bestRecall, refuse(best, bestRecall)
}

// calibrationSteps is the EFs to try, beginning with what an index has.
func calibrationSteps(ef int) []int {
	steps := []int{ef}
	if ef == 0 {
		return steps // no graph
	}
	for power := 1; power < MaxEF; power *= 2 {
		for _, step := range [2]int{power * 3 / 2, power * 2} {
			if step > ef {
				steps = append(steps, step)
			}
		}
	}
	return steps
}
