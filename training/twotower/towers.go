package twotower

import (
	"math"
	"math/rand/v2"
	"slices"

	"marquee/internal/vec"
	"marquee/training/nn"
)

// towers are the parameters and one batch's workspace.
//
//	title  x = id + weighted mean of the neighbours' + content terms, then x / |x|
//	user   y = Gate*id + (1-Gate)*pooled(x of the history)*project + attributes + context,  y += close(relu(wide(y))),  then y / |y|
type towers struct {
	cfg Config

	titles, users, terms, attributes, contexts, neighbours *nn.Param // all but the titles may be nil
	project                                                *nn.Linear
	query, recency                                         *nn.Param // of attention
	wide, close                                            *nn.Linear
	drop                                                   nn.Dropout
	lengths                                                []float32 // of the titles' vectors when ranking; nil of 1

	x, unit, norms, dx, dunit            []float32 // of the batch's different titles
	pooled, sum, user, unorms, dsum, dpu []float32 // of its examples
	hidden, active, dhidden, logits      []float32
	dweights, partial                    []float32
}

func newTowers(d *Data, c Config) *towers {
	rng := rand.New(rand.NewPCG(c.Seed, 0x270))
	std := 1 / math.Sqrt(float64(c.Dim))
	table := func(name string, rows int) *nn.Param {
		p := nn.NewTable(name, rows, c.Dim)
		p.Normal(rng, std)
		return p
	}
	t := &towers{cfg: c, titles: table("titles", d.Titles), drop: nn.Dropout{Rate: c.Dropout}}
	if c.UserIDs {
		t.users = table("users", len(d.Histories))
	}
	if d.Content != nil {
		t.terms = table("terms", d.Content.Cols)
	}
	if c.Neighbours > 0 {
		t.neighbours = table("neighbours", d.Titles)
	}
	if d.Attributes != nil {
		t.attributes = table("attributes", d.Attributes.Cols)
	}
	if d.Contexts > 0 {
		t.contexts = table("contexts", d.Contexts)
	}
	if c.PopularityPower > 0 {
		t.lengths = lengths(d, c.PopularityPower)
	}
	t.project = nn.NewLinear("project", c.Dim, c.Dim, rng)
	t.project.Bias = nil
	clear(t.project.Weight.Value)
	for i := range c.Dim {
		t.project.Weight.Value[i*c.Dim+i] = 1
	}
	if c.Pooling == PoolAttention {
		t.query, t.recency = nn.NewParam("query", c.Dim), nn.NewParam("recency", c.RecencyBuckets)
	}
	if c.Hidden > 0 {
		t.wide, t.close = nn.NewLinear("wide", c.Dim, c.Hidden, rng), nn.NewLinear("close", c.Hidden, c.Dim, rng)
		vec.Scale(0.1, t.close.Weight.Value)
	}
	return t
}

// lengths are (1 + watches)^power of the titles.
func lengths(d *Data, power float64) []float32 {
	watches := make([]float64, d.Titles)
	for u := range d.Histories {
		for _, title := range d.Histories[u].Titles {
			watches[title]++
		}
	}
	out := make([]float32, d.Titles)
	for i, n := range watches {
		out[i] = float32(math.Pow(1+n, power))
	}
	return out
}

// lengthen multiplies the vectors of titles by their lengths.
func (t *towers) lengthen(titles []uint32, vectors []float32) {
	if t.lengths == nil {
		return
	}
	d := t.cfg.Dim
	for i, title := range titles {
		vec.Scale(t.lengths[title], vectors[i*d:(i+1)*d])
	}
}

func (t *towers) params() []*nn.Param {
	out := slices.DeleteFunc([]*nn.Param{t.titles, t.users, t.terms, t.neighbours, t.attributes, t.contexts, t.project.Weight, t.query, t.recency},
		func(p *nn.Param) bool { return p == nil })
	if t.wide != nil {
		out = slices.Concat(out, t.wide.Params(), t.close.Params())
	}
	return out
}

// room makes a buffer hold n floats.
func room(buf *[]float32, n int) []float32 {
	if cap(*buf) < n {
		*buf = make([]float32, n, n+n/8)
	}
	*buf = (*buf)[:n]
	return *buf
}

// titleVectors makes those of the titles met: raw for histories, of unit length for scores.
func (t *towers) titleVectors(team *nn.Team, b *batch) {
	n, d := len(b.titles), t.cfg.Dim
	x := room(&t.x, n*d)
	nn.Gather(team, x, t.titles, b.titles)
	if t.neighbours != nil {
		b.near.Pool(team, x, t.neighbours.Value, d)
	}
	if t.terms != nil {
		b.content.Pool(team, x, t.terms.Value, d)
	}
	nn.Normalize(team, room(&t.unit, n*d), x, room(&t.norms, n), n, d)
}

// titleBackward takes dx, which histories have added to, and dunit to the parameters.
func (t *towers) titleBackward(team *nn.Team, b *batch) {
	n, d := len(b.titles), t.cfg.Dim
	nn.NormalizeBackward(team, t.dunit, t.unit, t.dunit, t.norms, n, d)
	team.Rows(n, 256, func(_, lo, hi int) { vec.Axpy(1, t.dunit[lo*d:hi*d], t.dx[lo*d:hi*d]) })
	nn.GatherBackward(team, t.titles, t.dx, b.titles)
	if t.neighbours != nil {
		t.neighbours.Touch(b.near.IDs)
		b.near.PoolBackward(team, t.neighbours.Grad, t.dx, d)
	}
	if t.terms != nil {
		t.terms.Touch(b.content.IDs)
		b.content.PoolBackward(team, t.terms.Grad, t.dx, d)
	}
}

// userVectors returns the examples' vectors, of unit length. Titles of the history are those titleVectors was given, by place. Without a key
// nothing is dropped.
func (t *towers) userVectors(team *nn.Team, b *batch, key *uint64) []float32 {
	n, d := b.history.Len(), t.cfg.Dim
	t.poolWeights(team, b)
	pooled := room(&t.pooled, n*d)
	clear(pooled)
	b.history.Pool(team, pooled, t.x, d)
	sum := room(&t.sum, n*d)
	t.project.Forward(team, sum, pooled, n)
	own := float32(0)
	if t.users != nil {
		own = float32(t.cfg.Gate)
	}
	team.Rows(n, 64, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			row := sum[i*d : (i+1)*d]
			vec.Scale(1-own, row)
			if t.users != nil && b.users[i] != nobody {
				vec.Axpy(own, t.users.Row(int(b.users[i])), row)
			}
			if t.contexts != nil && b.contexts[i] != nobody {
				vec.Axpy(1, t.contexts.Row(int(b.contexts[i])), row)
			}
		}
	})
	if t.attributes != nil {
		b.attributes.Pool(team, sum, t.attributes.Value, d)
	}
	user := room(&t.user, n*d)
	copy(user, sum)
	if t.wide != nil {
		h := t.cfg.Hidden
		t.wide.Forward(team, room(&t.hidden, n*h), sum, n)
		nn.ReLU.Forward(team, room(&t.active, n*h), t.hidden)
		t.close.Forward(team, user, t.active, n)
		vec.Axpy(1, sum, user)
	}
	if key != nil {
		t.drop.Apply(team, user, *key)
	}
	nn.Normalize(team, user, user, room(&t.unorms, n), n, d)
	return user
}

// userBackward takes the gradient of userVectors' result, which it overwrites, to the parameters and adds to dx.
func (t *towers) userBackward(team *nn.Team, b *batch, grad []float32, key uint64) {
	n, d := b.history.Len(), t.cfg.Dim
	nn.NormalizeBackward(team, grad, t.user, grad, t.unorms, n, d)
	t.drop.Apply(team, grad, key)
	if t.wide != nil {
		dh := room(&t.dhidden, n*t.cfg.Hidden)
		t.close.Backward(team, dh, t.active, grad, n)
		nn.ReLU.Backward(team, dh, t.hidden, dh)
		t.wide.Backward(team, room(&t.dsum, n*d), t.sum, dh, n)
		vec.Axpy(1, t.dsum, grad)
	}
	if t.attributes != nil {
		t.attributes.Touch(b.attributes.IDs)
		b.attributes.PoolBackward(team, t.attributes.Grad, grad, d)
	}
	if t.contexts != nil {
		t.addTo(t.contexts, b.contexts, grad, 1)
	}
	own := float32(0)
	if t.users != nil {
		own = float32(t.cfg.Gate)
		t.addTo(t.users, b.users, grad, own)
	}
	vec.Scale(1-own, grad)
	t.project.Backward(team, room(&t.dpu, n*d), t.pooled, grad, n)
	b.history.PoolBackward(team, t.dx, t.dpu, d)
	t.attentionBackward(team, b)
}

// addTo adds w times a row of grad to the gradient of each of ids.
func (t *towers) addTo(p *nn.Param, ids []uint32, grad []float32, w float32) {
	d := t.cfg.Dim
	for i, id := range ids {
		if id != nobody {
			p.Touch(ids[i : i+1])
			vec.Axpy(w, grad[i*d:(i+1)*d], p.GradRow(int(id)))
		}
	}
}
