// Package onnx writes ONNX models: the protocol buffers of the ONNX specification (IR version 10, onnx/onnx.proto3), made by hand
// for the few messages a trained model needs. internal/ort runs what it writes, and so does any ONNX runtime.
package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Versions that models are written for: those that every runtime since 2024 reads.
const (
	irVersion = 10
	// Opset is the version of the default domain's operators.
	Opset = 20
	// MLOpset is the version of the operators of domain ML.
	MLOpset = 3
	// ML is the domain of operators of classical machine learning, such as trees.
	ML = "ai.onnx.ml"
)

// ErrModel is wrapped by every error about a graph that cannot be written.
var ErrModel = errors.New("incomplete ONNX model")

// Type is the type of a tensor's elements, numbered as in the specification.
type Type int

// The types of elements.
const (
	Float Type = 1
	Int64 Type = 7
	Bool  Type = 9
)

// Port is an input or output of a model.
type Port struct {
	Name string
	Type Type
	// Shape holds dimensions: an int for a fixed one, a string naming one that is free.
	Shape []any
}

// Graph is a model in the making: operators in an order in which each uses only what those before it made.
type Graph struct {
	name            string
	inputs, outputs []Port
	nodes, weights  [][]byte
	known           map[string]bool
	ml              bool
	err             error
}

// NewGraph starts a model of that name.
func NewGraph(name string) *Graph { return &Graph{name: name, known: map[string]bool{}} }

// Input declares an input.
func (g *Graph) Input(name string, t Type, shape ...any) {
	g.define(name)
	g.inputs = append(g.inputs, Port{name, t, shape})
}

// Output declares that a value that was made is an output.
func (g *Graph) Output(name string, t Type, shape ...any) {
	g.use(name)
	g.outputs = append(g.outputs, Port{name, t, shape})
}

// Floats adds a constant tensor of float32 in row-major order.
func (g *Graph) Floats(name string, values []float32, shape ...int) {
	raw := make([]byte, 0, 4*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	g.weight(name, Float, len(values), shape, raw)
}

// Ints adds a constant tensor of int64 in row-major order.
func (g *Graph) Ints(name string, values []int64, shape ...int) {
	raw := make([]byte, 0, 8*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	g.weight(name, Int64, len(values), shape, raw)
}

func (g *Graph) weight(name string, t Type, n int, shape []int, raw []byte) {
	g.define(name)
	var b []byte
	size := 1
	for _, d := range shape {
		size *= d
		b = protowire.AppendTag(b, 1, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(d))
	}
	if size != n {
		g.fail("tensor %q of shape %v has %d elements", name, shape, n)
	}
	b = number(b, 2, int64(t))
	b = text(b, 8, name)
	b = message(b, 9, raw)
	g.weights = append(g.weights, b)
}

// Attributes are an operator's settings, by name: int, float32, string, and slices of int64, float32 and string.
type Attributes map[string]any

// Node adds an operator of the default domain. An input left out is an empty name.
func (g *Graph) Node(operator string, in, out []string, a Attributes) {
	g.add("", operator, in, out, a)
}

// MLNode adds an operator of domain ML.
func (g *Graph) MLNode(operator string, in, out []string, a Attributes) {
	g.ml = true
	g.add(ML, operator, in, out, a)
}

func (g *Graph) add(domain, operator string, in, out []string, a Attributes) {
	var b []byte
	for _, name := range in {
		if name != "" { // an optional input left out
			g.use(name)
		}
		b = text(b, 1, name)
	}
	for _, name := range out {
		g.define(name)
		b = text(b, 2, name)
	}
	b = text(b, 3, fmt.Sprintf("%s_%d", operator, len(g.nodes)))
	b = text(b, 4, operator)
	for _, name := range slices.Sorted(maps.Keys(a)) {
		attribute, err := attribute(name, a[name])
		if err != nil {
			g.fail("operator %s: %v", operator, err)
		}
		b = message(b, 5, attribute)
	}
	if domain != "" {
		b = text(b, 7, domain)
	}
	g.nodes = append(g.nodes, b)
}

func attribute(name string, value any) ([]byte, error) {
	b := text(nil, 1, name)
	switch v := value.(type) {
	case float32:
		b = protowire.AppendTag(b, 2, protowire.Fixed32Type)
		b = protowire.AppendFixed32(b, math.Float32bits(v))
		return number(b, 20, 1), nil
	case int:
		return number(number(b, 3, int64(v)), 20, 2), nil
	case string:
		return number(message(b, 4, []byte(v)), 20, 3), nil
	case []float32:
		packed := make([]byte, 0, 4*len(v))
		for _, x := range v {
			packed = protowire.AppendFixed32(packed, math.Float32bits(x))
		}
		return number(message(b, 7, packed), 20, 6), nil
	case []int64:
		var packed []byte
		for _, x := range v {
			packed = protowire.AppendVarint(packed, uint64(x))
		}
		return number(message(b, 8, packed), 20, 7), nil
	case []string:
		for _, x := range v {
			b = message(b, 9, []byte(x))
		}
		return number(b, 20, 8), nil
	}
	return nil, fmt.Errorf("attribute %q is a %T", name, value)
}

// Marshal is the model, with metadata beside it. Errors wrap ErrModel and say what the first mistake in the graph was.
func (g *Graph) Marshal(metadata map[string]string) ([]byte, error) {
	if g.err != nil {
		return nil, g.err
	}
	if len(g.inputs) == 0 || len(g.outputs) == 0 {
		return nil, fmt.Errorf("%w: %s has %d inputs and %d outputs", ErrModel, g.name, len(g.inputs), len(g.outputs))
	}
	var graph []byte
	for _, n := range g.nodes {
		graph = message(graph, 1, n)
	}
	graph = text(graph, 2, g.name)
	for _, w := range g.weights {
		graph = message(graph, 5, w)
	}
	for _, p := range g.inputs {
		graph = message(graph, 11, port(p))
	}
	for _, p := range g.outputs {
		graph = message(graph, 12, port(p))
	}
	b := number(nil, 1, irVersion)
	b = text(b, 2, "marquee")
	b = message(b, 7, graph)
	b = message(b, 8, number(nil, 2, Opset))
	if g.ml {
		b = message(b, 8, number(text(nil, 1, ML), 2, MLOpset))
	}
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		b = message(b, 14, text(text(nil, 1, key), 2, metadata[key]))
	}
	if len(b) > math.MaxInt32 {
		return nil, fmt.Errorf("%w: %s takes %d bytes; one file holds 2 GiB at most", ErrModel, g.name, len(b))
	}
	return b, nil
}

func port(p Port) []byte {
	var shape []byte
	for _, d := range p.Shape {
		if name, free := d.(string); free {
			shape = message(shape, 1, text(nil, 2, name))
		} else {
			shape = message(shape, 1, number(nil, 1, int64(d.(int))))
		}
	}
	tensor := message(number(nil, 1, int64(p.Type)), 2, shape)
	return message(text(nil, 1, p.Name), 2, message(nil, 1, tensor))
}

func (g *Graph) define(name string) {
	if name == "" || g.known[name] {
		g.fail("value %q is made twice, or has no name", name)
	}
	g.known[name] = true
}

func (g *Graph) use(name string) {
	if !g.known[name] {
		g.fail("value %q is used before it is made", name)
	}
}

func (g *Graph) fail(format string, args ...any) {
	if g.err == nil {
		g.err = fmt.Errorf("%w: %s: %s", ErrModel, g.name, fmt.Sprintf(format, args...))
	}
}

func number(b []byte, field protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(v))
}

func text(b []byte, field protowire.Number, s string) []byte { return message(b, field, []byte(s)) }

func message(b []byte, field protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), m)
}
