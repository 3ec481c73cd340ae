package sasrec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"marquee/training/nn"
	"marquee/training/nn/nntest"
)

// plain is the network written down in float64 as its definition says, from the parameters by name. It is what an exported model
// must compute.
type plain struct {
	p   map[string]*nn.Param
	cfg Config
}

func newPlain(params []*nn.Param, cfg Config) plain {
	m := map[string]*nn.Param{}
	for _, p := range params {
		m[p.Name] = p
	}
	return plain{m, cfg}
}

func (m plain) linear(name string, x [][]float64) [][]float64 {
	w, b := m.p[name+".weight"], m.p[name+".bias"]
	out := make([][]float64, len(x))
	for r := range x {
		out[r] = make([]float64, w.Shape[1])
		for j := range out[r] {
			out[r][j] = float64(b.Value[j])
			for i, v := range x[r] {
				out[r][j] += v * float64(w.Value[i*w.Shape[1]+j])
			}
		}
	}
	return out
}

func (m plain) norm(name string, x [][]float64) [][]float64 {
	out := make([][]float64, len(x))
	for r, row := range x {
		var mean, square float64
		for _, v := range row {
			mean += v / float64(len(row))
		}
		for _, v := range row {
			square += (v - mean) * (v - mean) / float64(len(row))
		}
		out[r] = make([]float64, len(row))
		for j, v := range row {
			out[r][j] = (v-mean)/math.Sqrt(square+1e-8)*float64(m.p[name+".gain"].Value[j]) + float64(m.p[name+".bias"].Value[j])
		}
	}
	return out
}

func (m plain) attention(name string, x [][]float64) [][]float64 {
	d, size := m.cfg.Dim, m.cfg.Dim/m.cfg.Heads
	qkv := m.linear(name+".qkv", x)
	mixed := make([][]float64, len(x))
	for r := range x {
		mixed[r] = make([]float64, d)
		for h := range m.cfg.Heads {
			weights, sum := make([]float64, r+1), 0.0
			for j := range weights {
				var score float64
				for i := range size {
					score += qkv[r][h*size+i] * qkv[j][d+h*size+i]
				}
				weights[j] = math.Exp(score / math.Sqrt(float64(size)))
				sum += weights[j]
			}
			for j, w := range weights {
				for i := range size {
					mixed[r][h*size+i] += w / sum * qkv[j][2*d+h*size+i]
				}
			}
		}
	}
	return m.linear(name+".out", mixed)
}

func sum(a, b [][]float64) [][]float64 {
	for r := range a {
		for j := range a[r] {
			a[r][j] += b[r][j]
		}
	}
	return a
}

// outputs are those of one history.
func (m plain) outputs(ids []uint32) [][]float64 {
	d := m.cfg.Dim
	x := make([][]float64, len(ids))
	for r, id := range ids {
		x[r] = make([]float64, d)
		for j := range d {
			x[r][j] = float64(m.p["titles"].Row(int(id))[j])*math.Sqrt(float64(d)) + float64(m.p["positions"].Row(m.cfg.MaxLength - len(ids) + r)[j])
		}
	}
	for b := range m.cfg.Blocks {
		name := fmt.Sprintf("block%d", b)
		x = sum(x, m.attention(name+".attention", m.norm(name+".norm1", x)))
		h := m.linear(name+".wide", m.norm(name+".norm2", x))
		for r := range h {
			for j, v := range h[r] {
				if m.cfg.Activation == nn.ReLU {
					h[r][j] = max(v, 0)
				} else {
					h[r][j] = 0.5 * v * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
				}
			}
		}
		x = sum(x, m.linear(name+".close", h))
	}
	return m.norm("last", x)
}

// softmaxLoss is the mean cross-entropy of a batch.
func (m plain) softmaxLoss(ids, targets []uint32, offsets []int) float64 {
	var loss float64
	for s := range len(offsets) - 1 {
		lo, hi := offsets[s], offsets[s+1]
		for r, out := range m.outputs(ids[lo:hi]) {
			var total, own float64
			for t := range m.p["titles"].Shape[0] {
				score := product(out, m.p["titles"].Row(t))
				total += math.Exp(score)
				if uint32(t) == targets[lo+r] {
					own = score
				}
			}
			loss += math.Log(total) - own
		}
	}
	return loss / float64(len(ids))
}

func product(a []float64, b []float32) (sum float64) {
	for i, v := range a {
		sum += v * float64(b[i])
	}
	return sum
}

func smallConfig() Config {
	c := DefaultConfig()
	c.Dim, c.Heads, c.Hidden, c.Blocks, c.MaxLength, c.Dropout, c.Batch, c.Epochs = 8, 2, 12, 2, 6, 0, 4, 3
	c.Rate, c.ValidationUsers, c.ValidateEvery, c.Negatives = 0.01, 0, 1, 5
	return c
}

func randomHistories(rng *rand.Rand, users, titles, longest int) [][]uint32 {
	out := make([][]uint32, users)
	for u := range out {
		for range rng.IntN(longest + 1) {
			out[u] = append(out[u], rng.Uint32N(uint32(titles)))
		}
	}
	return out
}

// smallTrainer has a batch assembled and weights large enough that every part matters.
func smallTrainer(t *testing.T, cfg Config) *trainer {
	t.Helper()
	rng := rand.New(rand.NewPCG(2, 2))
	tr, err := newTrainer(randomHistories(rng, 7, 9, 12), 9, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range tr.Params() {
		p.Normal(rng, 0.4)
	}
	tr.assemble(tr.windows(rng)[:5])
	return tr
}

// TestWholeModelGradient holds every parameter's gradient against differences of the network in float64.
func TestWholeModelGradient(t *testing.T) {
	for _, act := range []nn.Activation{nn.GELU, nn.ReLU} {
		cfg := smallConfig()
		cfg.Activation = act
		tr := smallTrainer(t, cfg)
		got := tr.gradients(1)
		p := newPlain(tr.Params(), cfg)
		loss := func() float64 { return p.softmaxLoss(tr.ids, tr.targets, tr.offsets) }
		if want := loss(); math.Abs(got-want) > 1e-5*want {
			t.Fatalf("loss %v, want %v", got, want)
		}
		for _, p := range tr.Params() {
			if act == nn.ReLU && p.Name != "titles" { // differences across the kink are no derivatives; one table shows the way through
				continue
			}
			if len(p.Shape) == 1 && p.Shape[0] == 3*cfg.Dim { // a bias of the keys moves all scores of a query alike
				clear(p.Grad[cfg.Dim : 2*cfg.Dim])
			}
			nntest.CheckExact(t, p.Name, p.Value, p.Grad, loss, 40)
		}
	}
}

// TestSampledGradient does the same for the sampled loss, by differences of its own.
func TestSampledGradient(t *testing.T) {
	cfg := smallConfig()
	cfg.Loss, cfg.Dropout = LossGBCE, 0.2
	tr := smallTrainer(t, cfg)
	tr.gradients(7)
	params := tr.Params()
	grads := make([][]float32, len(params))
	for i, p := range params {
		grads[i] = slices.Clone(p.Grad)
	}
	for i, p := range params {
		if len(p.Shape) == 1 && p.Shape[0] == 3*cfg.Dim {
			continue
		}
		nntest.CheckGradient(t, p.Name, p.Value[:min(20, len(p.Value))], grads[i][:min(20, len(p.Value))], func() float64 { return tr.gradients(7) })
	}
}
