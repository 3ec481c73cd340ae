package coderhnsw_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"regexp"
	"sync"
	"testing"

	"marquee/ann"
	"marquee/ann/anntest"
	"marquee/ann/coderhnsw"
)

func TestSuite(t *testing.T) {
	anntest.Run(t, coderhnsw.Build, ann.Options{Seed: 1})
	t.Run("int8", func(t *testing.T) { anntest.Run(t, coderhnsw.Build, ann.Options{Seed: 1, Int8: true}) })
}

func draw(seed uint64, n, dim int) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n*dim)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// TestGateRefuses: the number is in the message. Should a version come that passes, this test says so.
func TestGateRefuses(t *testing.T) {
	const dim = 16
	ix, err := coderhnsw.Build(context.Background(), draw(1, 3000, dim), dim, ann.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	r, err := ann.CheckRecall(context.Background(), ix, draw(2, 50, dim))
	if !errors.Is(err, ann.ErrRecall) || !regexp.MustCompile(`finds 0\.\d+ of the ten nearest`).MatchString(err.Error()) {
		t.Fatalf("recall %v, %v: want it refused with the number", r, err)
	}
}

func TestGoroutines(t *testing.T) {
	const dim = 8
	ix, err := coderhnsw.Build(context.Background(), draw(3, 500, dim), dim, ann.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			queries := draw(uint64(g), 20, dim)
			for i := range 20 {
				found, _, err := ix.Search(queries[i*dim:(i+1)*dim], 5, ann.SearchOptions{EF: 10 + g}, nil)
				if err != nil || len(found) != 5 {
					t.Errorf("%d found, %v", len(found), err)
				}
			}
		})
	}
	wg.Wait()
}

func TestBuildErrors(t *testing.T) {
	if _, err := coderhnsw.Build(context.Background(), []float32{1, 2, 3}, 2, ann.Options{}); err == nil {
		t.Error("a part of a vector was accepted")
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := coderhnsw.Build(ctx, []float32{1, 2}, 2, ann.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v from an ended context", err)
	}
}
