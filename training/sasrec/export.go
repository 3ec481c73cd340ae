package sasrec

import (
	"fmt"
	"math"
	"strconv"

	"marquee/training/nn"
	"marquee/training/onnx"
)

// ExportUserTower is the network as an ONNX model. Its input is "history", batch x length of int64: title numbers in order, filled up on
// the left with -1, at most Config.MaxLength long. Its output "vector", batch x Dim, is what Vectors returns. Dimensions batch
// and length are free. Titles' vectors are Embeddings.
func (m *Model) ExportUserTower() ([]byte, error) {
	e := &exporter{Graph: onnx.NewGraph("sasrec-user"), cfg: m.Config}
	g, d := e.Graph, m.Config.Dim
	for _, p := range m.Params() {
		g.Floats(p.Name, p.Value, p.Shape...)
	}
	g.Input("history", onnx.Int64, "batch", "length")
	valid := g.Op("GreaterOrEqual", nil, "history", g.Whole(true, 0))
	known := g.Op("Max", nil, "history", g.Whole(true, 0))
	length := g.Op("Shape", onnx.Attributes{"start": 1, "end": 2}, "history")
	most := g.Whole(false, int64(m.Config.MaxLength))
	positions := g.Op("Slice", nil, "positions", g.Op("Sub", nil, most, length), most, g.Whole(false, 0))
	x := g.Op("Mul", nil, g.Op("Gather", nil, "titles", known), g.Number(float32(math.Sqrt(float64(d)))))
	x = g.Op("Add", nil, x, positions)
	// A place reads what is before it and known.
	places := g.Op("Range", nil, g.Whole(true, 0), g.Op("Squeeze", nil, length), g.Whole(true, 1))
	causal := g.Op("LessOrEqual", nil, g.Op("Unsqueeze", nil, places, g.Whole(false, 0)), g.Op("Unsqueeze", nil, places, g.Whole(false, 1)))
	e.mask = g.Op("And", nil, causal, g.Op("Unsqueeze", nil, valid, g.Whole(false, 1, 2)))
	for i := range m.Config.Blocks {
		name := "block" + strconv.Itoa(i)
		x = g.Op("Add", nil, x, e.attention(name+".attention", e.norm(name+".norm1", x)))
		h := e.linear(name+".wide", e.norm(name+".norm2", x))
		if m.Config.Activation == nn.GELU {
			h = g.Op("Gelu", onnx.Attributes{"approximate": "tanh"}, h)
		} else {
			h = g.Op("Relu", nil, h)
		}
		x = g.Op("Add", nil, x, e.linear(name+".close", h))
	}
	last := g.Op("Gather", onnx.Attributes{"axis": 1}, e.norm("last", x), g.Whole(true, -1))
	// Of an empty history the vector is 0.
	some := g.Op("Cast", onnx.Attributes{"to": int(onnx.Float)}, g.Op("Slice", nil, valid, g.Whole(false, -1), g.Whole(false, math.MaxInt32), g.Whole(false, 1)))
	g.Node("Mul", []string{last, some}, []string{"vector"}, nil)
	g.Output("vector", onnx.Float, "batch", d)
	b, err := g.Marshal(map[string]string{"role": "user-tower", "model": "sasrec", "max_length": strconv.Itoa(m.Config.MaxLength), "titles": strconv.Itoa(m.Titles)})
	if err != nil {
		return nil, fmt.Errorf("export the user tower: %w", err)
	}
	return b, nil
}

type exporter struct {
	*onnx.Graph
	cfg  Config
	mask string // batch x 1 x length x length: what a place may read
}

func (e *exporter) linear(name, x string) string {
	return e.Op("Add", nil, e.Op("MatMul", nil, x, name+".weight"), name+".bias")
}

func (e *exporter) norm(name, x string) string {
	return e.Op("LayerNormalization", onnx.Attributes{"axis": -1, "epsilon": float32(1e-8)}, x, name+".gain", name+".bias")
}

func (e *exporter) attention(name, x string) string {
	heads, size := int64(e.cfg.Heads), int64(e.cfg.Dim/e.cfg.Heads)
	qkv := e.linear(name+".qkv", x)
	part := func(i int64, perm ...int64) string {
		lo, hi := i*int64(e.cfg.Dim), (i+1)*int64(e.cfg.Dim)
		p := e.Op("Slice", nil, qkv, e.Whole(false, lo), e.Whole(false, hi), e.Whole(false, 2))
		return e.Op("Transpose", onnx.Attributes{"perm": perm}, e.Op("Reshape", nil, p, e.Whole(false, 0, 0, heads, size)))
	}
	scores := e.Op("MatMul", nil, part(0, 0, 2, 1, 3), part(1, 0, 2, 3, 1))
	scores = e.Op("Mul", nil, scores, e.Number(float32(1/math.Sqrt(float64(size)))))
	weights := e.Op("Softmax", onnx.Attributes{"axis": -1}, e.Op("Where", nil, e.mask, scores, e.Number(-1e9)))
	mixed := e.Op("Transpose", onnx.Attributes{"perm": []int64{0, 2, 1, 3}}, e.Op("MatMul", nil, weights, part(2, 0, 2, 1, 3)))
	return e.linear(name+".out", e.Op("Reshape", nil, mixed, e.Whole(false, 0, 0, int64(e.cfg.Dim))))
}
