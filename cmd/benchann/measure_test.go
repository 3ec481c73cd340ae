package main

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"marquee/ann"
)

// steps finds, of the ten true neighbours 0 to 9, one more for each step of ef.
type steps struct{ width int }

func (s steps) name() string { return "steps" }

func (s steps) build(context.Context, *set, int) (time.Duration, error) { return time.Second, nil }

func (s steps) search(_ context.Context, ef int) ([]uint32, error) {
	ids := make([]uint32, k)
	for i := range ids {
		ids[i] = uint32(i)
		if i >= ef/s.width {
			ids[i] += 100
		}
	}
	return ids, nil
}

func (s steps) time(_ context.Context, ef int) (time.Duration, error) {
	return time.Duration(ef) * time.Microsecond, nil
}

func TestMeasureFindsTheSmallestEF(t *testing.T) {
	truth := []uint32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	engines := []engine{steps{20}, steps{10}, steps{200}}
	got, err := measure(context.Background(), &set{name: "s"}, truth, engines, []float64{.5, .9}, 1, 3, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][2]int{{100, 180}, {50, 90}, {1000, 0}} {
		for j, p := range got[i].points {
			if p.ef != want[j] {
				t.Errorf("engine %d, target %d: ef %d, want %d", i, j, p.ef, want[j])
			}
		}
	}
	if r := got[1].points[0].ratio(got[0].points[0]); r != 2 {
		t.Errorf("half the time is a ratio of %v, want 2", r)
	}
	if p := got[2].points[1]; p.best != .5 || len(p.rounds) != 0 {
		t.Errorf("a recall never reached: %+v, want its best, .5, and no times", p)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 2}, 2}} {
		if got := median(c.v); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.v, got, c.want)
		}
	}
	if got := geometricMean([]float64{2, 8}); math.Abs(got-4) > 1e-12 {
		t.Errorf("geometric mean of 2 and 8 is %v, want 4", got)
	}
}

func TestClusteredIsTheSameEveryTime(t *testing.T) {
	a, b := clustered("a", ann.L2, 500, 8, 20), clustered("b", ann.L2, 500, 8, 20)
	if len(a.vectors) != 500*8 || len(a.queries) != 20*8 {
		t.Fatalf("%d and %d components, want 4000 and 160", len(a.vectors), len(a.queries))
	}
	for i := range a.vectors {
		if a.vectors[i] != b.vectors[i] {
			t.Fatalf("component %d differs between two draws", i)
		}
	}
}

func TestEngineRun(t *testing.T) {
	s := clustered("s", ann.Cosine, 2000, 16, 20)
	var ix ann.Index
	var queries []float32
	exact, err := ann.Build(t.Context(), s.vectors, s.dim, ann.Options{Metric: s.metric, Kind: ann.Exact})
	if err != nil {
		t.Fatal(err)
	}
	found, err := exact.SearchBatch(t.Context(), s.queries, k, ann.SearchOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var truth []uint32
	for _, f := range found {
		for _, nb := range f {
			truth = append(truth, nb.ID)
		}
	}
	engines := []engine{&marquee{index: &ix, queries: &queries, float32: true}, &marquee{index: &ix, queries: &queries}}
	got, err := measure(t.Context(), s, truth, engines, []float64{.9}, 1, 1, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range got {
		if r.points[0].ef == 0 {
			t.Errorf("%s does not reach recall .9: %+v", r.engine, r.points[0])
		}
	}
}

func TestPeerThatIsNotThere(t *testing.T) {
	_, err := startPeer(t.Context(), "/nonexistent/python", t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "start the Python peer") {
		t.Errorf("error %v, want one that says what could not be started", err)
	}
}
