package onnx

import "fmt"

// Op adds an operator of the default domain with one output, whose name it makes up and returns.
func (g *Graph) Op(operator string, a Attributes, in ...string) string {
	out := fmt.Sprintf("v%d", len(g.nodes))
	g.Node(operator, in, []string{out}, a)
	return out
}

// Number adds a constant of one float32 without dimensions and returns its name.
func (g *Graph) Number(v float32) string {
	name := fmt.Sprintf("c%d", len(g.weights))
	g.Floats(name, []float32{v})
	return name
}

// Whole adds a constant of int64: without dimensions where single, otherwise a list. It returns its name.
func (g *Graph) Whole(single bool, v ...int64) string {
	name := fmt.Sprintf("c%d", len(g.weights))
	if single {
		g.Ints(name, v)
		return name
	}
	g.Ints(name, v, len(v))
	return name
}
