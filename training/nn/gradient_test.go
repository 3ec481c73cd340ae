package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"marquee/training/nn/nntest"
)

func randoms(rng *rand.Rand, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(rng.NormFloat64())
	}
	return out
}

// against is the product with a fixed random tensor: the simplest loss that sees every number.
func against(y, weights []float32) float64 {
	var sum float64
	for i, w := range weights {
		sum += float64(w) * float64(y[i])
	}
	return sum
}

func TestLayerGradients(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	const rows, d = 11, 8
	team := NewTeam(2)
	offsets := []int{0, 1, 5, 5, rows}
	attention := NewAttention("a", d, 2, rng)
	for _, p := range attention.Params() {
		p.Normal(rng, 0.4)
	}
	linear, norm := NewLinear("l", d, d, rng), NewLayerNorm("n", d)
	norm.Gain.Normal(rng, 1)
	norm.Bias.Normal(rng, 1)
	norms := make([]float32, rows)
	drop := Dropout{Rate: 0.3}
	for _, c := range []struct {
		name     string
		params   []*Param
		forward  func(y, x []float32)
		backward func(dx, x, y, dy []float32)
	}{
		{"linear", linear.Params(), func(y, x []float32) { linear.Forward(team, y, x, rows) },
			func(dx, x, _, dy []float32) { linear.Backward(team, dx, x, dy, rows) }},
		{"layernorm", norm.Params(), func(y, x []float32) { norm.Forward(team, y, x, rows) },
			func(dx, x, _, dy []float32) { clear(dx); norm.Backward(team, dx, x, dy, rows) }},
		{"attention", attention.Params(), func(y, x []float32) { attention.Forward(team, y, x, offsets) },
			func(dx, x, _, dy []float32) { attention.Backward(team, dx, x, dy, offsets) }},
		{"gelu", nil, func(y, x []float32) { GELU.Forward(team, y, x) },
			func(dx, x, _, dy []float32) { GELU.Backward(team, dx, x, dy) }},
		{"relu", nil, func(y, x []float32) { ReLU.Forward(team, y, x) },
			func(dx, x, _, dy []float32) { ReLU.Backward(team, dx, x, dy) }},
		{"normalize", nil, func(y, x []float32) { Normalize(team, y, x, norms, rows, d) },
			func(dx, _, y, dy []float32) { NormalizeBackward(team, dx, y, dy, norms, rows, d) }},
		{"dropout", nil, func(y, x []float32) { copy(y, x); drop.Apply(team, y, 5) },
			func(dx, _, _, dy []float32) { copy(dx, dy); drop.Apply(team, dx, 5) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, y, dx, dy := randoms(rng, rows*d), make([]float32, rows*d), randoms(rng, rows*d), randoms(rng, rows*d)
			if c.name == "relu" { // Where it has no derivative, differences have none to compare with.
				for i, v := range x {
					x[i] = v + float32(math.Copysign(0.1, float64(v)))
				}
			}
			loss := func() float64 { c.forward(y, x); return against(y, dy) }
			loss()
			c.backward(dx, x, y, slices.Clone(dy))
			nntest.CheckGradient(t, "input", x, dx, loss)
			for _, p := range c.params {
				if p.Name == "a.qkv.bias" { // A bias of the keys moves all scores of a query alike.
					clear(p.Grad[d : 2*d])
				}
				nntest.CheckGradient(t, p.Name, p.Value, p.Grad, loss)
			}
		})
	}
}

// TestAttentionOfLongSequences is against attention written down as it is defined, over more rows than a block of queries.
func TestAttentionOfLongSequences(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const d, heads, size = 12, 3, 4
	offsets := []int{0, 150, 150, 213}
	a := NewAttention("a", d, heads, rng)
	x := randoms(rng, 213*d)
	y := make([]float32, len(x))
	a.Forward(NewTeam(2), y, x, offsets)
	row := func(v []float32, n int, w *Param, b *Param) []float64 {
		out := make([]float64, n)
		for j := range out {
			out[j] = float64(b.Value[j])
			for i, u := range v {
				out[j] += float64(u) * float64(w.Value[i*n+j])
			}
		}
		return out
	}
	for s := range len(offsets) - 1 {
		var qkv [][]float64
		for r := offsets[s]; r < offsets[s+1]; r++ {
			qkv = append(qkv, row(x[r*d:(r+1)*d], 3*d, a.QKV.Weight, a.QKV.Bias))
			mixed := make([]float32, d)
			for h := range heads {
				var sum float64
				weights := make([]float64, len(qkv))
				for j, k := range qkv {
					var score float64
					for i := range size {
						score += qkv[len(qkv)-1][h*size+i] * k[d+h*size+i]
					}
					weights[j] = math.Exp(score / 2)
					sum += weights[j]
				}
				for i := range size {
					var v float64
					for j, k := range qkv {
						v += weights[j] / sum * k[2*d+h*size+i]
					}
					mixed[h*size+i] = float32(v)
				}
			}
			for j, want := range row(mixed, d, a.Out.Weight, a.Out.Bias) {
				if got := float64(y[r*d+j]); math.Abs(got-want) > 1e-4 {
					t.Fatalf("row %d, %d: %v, want %v", r, j, got, want)
				}
			}
		}
	}
}

func TestLossGradients(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	const n, k, d = 6, 9, 5
	team := NewTeam(2)
	titles := []uint32{3, 1, 3, 7, 2, 5, 1, 8, 9}
	logQ := randoms(rng, k)
	for _, c := range []struct {
		name string
		own  bool
		loss RowLoss
	}{
		{"softmax", false, (&Softmax{Targets: []uint32{0, 8, 3, 3, 1, 2}, Weight: 0.5}).Row},
		{"sampled softmax", false, (&SampledSoftmax{Titles: titles, LogQ: logQ, Weight: 0.5}).Row},
		{"cosine contrastive", true, (&CosineContrastive{Margin: 0.3, Negative: 4, Weight: 0.5}).Row},
		{"binary cross-entropy", true, (&BinaryCrossEntropy{Beta: 0.7, Weight: 0.5}).Row},
	} {
		t.Run(c.name, func(t *testing.T) {
			job := Scoring{Dim: d, Scale: 0.8, Rows: randoms(rng, n*d), RowsGrad: make([]float32, n*d), Candidates: randoms(rng, k*d), CandidatesGrad: make([]float32, k*d)}
			if c.own {
				job.Own, job.OwnGrad = randoms(rng, n*d), randoms(rng, n*d)
			}
			var tiles Tiles
			value := func() float64 {
				probe := job
				probe.RowsGrad, probe.CandidatesGrad, probe.OwnGrad = make([]float32, n*d), make([]float32, k*d), make([]float32, n*d)
				return tiles.Run(team, probe, c.loss)
			}
			tiles.Run(team, job, c.loss)
			nntest.CheckGradient(t, "rows", job.Rows, job.RowsGrad, value)
			nntest.CheckGradient(t, "candidates", job.Candidates, job.CandidatesGrad, value)
			if c.own {
				nntest.CheckGradient(t, "own", job.Own, job.OwnGrad, value)
			}
		})
	}
}

func TestLossesAreWhatTheySay(t *testing.T) {
	scores := []float32{0.1, 2, -1}
	sum := math.Exp(0.1) + math.Exp(2) + math.Exp(-1)
	got, _ := (&Softmax{Targets: []uint32{0}, Weight: 1}).Row(0, 0, slices.Clone(scores))
	if want := math.Log(sum) - 0.1; math.Abs(got-want) > 1e-6 {
		t.Errorf("softmax %v, want %v", got, want)
	}
	// The row's own title, met again as candidate 2, is left out.
	got, _ = (&SampledSoftmax{Titles: []uint32{4, 5, 4}, LogQ: []float32{-1, -2, -3}, Weight: 1}).Row(0, 0, slices.Clone(scores))
	if want := math.Log(math.Exp(1.1)+math.Exp(4)) - 1.1; math.Abs(got-want) > 1e-6 {
		t.Errorf("sampled softmax %v, want %v", got, want)
	}
	got, _ = (&CosineContrastive{Margin: 0.05, Negative: 3, Weight: 1}).Row(0, 0.6, slices.Clone(scores))
	if want := 0.4 + (0.05 + 1.95); math.Abs(got-want) > 1e-6 {
		t.Errorf("cosine contrastive %v, want %v", got, want)
	}
	got, _ = (&BinaryCrossEntropy{Beta: 0.5, Weight: 1}).Row(0, 0.6, slices.Clone(scores))
	want := 0.5 * math.Log(1+math.Exp(-0.6))
	for _, s := range scores {
		want += math.Log(1 + math.Exp(float64(s)))
	}
	if math.Abs(got-want) > 1e-6 {
		t.Errorf("binary cross-entropy %v, want %v", got, want)
	}
	if b := CalibratedBeta(0.1, 0); b != 1 {
		t.Errorf("without calibration beta is %v", b)
	}
	if b := CalibratedBeta(0.1, 1); math.Abs(float64(b)-0.1) > 1e-7 {
		t.Errorf("with full calibration beta is %v, want the share", b)
	}
}

// TestTilesAreOneMatrix takes a loss over so many candidates that several tiles are needed.
func TestTilesAreOneMatrix(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	const n, k, d = 40, tileSize / 24, 2
	targets := make([]uint32, n)
	for i := range targets {
		targets[i] = rng.Uint32N(k)
	}
	job := Scoring{Dim: d, Scale: 1, Rows: randoms(rng, n*d), RowsGrad: make([]float32, n*d), Candidates: randoms(rng, k*d), CandidatesGrad: make([]float32, k*d)}
	loss := &Softmax{Targets: targets, Weight: 1}
	got := new(Tiles).Run(NewTeam(2), job, loss.Row)
	var want float64
	rowGrad := make([]float64, n*d)
	for i := range n {
		var sum float64
		e := make([]float64, k)
		for j := range k {
			e[j] = math.Exp(against(job.Rows[i*d:(i+1)*d], job.Candidates[j*d:(j+1)*d]))
			sum += e[j]
		}
		own := int(targets[i])
		want += math.Log(sum) - math.Log(e[own])
		for j := range k {
			p := e[j] / sum
			if j == own {
				p--
			}
			for q := range d {
				rowGrad[i*d+q] += p * float64(job.Candidates[j*d+q])
			}
		}
	}
	if math.Abs(got-want) > 1e-4*want {
		t.Errorf("loss %v, want %v", got, want)
	}
	for i, w := range rowGrad {
		if math.Abs(float64(job.RowsGrad[i])-w) > 1e-4 {
			t.Fatalf("row gradient %d is %v, want %v", i, job.RowsGrad[i], w)
		}
	}
}

func TestBagsAndGather(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	const rows, d = 20, 4
	team := NewTeam(2)
	table := NewTable("e", rows, d)
	table.Normal(rng, 1)
	var bags Bags
	bags.Reset()
	for b := range 7 {
		for range b % 4 {
			bags.Add(rng.Uint32N(rows), rng.Float32()+0.5)
		}
		bags.Close()
	}
	dy := randoms(rng, 7*d)
	pool := func() float64 {
		out := make([]float32, 7*d)
		bags.Pool(team, out, table.Value, d)
		return against(out, dy)
	}
	table.Touch(bags.IDs)
	bags.PoolBackward(team, table.Grad, dy, d)
	nntest.CheckGradient(t, "pooled", table.Value, table.Grad, pool)
	for r := range rows {
		if touched := slices.Contains(table.Touched(), uint32(r)); touched != slices.Contains(bags.IDs, uint32(r)) {
			t.Errorf("row %d touched: %v", r, touched)
		}
	}
	clear(table.Grad)
	ids := []uint32{3, 3, 9, 0, 19, 3, 1}
	gather := func() float64 {
		out := make([]float32, len(ids)*d)
		Gather(team, out, table, ids)
		return against(out, dy)
	}
	GatherBackward(team, table, dy, ids)
	nntest.CheckGradient(t, "gathered", table.Value, table.Grad, gather)
}

// TestWorkersChangeNothing is that every layer gives the same bits with any number of workers.
func TestWorkersChangeNothing(t *testing.T) {
	const d = 16
	var want []float32
	for _, workers := range []int{1, 2, 3, 5} {
		rng := rand.New(rand.NewPCG(1, 6))
		team := NewTeam(workers)
		offsets := []int{0, 300, 700, 1500}
		rows := 1500
		table, a, l, norm := NewTable("e", 50, d), NewAttention("a", d, 2, rng), NewLinear("l", d, d, rng), NewLayerNorm("n", d)
		table.Normal(rng, 1)
		ids := make([]uint32, rows)
		for i := range ids {
			ids[i] = rng.Uint32N(50)
		}
		x, y, z := make([]float32, rows*d), make([]float32, rows*d), make([]float32, rows*d)
		Gather(team, x, table, ids)
		a.Forward(team, y, x, offsets)
		norm.Forward(team, z, y, rows)
		l.Forward(team, x, z, rows)
		dy := randoms(rng, rows*d)
		loss := new(Tiles).Run(team, Scoring{Dim: d, Scale: 1, Rows: x, RowsGrad: dy, Candidates: table.Value, CandidatesGrad: table.Grad}, (&Softmax{Targets: ids, Weight: 0.1}).Row)
		dz := make([]float32, rows*d)
		l.Backward(team, dz, z, dy, rows)
		clear(dy)
		norm.Backward(team, dy, y, dz, rows)
		a.Backward(team, dz, x, dy, offsets)
		GatherBackward(team, table, dz, ids)
		params := append(append(append(a.Params(), l.Params()...), norm.Params()...), table)
		NewAdam(0.01).Step(team, params)
		got := []float32{float32(loss)}
		for _, p := range params {
			got = append(got, p.Value...)
		}
		if want == nil {
			want = got
		} else if !slices.Equal(want, got) {
			t.Fatalf("%d workers give other numbers than one", workers)
		}
	}
}

func TestDropoutDropsItsShare(t *testing.T) {
	x := make([]float32, 100_000)
	for i := range x {
		x[i] = 1
	}
	Dropout{Rate: 0.2}.Apply(NewTeam(2), x, 9)
	zeros, sum := 0, 0.0
	for _, v := range x {
		if v == 0 {
			zeros++
		}
		sum += float64(v)
	}
	if math.Abs(float64(zeros)/1e5-0.2) > 0.005 || math.Abs(sum/1e5-1) > 0.01 {
		t.Errorf("%d of 100000 dropped, mean %v", zeros, sum/1e5)
	}
}

func ExampleBags() {
	var b Bags
	b.Reset()
	b.Add(2, 0.5)
	b.Add(0, 1)
	b.Close()
	b.Close()
	out := make([]float32, 2)
	b.Pool(NewTeam(1), out, []float32{10, 20, 30}, 1)
	fmt.Println(out)
	// Output: [25 0]
}

func TestGELUAgainstItsDefinition(t *testing.T) {
	x := []float32{-6, -1, -0.1, 0, 0.3, 2, 30}
	y := make([]float32, len(x))
	GELU.Forward(NewTeam(1), y, x)
	for i, v := range x {
		u := float64(v)
		want := 0.5 * u * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(u+0.044715*u*u*u)))
		if math.Abs(float64(y[i])-want) > 1e-6*(1+math.Abs(want)) {
			t.Errorf("gelu(%v) is %v, want %v", v, y[i], want)
		}
	}
	if Activation("swish").Validate() == nil || ReLU.Validate() != nil {
		t.Error("validation")
	}
}

func BenchmarkAttention(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 7))
	const d, seqs, n = 128, 32, 150
	a, team := NewAttention("a", d, 2, rng), NewTeam(0)
	offsets := []int{0}
	for range seqs {
		offsets = append(offsets, offsets[len(offsets)-1]+n)
	}
	x, y := randoms(rng, seqs*n*d), make([]float32, seqs*n*d)
	b.Run("forward", func(b *testing.B) {
		for b.Loop() {
			a.Forward(team, y, x, offsets)
		}
	})
	b.Run("backward", func(b *testing.B) {
		a.Forward(team, y, x, offsets)
		for b.Loop() {
			a.Backward(team, y, x, x, offsets)
		}
	})
}
