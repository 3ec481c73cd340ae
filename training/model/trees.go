package model

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"marquee/internal/ort"
	"marquee/training/gbdt"
	"marquee/training/gbdt/forest"
	"marquee/training/onnx"
)

// trees is an ONNX model that is one calibrated sum of small trees, evaluated without the runtime: what a request waits for longest takes a
// tenth of the time so.
type trees struct {
	forest           *forest.Forest
	slope, intercept float32
	scratch          sync.Pool
}

// plainTrees makes a model's trees ready; nil where it is another model, or its trees are larger than a forest takes, or what they say is not
// what the runtime says, which is what counts.
func plainTrees(data []byte, session *ort.Session, features int) (*trees, error) {
	c, ok, err := onnx.ReadCalibrated(data, features)
	if err != nil || !ok {
		return nil, err
	}
	f, ok := forest.New(c.Trees)
	if !ok {
		return nil, nil
	}
	t := &trees{forest: f, slope: c.Slope, intercept: c.Intercept}
	t.scratch.New = func() any { return new(forest.Scratch) }
	same, err := t.agrees(session, samples(c.Trees))
	if err != nil || !same {
		return nil, err
	}
	return t, nil
}

func (t *trees) order(dst, features []float32) {
	s := t.scratch.Get().(*forest.Scratch)
	t.forest.Raw(dst, features, s)
	t.scratch.Put(s)
	for i, x := range dst {
		dst[i] = float32(1 / (1 + math.Exp(-float64(t.slope*x+t.intercept))))
	}
}

// agreement is how far two computations of one probability may be apart.
const agreement = 1e-5

// samples are examples that end in many of a model's leaves: features at its bounds, just above them, and not known.
func samples(m *gbdt.Model) []float32 {
	const examples = 256
	bounds := make([][]float32, m.Features)
	for _, t := range m.Trees {
		for _, n := range t {
			if n.Left != 0 {
				bounds[n.Feature] = append(bounds[n.Feature], n.Threshold, math.Nextafter32(n.Threshold, float32(math.Inf(1))))
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	out := make([]float32, examples*m.Features)
	for i := range out {
		of := bounds[i%m.Features]
		if pick := r.IntN(len(of) + 1 + len(of)/8); pick < len(of) {
			out[i] = of[pick]
		} else {
			out[i] = float32(math.NaN())
		}
	}
	return out
}

// agrees reports whether the runtime says the same of examples.
func (t *trees) agrees(session *ort.Session, features []float32) (bool, error) {
	width := int(session.Inputs()[0].Shape[1])
	n := len(features) / width
	here, there := make([]float32, n), make([]float32, n)
	t.order(here, features)
	err := session.Run(context.Background(), []ort.Tensor{{Shape: []int64{int64(n), int64(width)}, Floats: features}}, []ort.Tensor{{Shape: []int64{int64(n), 1}, Floats: there}})
	if err != nil {
		return false, fmt.Errorf("ask the ranker about samples: %w", err)
	}
	for i := range here {
		if !(math.Abs(float64(here[i]-there[i])) <= agreement) {
			return false, nil
		}
	}
	return true, nil
}

// RanksByTrees reports whether the ranker's order is computed from its trees, and not by ONNX Runtime.
func (b *Bundle) RanksByTrees() bool { return b.ranker != nil && b.ranker.trees != nil }
