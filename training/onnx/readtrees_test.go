package onnx

import (
	"errors"
	"reflect"
	"testing"

	"marquee/training/gbdt"
)

func twoTrees() *gbdt.Model {
	return &gbdt.Model{Features: 3, Base: .25, Trees: []gbdt.Tree{
		{{Feature: 2, Threshold: 1.5, Left: 1, Right: 2, MissingLeft: true}, {Value: -1}, {Feature: 0, Threshold: -3, Left: 3, Right: 4}, {Value: 2}, {Value: .5}},
		{{Value: .125}},
	}}
}

// calibratedGraph is trees followed by operators of the caller's.
func calibratedGraph(t *testing.T, models []*gbdt.Model, then func(g *Graph)) []byte {
	t.Helper()
	g := NewGraph("ranker")
	g.Input("features", Float, "batch", 3)
	g.Trees("features", "raw", models)
	g.Floats("slope", []float32{2}, 1, 1)
	g.Floats("intercept", []float32{-1}, 1, 1)
	g.Floats("many", []float32{2, 3}, 1, 2)
	then(g)
	g.Output("scores", Float, "batch", len(models))
	b, err := g.Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func chain(kinds ...string) func(g *Graph) {
	with := map[string]string{"Mul": "slope", "Add": "intercept"}
	return func(g *Graph) {
		value := "raw"
		for i, kind := range kinds {
			out := "scores"
			if i < len(kinds)-1 {
				out = "v" + kind
			}
			in := []string{value}
			if constant, ok := with[kind]; ok {
				in = append(in, constant)
			}
			g.Node(kind, in, []string{out}, nil)
			value = out
		}
	}
}

func TestTreesAreReadAsTheyWereWritten(t *testing.T) {
	for _, c := range []struct {
		then []string
		want Calibrated
	}{
		{[]string{"Mul", "Add", "Sigmoid"}, Calibrated{Slope: 2, Intercept: -1}},
		{[]string{"Sigmoid"}, Calibrated{Slope: 1}},
		{[]string{"Add", "Sigmoid"}, Calibrated{Slope: 1, Intercept: -1}},
	} {
		got, ok, err := ReadCalibrated(calibratedGraph(t, []*gbdt.Model{twoTrees()}, chain(c.then...)), 3)
		if c.want.Trees = twoTrees(); err != nil || !ok || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %+v, %t, %v; want %+v", c.then, got, ok, err, c.want)
		}
	}
}

func TestOtherModelsAreNoTrees(t *testing.T) {
	one := []*gbdt.Model{twoTrees()}
	for name, model := range map[string][]byte{
		"two targets":         calibratedGraph(t, []*gbdt.Model{twoTrees(), twoTrees()}, chain("Sigmoid")),
		"no sigmoid":          calibratedGraph(t, one, chain("Mul", "Add")),
		"added before scaled": calibratedGraph(t, one, chain("Add", "Mul", "Sigmoid")),
		"something after":     calibratedGraph(t, one, chain("Sigmoid", "Sqrt")),
		"another operator":    calibratedGraph(t, one, chain("Tanh", "Sigmoid")),
		"a factor a column": calibratedGraph(t, one, func(g *Graph) {
			g.Node("Mul", []string{"raw", "many"}, []string{"x"}, nil)
			g.Node("Sigmoid", []string{"x"}, []string{"scores"}, nil)
		}),
		"beside the trees": calibratedGraph(t, one, func(g *Graph) { g.Node("Sigmoid", []string{"features"}, []string{"scores"}, nil) }),
		"empty":            nil,
	} {
		if c, ok, err := ReadCalibrated(model, 3); ok || err != nil {
			t.Errorf("%s: %+v, %t, %v", name, c, ok, err)
		}
	}
	// A test of a feature that is not among those given.
	if _, ok, err := ReadCalibrated(calibratedGraph(t, one, chain("Sigmoid")), 2); ok || err != nil {
		t.Errorf("features beyond those there are: %t, %v", ok, err)
	}
}

func FuzzReadCalibrated(f *testing.F) {
	g := NewGraph("ranker")
	g.Input("features", Float, "batch", 3)
	g.Trees("features", "raw", []*gbdt.Model{twoTrees()})
	g.Node("Sigmoid", []string{"raw"}, []string{"scores"}, nil)
	g.Output("scores", Float, "batch", 1)
	model, err := g.Marshal(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(model)
	f.Add(model[:len(model)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok, err := ReadCalibrated(b, 3)
		if err != nil && !errors.Is(err, ErrModel) {
			t.Errorf("error %v is not of a model", err)
		}
		if ok {
			c.Trees.Raw([]float32{0, 1, 2})
		}
	})
}
