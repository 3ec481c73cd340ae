package sasrec

import (
	"math"
	"math/rand/v2"
	"testing"

	"marquee/internal/ort"
	"marquee/training/nn"
	"marquee/training/onnx/onnxtest"
)

// TestExportedTowerGivesTheNumbersOfGo runs the network in ONNX Runtime, on histories of different lengths and paddings.
func TestExportedTowerGivesTheNumbersOfGo(t *testing.T) {
	var cases []onnxtest.Case
	for _, act := range []nn.Activation{nn.GELU, nn.ReLU} {
		cfg := smallConfig()
		cfg.Activation, cfg.Dim, cfg.Heads, cfg.Epochs = act, 12, 3, 6
		rng := rand.New(rand.NewPCG(8, 1))
		m, err := Train(t.Context(), cycles(rng, 60, 20), 20, cfg, Options{})
		if err != nil {
			t.Fatal(err)
		}
		model, err := m.ExportUserTower()
		if err != nil {
			t.Fatal(err)
		}
		s, err := ort.Open(model, ort.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for length := 1; length <= cfg.MaxLength; length++ {
			var histories [][]uint32
			var padded []int64
			for n := range length + 1 {
				h := make([]uint32, n)
				for range length - n {
					padded = append(padded, -1)
				}
				for i := range h {
					h[i] = rng.Uint32N(20)
					padded = append(padded, int64(h[i]))
				}
				histories = append(histories, h)
			}
			want, err := m.Vectors(histories)
			if err != nil {
				t.Fatal(err)
			}
			if length == cfg.MaxLength {
				cases = append(cases, onnxtest.Case{Name: string(act), Model: model, Want: want,
					Inputs: map[string]ort.Tensor{"history": {Shape: []int64{int64(len(histories)), int64(length)}, Ints: padded}}})
			}
			got, batch := make([]float32, len(want)), int64(len(histories))
			if err := s.Run(t.Context(), []ort.Tensor{{Shape: []int64{batch, int64(length)}, Ints: padded}},
				[]ort.Tensor{{Shape: []int64{batch, int64(cfg.Dim)}, Floats: got}}); err != nil {
				t.Fatal(err)
			}
			for i, w := range want {
				if math.Abs(float64(got[i]-w)) > 1e-5*(1+math.Abs(float64(w))) {
					t.Fatalf("%s, length %d: number %d is %v, in Go %v", act, length, i, got[i], w)
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Run("in Python", func(t *testing.T) { onnxtest.CheckInPython(t, cases...) })
}
