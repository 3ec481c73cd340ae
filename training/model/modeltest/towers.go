package modeltest

import (
	"math/rand/v2"
	"slices"
	"testing"

	"marquee/training/model"
	"marquee/training/model/content"
	"marquee/training/onnx"
)

// Towers give a release towers by which a title is what the catalogue says of it, and a viewer what they watched: vectors have a number for
// each term of the catalogue, which becomes the release's content.
func Towers(t testing.TB, r *model.Release, catalogue []content.Title) {
	t.Helper()
	m, err := content.Build(catalogue, content.DefaultWeights())
	if err != nil {
		t.Fatal(err)
	}
	dim, n := len(m.Table().Terms), len(r.TitleIDs)
	terms := make([]float32, dim*dim)
	for i := range dim {
		terms[i*dim+i] = 1
	}
	vectors := make([]float32, n*dim)
	for row, id := range r.TitleIDs {
		if at, ok := m.Row(id); ok {
			v := m.Vector(at)
			for i, term := range v.Terms {
				vectors[row*dim+int(term)] = v.Weights[i]
			}
		}
	}
	r.Content = m
	r.Towers = &model.Towers{User: UserTower(t, vectors, dim), Title: TitleTower(t, n, terms, dim), Vectors: vectors, Dim: dim, MaxHistory: 50}
}

// LargeTowers are as large as those that nights release: vectors of 64 numbers, of chance, and histories of 200 titles.
func LargeTowers(t testing.TB, titles int) *model.Towers {
	t.Helper()
	const dim = 64
	rng := rand.New(rand.NewPCG(3, 4))
	vectors := make([]float32, titles*dim)
	for i := range vectors {
		vectors[i] = float32(rng.NormFloat64()) / 8
	}
	return &model.Towers{User: UserTower(t, vectors, dim), Title: Numbers(t, vectors, dim), Vectors: vectors, Dim: dim, MaxHistory: 200, Probes: vectors[:20*dim]}
}

// Numbers is a title tower that knows titles by number alone.
func Numbers(t testing.TB, vectors []float32, dim int) []byte {
	t.Helper()
	g := onnx.NewGraph("title-tower")
	g.Input("title", onnx.Int64, "batch")
	g.Node("Identity", []string{row(g, "titles", vectors, dim, "title")}, []string{"vector"}, nil)
	return finished(t, g, dim)
}

// UserTower is an ONNX model that adds up titles' vectors, each times the strength of the watch.
func UserTower(t testing.TB, vectors []float32, dim int) []byte {
	t.Helper()
	g := onnx.NewGraph("user-tower")
	g.Input("history", onnx.Int64, "batch", "length")
	g.Input("strength", onnx.Float, "batch", "length")
	x := g.Op("MatMul", nil, g.Op("Unsqueeze", nil, "strength", g.Whole(false, 1)), row(g, "titles", vectors, dim, "history"))
	g.Node("Squeeze", []string{x, g.Whole(false, 1)}, []string{"vector"}, nil)
	return finished(t, g, dim)
}

// TitleTower is an ONNX model that adds up the vectors of a title's terms and knows none of so many titles by number.
func TitleTower(t testing.TB, titles int, terms []float32, dim int) []byte {
	t.Helper()
	g := onnx.NewGraph("title-tower")
	g.Input("title", onnx.Int64, "batch")
	g.Input("terms", onnx.Int64, "batch", "terms")
	g.Input("term_weights", onnx.Float, "batch", "terms")
	x := g.Op("MatMul", nil, g.Op("Unsqueeze", nil, "term_weights", g.Whole(false, 1)), row(g, "terms_table", terms, dim, "terms"))
	own := row(g, "titles", make([]float32, titles*dim), dim, "title")
	g.Node("Add", []string{own, g.Op("Squeeze", nil, x, g.Whole(false, 1))}, []string{"vector"}, nil)
	return finished(t, g, dim)
}

// row is a table's rows by ids, of zeros for those below 0.
func row(g *onnx.Graph, name string, table []float32, dim int, ids string) string {
	rows := len(table) / dim
	g.Floats(name, append(slices.Clone(table), make([]float32, dim)...), rows+1, dim)
	return g.Op("Gather", nil, name, g.Op("Where", nil, g.Op("Less", nil, ids, g.Whole(true, 0)), g.Whole(true, int64(rows)), ids))
}

func finished(t testing.TB, g *onnx.Graph, dim int) []byte {
	t.Helper()
	g.Output("vector", onnx.Float, "batch", dim)
	b, err := g.Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
