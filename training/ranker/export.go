package ranker

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"marquee/training/gbdt"
	"marquee/training/onnx"
)

// Names of what an exported ranker takes and gives.
const (
	// Input is batch x features, NaN for what is not known.
	Input = "features"
	// Output is batch x heads: see Heads.
	Output = "scores"
)

// Heads are what a ranker says, all between 0 and 1: a score to order by, the probability of a play, and how much of a whole
// watch that will be.
func Heads() []string { return []string{"order", "play", "finish"} }

// Scores is what the exported model gives for one candidate.
func (m *Model) Scores(row []float32) [3]float32 {
	var out [3]float32
	for i, h := range m.heads() {
		out[i] = float32(h.Calibration.probability(h.Trees.Raw(row)))
	}
	return out
}

func (m *Model) heads() []Head { return []Head{m.Order, m.Play, m.Finish} }

// ONNX is the model as two ONNX graphs, the first with the head to order by, which every request waits for, the second with the others.
// Each is one operator for all trees, calibration, and a sigmoid. The metadata say what the features and heads are.
func (m *Model) ONNX() (order, outcomes []byte, err error) {
	if order, err = m.graph(Heads()[:1], m.heads()[:1]); err != nil {
		return nil, nil, err
	}
	outcomes, err = m.graph(Heads()[1:], m.heads()[1:])
	return order, outcomes, err
}

func (m *Model) graph(names []string, heads []Head) ([]byte, error) {
	features, err := json.Marshal(m.Features)
	if err != nil {
		return nil, fmt.Errorf("name the ranker's features: %w", err)
	}
	g := onnx.NewGraph("ranker")
	g.Input(Input, onnx.Float, "batch", len(m.Features))
	var trees []*gbdt.Model
	var slope, intercept []float32
	for _, h := range heads {
		trees = append(trees, h.Trees)
		slope, intercept = append(slope, h.Calibration.Slope), append(intercept, h.Calibration.Intercept)
	}
	g.Trees(Input, "raw", trees)
	g.Floats("slope", slope, 1, len(slope))
	g.Floats("intercept", intercept, 1, len(intercept))
	g.Node("Mul", []string{"raw", "slope"}, []string{"scaled"}, nil)
	g.Node("Add", []string{"scaled", "intercept"}, []string{"odds"}, nil)
	g.Node("Sigmoid", []string{"odds"}, []string{Output}, nil)
	g.Output(Output, onnx.Float, "batch", len(trees))
	return g.Marshal(map[string]string{
		"role": "ranker", "features": string(features), "heads": strings.Join(names, ","), "candidates": strconv.Itoa(m.Candidates),
	})
}
