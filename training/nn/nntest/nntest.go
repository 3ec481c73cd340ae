// Package nntest checks gradients by differences.
package nntest

import (
	"math"
	"math/rand/v2"
	"testing"
)

// CheckGradient compares gradients with central differences of a float32 computation whose loss is summed in float64: every number
// of values is moved both ways.
func CheckGradient(t *testing.T, name string, values, gradient []float32, loss func() float64) {
	t.Helper()
	check(t, name, values, gradient, loss, 4e-3, 2e-3, len(values))
}

// CheckExact is CheckGradient against a loss computed in float64 throughout, of at most so many of the values.
func CheckExact(t *testing.T, name string, values, gradient []float32, loss func() float64, most int) {
	t.Helper()
	check(t, name, values, gradient, loss, 1e-3, 2e-4, most)
}

func check(t *testing.T, name string, values, gradient []float32, loss func() float64, step float32, tolerance float64, most int) {
	t.Helper()
	var scale float64
	for _, g := range gradient {
		scale = max(scale, math.Abs(float64(g)))
	}
	if scale == 0 {
		t.Fatalf("%s: the gradient is 0 everywhere", name)
	}
	rng := rand.New(rand.NewPCG(1, uint64(len(values))))
	for k := range min(most, len(values)) {
		i := k
		if most < len(values) {
			i = rng.IntN(len(values))
		}
		was := values[i]
		values[i] = was + step
		up, moved := loss(), float64(values[i])
		values[i] = was - step
		down := loss()
		moved -= float64(values[i])
		values[i] = was
		want := (up - down) / moved
		if off := math.Abs(want - float64(gradient[i])); !(off < tolerance*(scale+math.Abs(want))) {
			t.Fatalf("%s: derivative %d is %v, by differences %v", name, i, gradient[i], want)
		}
	}
}
