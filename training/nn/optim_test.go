package nn

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAdamOrder follows three parameters by hand: one dense, one sparse of which a row is touched every other step.
func TestAdamOrder(t *testing.T) {
	team := NewTeam(1)
	dense, sparse := NewParam("d", 1), NewTable("s", 3, 1)
	a := NewAdam(0.1)
	a.Decay = 0.01
	type state struct{ w, m, v float64 }
	var d, s state
	step := func(x *state, g float64, n int) {
		g += 0.01 * x.w
		x.m = 0.9*x.m + 0.1*g
		x.v = 0.999*x.v + 0.001*g*g
		x.w -= 0.1 * (x.m / (1 - math.Pow(0.9, float64(n)))) / (math.Sqrt(x.v/(1-math.Pow(0.999, float64(n)))) + 1e-8)
	}
	for n := 1; n <= 9; n++ {
		dense.Grad[0] = float32(n % 3)
		step(&d, float64(n%3), n)
		if n%2 == 0 {
			sparse.Touch([]uint32{1, 1})
			sparse.Grad[1] = 0.5
			step(&s, 0.5, n)
		}
		a.Step(team, []*Param{dense, sparse})
		if math.Abs(float64(dense.Value[0])-d.w) > 1e-5 || math.Abs(float64(sparse.Value[1])-s.w) > 1e-5 {
			t.Fatalf("after step %d: %v and %v, want %v and %v", n, dense.Value[0], sparse.Value[1], d.w, s.w)
		}
		if dense.Grad[0] != 0 || sparse.Grad[1] != 0 || len(sparse.Touched()) != 0 || sparse.Value[0] != 0 {
			t.Fatal("gradients are cleared and other rows left alone")
		}
	}
	if a.Steps() != 9 {
		t.Errorf("%d steps", a.Steps())
	}
}

func TestAdagradOrder(t *testing.T) {
	p := NewTable("s", 2, 2)
	a := NewAdagrad(0.5)
	var w, v float64
	for _, g := range []float64{1, -2, 0.25} {
		p.Touch([]uint32{1})
		p.Grad[3] = float32(g)
		a.Step(NewTeam(1), []*Param{p})
		v += g * g
		w -= 0.5 * g / (math.Sqrt(v) + 1e-10)
	}
	if math.Abs(float64(p.Value[3])-w) > 1e-6 || p.Value[0] != 0 || p.Grad[3] != 0 || a.Steps() != 3 {
		t.Errorf("%v, want %v", p.Value, w)
	}
}

func TestAdamValidate(t *testing.T) {
	if err := NewAdam(0.1).Validate(); err != nil {
		t.Error(err)
	}
	for _, a := range []*Adam{{}, {Rate: math.NaN(), Epsilon: 1}, {Rate: 1, Beta1: 1, Epsilon: 1}, {Rate: 1, Epsilon: 0}, {Rate: 1, Epsilon: 1, Decay: -1}} {
		if a.Validate() == nil {
			t.Errorf("%+v was taken", a)
		}
	}
}

// TestStepsAllocateNothingOfTheBatch is that a step's memory is made once: what is left are the functions handed to workers.
func TestStepsAllocateNothingOfTheBatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 8))
	const d, rows = 32, 600
	team := NewTeam(2)
	a, norm, table := NewAttention("a", d, 2, rng), NewLayerNorm("n", d), NewTable("e", 100, d)
	offsets, ids := []int{0, 200, 400, rows}, make([]uint32, rows)
	for i := range ids {
		ids[i] = rng.Uint32N(100)
	}
	x, y, z, dy := make([]float32, rows*d), make([]float32, rows*d), make([]float32, rows*d), make([]float32, rows*d)
	var tiles Tiles
	adam, params := NewAdam(0.01), append(append(a.Params(), norm.Params()...), table)
	loss := (&Softmax{Targets: ids, Weight: 0.1}).Row
	step := func() {
		Gather(team, x, table, ids)
		a.Forward(team, y, x, offsets)
		norm.Forward(team, z, y, rows)
		tiles.Run(team, Scoring{Dim: d, Scale: 1, Rows: z, RowsGrad: dy, Candidates: table.Value, CandidatesGrad: table.Grad}, loss)
		clear(z)
		norm.Backward(team, z, y, dy, rows)
		a.Backward(team, y, x, z, offsets)
		GatherBackward(team, table, y, ids)
		adam.Step(team, params)
	}
	step()
	if n := testing.AllocsPerRun(3, step); n > 400 {
		t.Errorf("%v allocations a step", n)
	}
	if slices.ContainsFunc(table.Value, func(v float32) bool { return v != v }) {
		t.Error("NaN")
	}
}
