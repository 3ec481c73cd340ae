package twotower

import (
	"fmt"
	"slices"
	"strconv"

	"marquee/training/nn"
	"marquee/training/onnx"
)

// ExportTitleTower is the title's tower as an ONNX model. Its inputs are "title", batch of int64: the title's number, or -1 of a new
// one; and, of a model with content, "terms" and "term_weights", batch x count of int64 and float32, filled up with -1 and 0. Its output
// "vector", batch x Dim, has the length that Config.PopularityPower says, of a new title 1, or 0 where nothing is known.
func (m *Model) ExportTitleTower() ([]byte, error) {
	g, t := onnx.NewGraph("twotower-title"), m.towers
	g.Input("title", onnx.Int64, "batch")
	x := lookup(g, "titles", m.ownTitles(), m.Config.Dim, "title")
	if t.terms != nil {
		x = g.Op("Add", nil, x, weighed(g, "terms", t.terms.Value, m.Config.Dim))
	}
	lengths := ""
	if t.lengths != nil {
		g.Floats("lengths", append(slices.Clone(t.lengths), 1), len(t.lengths)+1, 1)
		lengths = g.Op("Gather", nil, "lengths", known(g, "title", m.data.Titles))
	}
	return m.finish(g, x, lengths, "title-tower")
}

// ExportUserTower is the user's tower as an ONNX model. Its inputs are, filled up with -1 (and 0 of numbers) where of different
// lengths: "history" and "strength", batch x length of int64 and float32: titles' numbers and their strengths; with attention "recency",
// batch x length of int64: recency buckets (0 below one day, k below 2^k days, the last unknown); of a model that has them "user" and
// "context", batch of int64, -1 where unknown; "attributes" and "attribute_weights", batch x count. Its output "vector" is batch x Dim.
func (m *Model) ExportUserTower() ([]byte, error) {
	g, t, c := onnx.NewGraph("twotower-user"), m.towers, m.Config
	pooled := m.exportPooling(g)
	g.Floats("project.weight", t.project.Weight.Value, c.Dim, c.Dim)
	y := g.Op("MatMul", nil, pooled, "project.weight")
	if t.users != nil {
		g.Input("user", onnx.Int64, "batch")
		own := g.Op("Mul", nil, lookup(g, "users", t.users.Value, c.Dim, "user"), g.Number(float32(c.Gate)))
		y = g.Op("Add", nil, g.Op("Mul", nil, y, g.Number(1-float32(c.Gate))), own)
	}
	if t.contexts != nil {
		g.Input("context", onnx.Int64, "batch")
		y = g.Op("Add", nil, y, lookup(g, "contexts", t.contexts.Value, c.Dim, "context"))
	}
	if t.attributes != nil {
		y = g.Op("Add", nil, y, weighed(g, "attributes", t.attributes.Value, c.Dim))
	}
	if t.wide != nil {
		for _, p := range slices.Concat(t.wide.Params(), t.close.Params()) {
			g.Floats(p.Name, p.Value, p.Shape...)
		}
		h := g.Op("Relu", nil, g.Op("Add", nil, g.Op("MatMul", nil, y, "wide.weight"), "wide.bias"))
		y = g.Op("Add", nil, y, g.Op("Add", nil, g.Op("MatMul", nil, h, "close.weight"), "close.bias"))
	}
	return m.finish(g, y, "", "user-tower")
}

// exportPooling is the weighted sum of the history's titles, batch x dim.
func (m *Model) exportPooling(g *onnx.Graph) string {
	t, c := m.towers, m.Config
	g.Input("history", onnx.Int64, "batch", "length")
	g.Input("strength", onnx.Float, "batch", "length")
	x := lookup(g, "history_titles", m.rawTitles(), c.Dim, "history") // batch x length x dim
	zero, one := g.Number(0), g.Number(1)
	valid := g.Op("GreaterOrEqual", nil, "history", g.Whole(true, 0))
	last := g.Whole(false, 1)
	var weights string
	if t.query == nil {
		strengths := g.Op("Where", nil, valid, "strength", zero)
		sum := g.Op("ReduceSum", nil, strengths, last)
		// Of an empty history the sum is 0 and so are the weights.
		sum = g.Op("Where", nil, g.Op("Greater", nil, sum, zero), sum, one)
		weights = g.Op("Div", nil, strengths, g.Op("Pow", nil, sum, g.Number(float32(c.HistoryPower))))
	} else {
		g.Input("recency", onnx.Int64, "batch", "length")
		g.Floats("query", t.query.Value, c.Dim, 1)
		logits := g.Op("Squeeze", nil, g.Op("MatMul", nil, x, "query"), g.Whole(false, 2))
		g.Floats("recency_bias", t.recency.Value, c.RecencyBuckets)
		logits = g.Op("Add", nil, logits, g.Op("Gather", nil, "recency_bias", g.Op("Max", nil, "recency", g.Whole(true, 0))))
		logits = g.Op("Add", nil, logits, g.Op("Log", nil, g.Op("Where", nil, valid, "strength", one)))
		weights = g.Op("Softmax", onnx.Attributes{"axis": 1}, g.Op("Where", nil, valid, logits, g.Number(-1e9)))
		weights = g.Op("Where", nil, valid, weights, zero)
	}
	return g.Op("Squeeze", nil, g.Op("MatMul", nil, g.Op("Unsqueeze", nil, weights, last), x), g.Whole(false, 1))
}

// rawTitles are all titles' vectors as histories read them.
func (m *Model) rawTitles() []float32 {
	out := make([]float32, 0, m.data.Titles*m.Config.Dim)
	for lo := 0; lo < m.data.Titles; lo += scoreBatch {
		m.make.begin(&m.batch)
		for t := lo; t < min(lo+scoreBatch, m.data.Titles); t++ {
			m.make.at(&m.batch, uint32(t))
		}
		m.towers.titleVectors(m.team, &m.batch)
		out = append(out, m.towers.x...)
	}
	return out
}

// ownTitles are all titles' vectors but for what the catalogue says of them: their own rows with their neighbours', which are known by number.
func (m *Model) ownTitles() []float32 {
	if m.towers.neighbours == nil {
		return m.towers.titles.Value
	}
	out := slices.Clone(m.towers.titles.Value)
	var bags nn.Bags
	bags.Reset()
	for t := range m.data.Titles {
		bag(&bags, m.make.near, uint32(t))
	}
	bags.Pool(m.team, out, m.towers.neighbours.Value, m.Config.Dim)
	return out
}

// lookup gathers rows of a table by ids; an id below 0 has a row of zeros, the table's last in the file.
func lookup(g *onnx.Graph, name string, table []float32, dim int, ids string) string {
	rows := len(table) / dim
	g.Floats(name, append(slices.Clone(table), make([]float32, dim)...), rows+1, dim)
	return g.Op("Gather", nil, name, known(g, ids, rows))
}

// known is ids with those below 0 replaced by the number that follows all.
func known(g *onnx.Graph, ids string, rows int) string {
	return g.Op("Where", nil, g.Op("Less", nil, ids, g.Whole(true, 0)), g.Whole(true, int64(rows)), ids)
}

// weighed is the weighted sum of rows of a table: of inputs named as the table and as its singular with _weights.
func weighed(g *onnx.Graph, name string, table []float32, dim int) string {
	weights := name[:len(name)-1] + "_weights"
	g.Input(name, onnx.Int64, "batch", name)
	g.Input(weights, onnx.Float, "batch", name)
	rows := lookup(g, name+"_table", table, dim, name)
	return g.Op("Squeeze", nil, g.Op("MatMul", nil, g.Op("Unsqueeze", nil, weights, g.Whole(false, 1)), rows), g.Whole(false, 1))
}

// finish brings vectors to unit length, or to those of lengths where it names them.
func (m *Model) finish(g *onnx.Graph, x, lengths, role string) ([]byte, error) {
	norm := g.Op("Max", nil, g.Op("ReduceL2", nil, x, g.Whole(false, 1)), g.Number(1e-12))
	if lengths != "" {
		norm = g.Op("Div", nil, norm, lengths)
	}
	g.Node("Div", []string{x, norm}, []string{"vector"}, nil)
	g.Output("vector", onnx.Float, "batch", m.Config.Dim)
	b, err := g.Marshal(map[string]string{"role": role, "model": "twotower", "titles": strconv.Itoa(m.data.Titles)})
	if err != nil {
		return nil, fmt.Errorf("export the %s: %w", role, err)
	}
	return b, nil
}
