package twotower

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"marquee/internal/sparse"
	"marquee/training/nn"
	"marquee/training/nn/nntest"
)

// plain is the towers written down in float64 as their definition says, from the parameters by name. It is what an exported model
// must compute.
type plain struct {
	p   map[string]*nn.Param
	cfg Config
	d   *Data

	near *sparse.CSR
}

func newPlain(params []*nn.Param, cfg Config, d *Data) plain {
	m := map[string]*nn.Param{}
	for _, p := range params {
		m[p.Name] = p
	}
	w := plain{p: m, cfg: cfg, d: d}
	if cfg.Neighbours > 0 {
		w.near = coWatched(nn.NewTeam(1), d, cfg.Neighbours)
	}
	return w
}

func (m plain) axpy(y []float64, w float64, table string, row int) {
	for j, v := range m.p[table].Row(row) {
		y[j] += w * float64(v)
	}
}

// raw is a title's vector as histories read it.
func (m plain) raw(title uint32) []float64 {
	x := make([]float64, m.cfg.Dim)
	m.axpy(x, 1, "titles", int(title))
	if m.near != nil {
		titles, weights := m.near.Row(int(title))
		for i, t := range titles {
			m.axpy(x, float64(weights[i]), "neighbours", int(t))
		}
	}
	if c := m.d.Content; c != nil {
		terms, weights := c.Row(int(title))
		for i, t := range terms {
			m.axpy(x, float64(weights[i]), "terms", int(t))
		}
	}
	return x
}

func unit(x []float64) []float64 {
	n := math.Sqrt(product(x, x))
	out := slices.Clone(x)
	for j := range out {
		out[j] /= n
	}
	return out
}

func product(a, b []float64) (sum float64) {
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// user is the vector of an example: history titles with strengths and recency buckets.
func (m plain) user(user, contextID uint32, titles []uint32, strengths []float32, buckets []uint32) []float64 {
	d := m.cfg.Dim
	var sum float64
	weights := make([]float64, len(titles))
	for j, t := range titles {
		if m.cfg.Pooling == PoolMean {
			weights[j] = float64(strengths[j])
		} else {
			x, logit := m.raw(t), float64(m.p["recency"].Value[buckets[j]])+math.Log(float64(strengths[j]))
			for i, v := range x {
				logit += v * float64(m.p["query"].Value[i])
			}
			weights[j] = math.Exp(logit)
		}
		sum += weights[j]
	}
	power := m.cfg.HistoryPower
	if m.cfg.Pooling == PoolAttention {
		power = 1
	}
	pooled := make([]float64, d)
	for j, t := range titles {
		for i, v := range m.raw(t) {
			pooled[i] += weights[j] / math.Pow(sum, power) * v
		}
	}
	y, own := make([]float64, d), 0.0
	if m.cfg.UserIDs {
		own = m.cfg.Gate
		m.axpy(y, own, "users", int(user))
	}
	for i, v := range pooled {
		m.axpy(y, (1-own)*v, "project.weight", i)
	}
	if m.d.Contexts > 0 && contextID != nobody {
		m.axpy(y, 1, "contexts", int(contextID))
	}
	if a := m.d.Attributes; a != nil {
		ids, w := a.Row(int(user))
		for i, id := range ids {
			m.axpy(y, float64(w[i]), "attributes", int(id))
		}
	}
	if m.cfg.Hidden > 0 {
		out := slices.Clone(y)
		for j := range d {
			out[j] += float64(m.p["close.bias"].Value[j])
		}
		for k := range m.cfg.Hidden {
			h := float64(m.p["wide.bias"].Value[k])
			for i, v := range y {
				h += v * float64(m.p["wide.weight"].Row(i)[k])
			}
			m.axpy(out, max(h, 0), "close.weight", k)
		}
		y = out
	}
	return unit(y)
}

// loss is the mean of a batch's.
func (m plain) loss(b *batch) float64 {
	var total float64
	for i := range b.users {
		var titles []uint32
		lo, hi := b.history.Offsets[i], b.history.Offsets[i+1]
		for _, place := range b.history.IDs[lo:hi] {
			titles = append(titles, b.titles[place])
		}
		u := m.user(b.users[i], b.contexts[i], titles, b.strengths[lo:hi], b.buckets[lo:hi])
		if m.cfg.SetShare > 0 {
			total += m.setLoss(u, b, i, titles)
			continue
		}
		own := product(u, unit(m.raw(b.titles[b.targets[i]])))
		var sum float64
		for j, t := range b.drawn {
			s := product(u, unit(m.raw(t)))
			if m.cfg.Loss == LossCosine {
				sum += max(0, s-m.cfg.Margin)
			} else if j == i || t != b.drawn[i] {
				sum += math.Exp(s/m.cfg.Temperature - float64(b.logQ[j]))
			}
		}
		if m.cfg.Loss == LossCosine {
			total += 1 - own + m.cfg.NegativeWeight*sum/float64(len(b.drawn))
		} else {
			total += math.Log(sum) - (own/m.cfg.Temperature - float64(b.logQ[i]))
		}
	}
	return total / float64(len(b.targets)) // all of an example's where it is a set
}

// setLoss is that of the example i, of the vector u, which reads titles.
func (m plain) setLoss(u []float64, b *batch, i int, titles []uint32) (total float64) {
	var own []uint32
	for _, p := range b.targets[b.bounds[i]:b.bounds[i+1]] {
		own = append(own, b.titles[p])
	}
	score := func(j int) float64 {
		return product(u, unit(m.raw(b.drawn[j])))/m.cfg.Temperature - float64(b.logQ[j])
	}
	var others float64
	for j, t := range b.drawn {
		if !slices.Contains(own, t) && !slices.Contains(titles, t) {
			others += math.Exp(score(j))
		}
	}
	for j, t := range b.drawn {
		if slices.Contains(own, t) {
			total += math.Log(others+math.Exp(score(j))) - score(j)
		}
	}
	return total
}

func smallConfig() Config {
	c := DefaultConfig()
	c.Dim, c.MaxHistory, c.RecencyBuckets, c.Negatives, c.Batch, c.Epochs = 6, 5, 4, 7, 8, 3
	c.Margin, c.NegativeWeight, c.Temperature, c.Dropout, c.Start, c.Rate = 0.1, 3, 0.5, 0, StartNormal, 0.01
	c.ValidationUsers, c.ValidateEvery = 0, 1
	return c
}

// smallData has everything a viewer and a title may have.
func smallData(rng *rand.Rand, users, titles int) *Data {
	d := &Data{Titles: titles, Contexts: 3}
	for range users {
		var h History
		for i := range 2 + rng.IntN(8) {
			h.Titles = append(h.Titles, rng.Uint32N(uint32(titles)))
			h.Strength = append(h.Strength, 0.2+rng.Float32())
			h.Age = append(h.Age, float32(20-2*i))
			h.Context = append(h.Context, rng.Uint32N(3))
		}
		d.Histories = append(d.Histories, h)
	}
	d.Content, d.Attributes = randomMatrix(rng, titles, 9), randomMatrix(rng, users, 4)
	return d
}

func randomMatrix(rng *rand.Rand, rows, cols int) *sparse.CSR {
	m := &sparse.CSR{Rows: rows, Cols: cols, Indptr: []int64{0}}
	for range rows {
		for c := range cols {
			if rng.IntN(3) == 0 {
				m.Indices, m.Values = append(m.Indices, uint32(c)), append(m.Values, 0.2+rng.Float32())
			}
		}
		m.Indptr = append(m.Indptr, int64(len(m.Indices)))
	}
	return m
}

// TestWholeModelGradient holds every parameter's gradient against differences of the towers in float64, in every form they take.
func TestWholeModelGradient(t *testing.T) {
	for name, set := range map[string]func(*Config, *Data){
		"cosine, mean":                func(*Config, *Data) {},
		"softmax, attention, ordered": func(c *Config, _ *Data) { c.Loss, c.Pooling, c.Ordered = LossSoftmax, PoolAttention, true },
		"cosine, user ids":            func(c *Config, _ *Data) { c.UserIDs, c.Gate, c.HistoryPower = true, 0.3, 1 },
		"cosine, neighbours":          func(c *Config, _ *Data) { c.Neighbours = 3 },
		"softmax of sets, neighbours": func(c *Config, d *Data) {
			c.Loss, c.SetShare, c.Batch, c.Neighbours, d.Contexts = LossSoftmax, 0.6, 6, 2, 0
		},
		"softmax of sets": func(c *Config, d *Data) { c.Loss, c.SetShare, c.Batch, d.Contexts = LossSoftmax, 0.6, 6, 0 },
		"softmax of sets, all titles": func(c *Config, d *Data) {
			c.Loss, c.SetShare, c.Batch, c.Negatives, d.Contexts = LossSoftmax, 0.6, 6, 12, 0
		},
		"softmax, hidden, few features": func(c *Config, d *Data) { c.Loss, c.Hidden, d.Content, d.Attributes = LossSoftmax, 5, nil, nil },
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(4, 1))
			cfg, data := smallConfig(), smallData(rng, 6, 12)
			set(&cfg, data)
			tr, err := newTrainer(t.Context(), data, cfg)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range tr.Params() {
				p.Normal(rng, 0.7)
			}
			var b batch
			tr.make.assemble(&b, tr.examples[:cfg.Batch], 5)
			got := tr.gradients(&b)
			m := newPlain(tr.Params(), cfg, data)
			loss := func() float64 { return m.loss(&b) }
			if want := loss(); math.Abs(got-want) > 1e-5*math.Abs(want) {
				t.Fatalf("loss %v, want %v", got, want)
			}
			for _, p := range tr.Params() {
				nntest.CheckExact(t, p.Name, p.Value, p.Grad, loss, 60)
			}
		})
	}
}

// TestVectorsAreThePlainTowers is that users and titles, those training never met among them, come out as defined.
func TestVectorsAreThePlainTowers(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	for _, pooling := range []string{PoolMean, PoolAttention} {
		cfg, data := smallConfig(), smallData(rng, 6, 12)
		cfg.Pooling, cfg.UserIDs, cfg.Ordered, cfg.Hidden, cfg.Neighbours = pooling, true, true, 4, 2
		tr, err := newTrainer(t.Context(), data, cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range tr.Params() {
			p.Normal(rng, 0.7)
		}
		m, want := tr.model(), newPlain(tr.Params(), cfg, data)
		titles := m.TitleVectors()
		for i := range data.Titles {
			for j, w := range unit(want.raw(uint32(i))) {
				if math.Abs(float64(titles[i*cfg.Dim+j])-w) > 1e-5 {
					t.Fatalf("title %d: %v, want %v", i, titles[i*cfg.Dim+j], w)
				}
			}
		}
		var users []User
		for i := range data.Histories {
			users = append(users, User{Number: i, History: data.Histories[i], Context: i % 3})
		}
		vectors, err := m.UserVectors(append(users, User{Number: -1, Context: -1}))
		if err != nil {
			t.Fatal(err)
		}
		for i, u := range users {
			h := u.History
			from := max(0, len(h.Titles)-cfg.MaxHistory)
			var buckets []uint32
			for k := from; k < len(h.Titles); k++ {
				buckets = append(buckets, h.bucket(k, 0, cfg.RecencyBuckets))
			}
			for j, w := range want.user(uint32(i), uint32(u.Context), h.Titles[from:], h.Strength[from:], buckets) {
				if got := float64(vectors[i*cfg.Dim+j]); math.Abs(got-w) > 1e-5 {
					t.Fatalf("%s: user %d: %v, want %v", pooling, i, got, w)
				}
			}
		}
		for _, v := range vectors[len(users)*cfg.Dim:] {
			if v != v {
				t.Fatal("a viewer of whom nothing is known has no vector")
			}
		}
	}
}
