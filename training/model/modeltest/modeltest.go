// Package modeltest makes rankers and towers that tests can foretell.
package modeltest

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"marquee/internal/sparse"
	"marquee/training/gbdt"
	"marquee/training/model"
	"marquee/training/model/ranking"
	"marquee/training/onnx"
)

// Graph is a ranker's graph: head h gives the sigmoid of the feature of that name in a row of features, the others counting nothing even
// where they are not known.
func Graph(t testing.TB, features []string, heads ...string) []byte {
	t.Helper()
	weights, zero := make([]float32, len(features)*len(heads)), make([]float32, len(features))
	for h, name := range heads {
		f := slices.Index(features, name)
		if f < 0 {
			t.Fatalf("there is no feature %q among %v", name, features)
		}
		weights[f*len(heads)+h] = 1
	}
	g := onnx.NewGraph("ranker")
	g.Input("features", onnx.Float, "batch", len(features))
	g.Floats("weights", weights, len(features), len(heads))
	g.Floats("zero", zero, 1, len(features))
	g.Node("IsNaN", []string{"features"}, []string{"unknown"}, nil)
	g.Node("Where", []string{"unknown", "zero", "features"}, []string{"known"}, nil)
	g.Node("MatMul", []string{"known", "weights"}, []string{"odds"}, nil)
	g.Node("Sigmoid", []string{"odds"}, []string{"scores"}, nil)
	g.Output("scores", onnx.Float, "batch", len(heads))
	b, err := g.Marshal(map[string]string{"role": "ranker"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Ranker is a release's that orders by one of its features, for so many titles, each of which has the next as its only neighbour, at .5.
func Ranker(t testing.TB, titles int, feature string) *model.Ranker {
	t.Helper()
	names := ranking.Names(model.RankerSources())
	r := &model.Ranker{
		Order: Graph(t, names, feature), Outcomes: Graph(t, names, "title_percentile", "title_popularity"), Candidates: 100,
		FirstAt: make([]int64, titles), Near: &sparse.CSR{Rows: titles, Cols: titles, Indptr: make([]int64, titles+1)},
	}
	for row := range titles {
		if row+1 < titles {
			r.Near.Indices, r.Near.Values = append(r.Near.Indices, uint32(row+1)), append(r.Near.Values, .5)
		}
		r.Near.Indptr[row+1] = int64(len(r.Near.Indices))
		r.FirstAt[row] = int64(row+1) * 1e12
	}
	return r
}

// Forest is a ranker as large as those that nights release: 150 trees of 8 leaves a head, of chance, and 100 neighbours a title.
func Forest(t testing.TB, titles int) *model.Ranker {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	names := ranking.Names(model.RankerSources())
	x := gbdt.Examples{X: gbdt.Matrix{Rows: 4000, Cols: len(names)}, Groups: []int{4000}}
	for range x.X.Rows {
		for range names {
			x.X.Values = append(x.X.Values, rng.Float32()*8)
		}
		x.Label = append(x.Label, float32(rng.IntN(2)))
	}
	cfg := gbdt.DefaultConfig()
	cfg.Rounds, cfg.Leaves, cfg.MinLeaf, cfg.Patience = 150, 8, 20, 0
	trees, err := gbdt.Train(t.Context(), x, gbdt.Logistic(), cfg, gbdt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	graph := func(heads int) []byte {
		g := onnx.NewGraph("ranker")
		g.Input("features", onnx.Float, "batch", len(names))
		g.Trees("features", "odds", slices.Repeat([]*gbdt.Model{trees}, heads))
		g.Node("Sigmoid", []string{"odds"}, []string{"scores"}, nil)
		g.Output("scores", onnx.Float, "batch", heads)
		b, err := g.Marshal(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r := &model.Ranker{Order: graph(1), Outcomes: graph(2), Candidates: 100, FirstAt: make([]int64, titles)}
	r.Near = &sparse.CSR{Rows: titles, Cols: titles, Indptr: make([]int64, titles+1)}
	for row := range titles {
		near := map[uint32]bool{}
		for len(near) < min(100, titles-1) {
			if n := uint32(rng.IntN(titles)); n != uint32(row) {
				near[n] = true
			}
		}
		for _, n := range slices.Sorted(maps.Keys(near)) {
			r.Near.Indices, r.Near.Values = append(r.Near.Indices, n), append(r.Near.Values, rng.Float32())
		}
		r.Near.Indptr[row+1] = int64(len(r.Near.Indices))
	}
	return r
}
