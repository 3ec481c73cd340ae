package onnx

import (
	"errors"
	"slices"
	"testing"
)

func readable(t testing.TB) []byte {
	t.Helper()
	g := NewGraph("g")
	g.Input("x", Float, "batch", 2)
	g.Floats("w", []float32{1, 2, 3, 4, 5, 6}, 2, 3)
	g.Ints("n", []int64{7}, 1)
	g.Node("MatMul", []string{"x", "w"}, []string{"y"}, nil)
	g.Output("y", Float, "batch", 3)
	b, err := g.Marshal(map[string]string{"role": "test"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWeightsAreReadBack(t *testing.T) {
	w, err := Weights(readable(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(w) != 1 || !slices.Equal(w["w"].Shape, []int{2, 3}) || !slices.Equal(w["w"].Floats, []float32{1, 2, 3, 4, 5, 6}) {
		t.Errorf("read %v", w)
	}
}

func TestWhatIsNoModelHasNoWeights(t *testing.T) {
	b := readable(t)
	for name, damaged := range map[string][]byte{"cut": b[:len(b)/2], "text": []byte("no model at all"), "short tensor": resized(b)} {
		if w, err := Weights(damaged); !errors.Is(err, ErrModel) {
			t.Errorf("%s: read %v, %v", name, w, err)
		}
	}
}

// resized says that the tensor has a row more than it has.
func resized(b []byte) []byte {
	b = slices.Clone(b)
	at := slices.Index(b, 0x2a) // the tag of an initializer
	b[at+3] = 3                 // its tag, its length, the tag of its first dimension, which is 2
	return b
}

func FuzzWeights(f *testing.F) {
	b := readable(f)
	f.Add(b)
	f.Add(b[:40])
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := Weights(b)
		if err != nil {
			return
		}
		for name, x := range w {
			n := 1
			for _, d := range x.Shape {
				n *= d
			}
			if n != len(x.Floats) {
				t.Errorf("%s of shape %v has %d values", name, x.Shape, len(x.Floats))
			}
		}
	})
}
