package onnx

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"marquee/internal/ort"
	"marquee/internal/testkit"
	"marquee/training/gbdt"
)

const (
	rows     = 257
	features = 6
)

// examples draws features, some of them not known.
func examples(seed uint64) gbdt.Matrix {
	rng := rand.New(rand.NewPCG(seed, 1))
	x := gbdt.Matrix{Rows: rows, Cols: features, Values: make([]float32, rows*features)}
	for i := range x.Values {
		x.Values[i] = float32(rng.NormFloat64())
		if rng.IntN(10) == 0 {
			x.Values[i] = float32(math.NaN())
		}
	}
	return x
}

func trees(t *testing.T, seed uint64) *gbdt.Model {
	t.Helper()
	x := examples(seed)
	label := make([]float32, rows)
	for i := range label {
		if r := x.Row(i); r[0]*r[1] > 0 || r[2] != r[2] {
			label[i] = 1
		}
	}
	c := gbdt.DefaultConfig()
	c.Rounds, c.MinLeaf, c.Seed = 80, 3, seed
	m, err := gbdt.Train(context.Background(), gbdt.Examples{X: x, Label: label}, gbdt.Logistic(), c, gbdt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// treeModel is two ensembles and the probabilities of their log-odds.
func treeModel(t *testing.T) ([]*gbdt.Model, []byte) {
	t.Helper()
	models := []*gbdt.Model{trees(t, 1), trees(t, 2), {Features: features, Base: -0.5}}
	g := NewGraph("trees")
	g.Input("features", Float, "batch", features)
	g.Trees("features", "odds", models)
	g.Node("Sigmoid", []string{"odds"}, []string{"probability"}, nil)
	g.Output("probability", Float, "batch", len(models))
	b, err := g.Marshal(map[string]string{"role": "ranker"})
	if err != nil {
		t.Fatal(err)
	}
	return models, b
}

func probabilities(models []*gbdt.Model, x gbdt.Matrix) []float32 {
	var out []float32
	for i := range x.Rows {
		for _, m := range models {
			out = append(out, float32(1/(1+math.Exp(-float64(m.Raw(x.Row(i)))))))
		}
	}
	return out
}

// layers is what towers are made of: rows looked up, multiplied, normalised.
func layers(t *testing.T) ([]byte, func(id int64) []float32) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 3))
	table, weight, bias := make([]float32, 10*4), make([]float32, 4*3), []float32{1, -1, 0.5}
	for _, s := range [][]float32{table, weight} {
		for i := range s {
			s[i] = float32(rng.NormFloat64())
		}
	}
	g := NewGraph("layers")
	g.Input("id", Int64, "batch")
	g.Floats("table", table, 10, 4)
	g.Floats("weight", weight, 4, 3)
	g.Floats("bias", bias, 3)
	g.Ints("last", []int64{-1}, 1)
	g.Node("Gather", []string{"table", "id"}, []string{"row"}, Attributes{"axis": 0})
	g.Node("Gemm", []string{"row", "weight", "bias"}, []string{"hidden"}, Attributes{"alpha": float32(2)})
	g.Node("ReduceL2", []string{"hidden", "last"}, []string{"length"}, Attributes{"keepdims": 1})
	g.Node("Div", []string{"hidden", "length"}, []string{"vector"}, nil)
	g.Output("vector", Float, "batch", 3)
	b, err := g.Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b, func(id int64) []float32 {
		out, sum := make([]float32, 3), 0.0
		for j := range out {
			for i := range 4 {
				out[j] += 2 * table[id*4+int64(i)] * weight[i*3+j]
			}
			out[j] += bias[j]
			sum += float64(out[j]) * float64(out[j])
		}
		for j := range out {
			out[j] /= float32(math.Sqrt(sum))
		}
		return out
	}
}

func apart(a, b []float32) float64 {
	var worst float64
	for i := range a {
		worst = max(worst, math.Abs(float64(a[i]-b[i])))
	}
	return worst
}

func TestRuntimeGivesTheNumbersOfGo(t *testing.T) {
	models, b := treeModel(t)
	s := open(t, b)
	if s.Metadata()["role"] != "ranker" {
		t.Errorf("metadata %v", s.Metadata())
	}
	x := examples(9)
	for _, n := range []int{1, 2, rows} { // a batch of any length
		got := make([]float32, n*len(models))
		run(t, s, ort.Tensor{Shape: []int64{int64(n), features}, Floats: x.Values[:n*features]},
			ort.Tensor{Shape: []int64{int64(n), int64(len(models))}, Floats: got})
		want := probabilities(models, gbdt.Matrix{Rows: n, Cols: features, Values: x.Values[:n*features]})
		if d := apart(want, got); d > 1e-5 {
			t.Errorf("batch of %d: the runtime's probabilities are up to %g from Go's", n, d)
		}
	}
	b, forward := layers(t)
	s = open(t, b)
	got := make([]float32, 30)
	ids := []int64{9, 0, 1, 2, 3, 4, 5, 6, 7, 8}
	run(t, s, ort.Tensor{Shape: []int64{10}, Ints: ids}, ort.Tensor{Shape: []int64{10, 3}, Floats: got})
	for i, id := range ids {
		if d := apart(forward(id), got[i*3:i*3+3]); d > 1e-5 {
			t.Errorf("vector of %d is %g from Go's", id, d)
		}
	}
}

func open(t *testing.T, b []byte) *ort.Session {
	t.Helper()
	s, err := ort.Open(b, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func run(t *testing.T, s *ort.Session, in, out ort.Tensor) {
	t.Helper()
	if err := s.Run(context.Background(), []ort.Tensor{in}, []ort.Tensor{out}); err != nil {
		t.Fatal(err)
	}
}

// TestPythonReadsThem has the ONNX project's own checker read the models, and Python's runtime give the same numbers.
func TestPythonReadsThem(t *testing.T) {
	python := testkit.NeedPython(t, "onnx-readers", "testdata/requirements.txt")
	dir := t.TempDir()
	models, b := treeModel(t)
	x := examples(9)
	put(t, filepath.Join(dir, "trees.onnx"), b)
	values := make([]*float32, len(x.Values)) // JSON has no NaN
	for i, v := range x.Values {
		if v == v {
			values[i] = &v
		}
	}
	in, err := json.Marshal(map[string]any{"rows": rows, "features": values, "want": probabilities(models, x)})
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "trees.json"), in)
	b, _ = layers(t)
	put(t, filepath.Join(dir, "layers.onnx"), b)
	out, err := exec.Command(python, "testdata/check.py", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Log(strings.TrimSpace(string(out)))
}

func put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRefusesAGraphWithAHole(t *testing.T) {
	for name, c := range map[string]struct {
		make func(g *Graph)
		want string
	}{
		"no output":     {func(*Graph) {}, "1 inputs and 0 outputs"},
		"made nowhere":  {func(g *Graph) { g.Node("Neg", []string{"y"}, []string{"z"}, nil) }, `"y" is used before it is made`},
		"made twice":    {func(g *Graph) { g.Node("Neg", []string{"x"}, []string{"x"}, nil) }, `"x" is made twice`},
		"wrong shape":   {func(g *Graph) { g.Floats("w", make([]float32, 5), 2, 3) }, "shape [2 3] has 5 elements"},
		"odd attribute": {func(g *Graph) { g.Node("Neg", []string{"x"}, []string{"y"}, Attributes{"a": 1i}) }, "complex128"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewGraph("test")
			g.Input("x", Float, "batch")
			c.make(g)
			if _, err := g.Marshal(nil); !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not say %q", err, c.want)
			}
		})
	}
}

// BenchmarkRank is one request's ranking: 200 candidates of 30 features by 3 x 200 trees.
func BenchmarkRank(b *testing.B) {
	const candidates, width = 200, 30
	rng := rand.New(rand.NewPCG(1, 1))
	x := gbdt.Matrix{Rows: 20_000, Cols: width, Values: make([]float32, 20_000*width)}
	label := make([]float32, x.Rows)
	for i := range x.Values {
		x.Values[i] = rng.Float32()
	}
	for i := range label {
		if r := x.Row(i); r[0]*r[1]+r[2]+rng.Float32() > 1 {
			label[i] = 1
		}
	}
	c := gbdt.DefaultConfig()
	c.Rounds = 200
	m, err := gbdt.Train(context.Background(), gbdt.Examples{X: x, Label: label}, gbdt.Logistic(), c, gbdt.Options{})
	if err != nil {
		b.Fatal(err)
	}
	g := NewGraph("trees")
	g.Input("features", Float, "batch", width)
	g.Trees("features", "odds", []*gbdt.Model{m, m, m})
	g.Output("odds", Float, "batch", 3)
	bytes, err := g.Marshal(nil)
	if err != nil {
		b.Fatal(err)
	}
	s, err := ort.Open(bytes, ort.Options{})
	if err != nil {
		b.Fatal(err)
	}
	in := []ort.Tensor{{Shape: []int64{candidates, width}, Floats: x.Values[:candidates*width]}}
	out := []ort.Tensor{{Shape: []int64{candidates, 3}, Floats: make([]float32, candidates*3)}}
	b.Run("runtime", func(b *testing.B) {
		for b.Loop() {
			if err := s.Run(context.Background(), in, out); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("go", func(b *testing.B) {
		sub := gbdt.Matrix{Rows: candidates, Cols: width, Values: x.Values[:candidates*width]}
		for b.Loop() {
			for range 3 {
				m.Scores(sub, 1)
			}
		}
	})
}
