package ann

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestRecallOfAnIndex(t *testing.T) {
	const dim = 16
	m := newMixture(51, dim, 30, .5)
	vectors, queries := m.draw(3000), m.draw(50)
	ix := build(t, vectors, dim, Options{Kind: HNSW, EFConstruction: 100})
	truth := truths(InnerProduct, vectors, dim, queries, 10, nil)
	for _, ef := range []int{10, 40, 200} {
		opts := SearchOptions{Force: HNSW, EF: ef}
		got, err := Recall(context.Background(), ix, queries, 10, opts)
		if want := meanRecall(t, ix, truth, queries, 10, opts); err != nil || math.Abs(got-want) > 1e-9 {
			t.Errorf("ef %d: recall %v, %v; want %v", ef, got, err, want)
		}
	}
	if r, err := CheckRecall(context.Background(), ix, queries); err != nil || r < RecallGate {
		t.Errorf("recall %v: %v", r, err)
	}
	if r, err := CheckRecall(context.Background(), build(t, nil, dim, Options{}), queries); err != nil || r != 1 {
		t.Errorf("recall %v of nothing: %v", r, err)
	}
	if _, err := CheckRecall(context.Background(), ix, queries[:3]); err == nil {
		t.Error("a part of a query was accepted")
	}
}

func TestRecallGateRefuses(t *testing.T) {
	const dim = 8
	m := newMixture(52, dim, 30, .5)
	ix, ok := build(t, m.draw(2000), dim, Options{Kind: HNSW}).(*index)
	if !ok {
		t.Fatal("not an index of this package")
	}
	for i := range ix.graph.base { // no row leads to another
		ix.graph.base[i] = none
	}
	_, err := CheckRecall(context.Background(), forced{ix}, m.draw(20))
	if !errors.Is(err, ErrRecall) || !strings.Contains(err.Error(), "2000 vectors finds 0.") {
		t.Errorf("%v, want ErrRecall with the number", err)
	}
}

// forced is an index that walks whatever it is asked for, unless that is an exact search.
type forced struct{ *index }

func (f forced) SearchBatch(ctx context.Context, queries []float32, k int, opts SearchOptions, dst [][]Neighbor) ([][]Neighbor, error) {
	if opts.Force == Auto {
		opts.Force = HNSW
	}
	return f.index.SearchBatch(ctx, queries, k, opts, dst)
}
