package sasrec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"marquee/internal/vec"
	"marquee/training/nn"
)

// network is the history's tower: x = titles * sqrt(dim) + positions; in each block x += attention(norm(x)), x += feed-forward(norm(x)); and a
// last norm. Positions are counted from the end: the last title's is MaxLength-1.
type network struct {
	dim, length int
	scale       float32
	titles      *nn.Param // titles x dim
	positions   *nn.Param // length x dim
	blocks      []*block
	last        *nn.LayerNorm
	drop        nn.Dropout

	input, out, grad, step []float32
}

type block struct {
	attend       *nn.Attention
	first        *nn.LayerNorm
	second       *nn.LayerNorm
	widen, close *nn.Linear
	act          nn.Activation

	x, normed, mid, normed2, wide, active, out []float32
	dWide, dNormed                             []float32
}

func newNetwork(titles int, c Config) *network {
	rng := rand.New(rand.NewPCG(c.Seed, 0x5a5))
	n := &network{
		dim: c.Dim, length: c.MaxLength, scale: float32(math.Sqrt(float64(c.Dim))), drop: nn.Dropout{Rate: c.Dropout},
		titles: nn.NewParam("titles", titles, c.Dim), positions: nn.NewParam("positions", c.MaxLength, c.Dim), last: nn.NewLayerNorm("last", c.Dim),
	}
	n.titles.Normal(rng, 0.02)
	n.positions.Normal(rng, 0.02)
	for i := range c.Blocks {
		name := fmt.Sprintf("block%d", i)
		n.blocks = append(n.blocks, &block{
			attend: nn.NewAttention(name+".attention", c.Dim, c.Heads, rng), first: nn.NewLayerNorm(name+".norm1", c.Dim), second: nn.NewLayerNorm(name+".norm2", c.Dim),
			widen: nn.NewLinear(name+".wide", c.Dim, c.Hidden, rng), close: nn.NewLinear(name+".close", c.Hidden, c.Dim, rng), act: c.Activation,
		})
	}
	return n
}

func (n *network) params() []*nn.Param {
	out := []*nn.Param{n.titles, n.positions}
	for _, b := range n.blocks {
		out = slices.Concat(out, b.first.Params(), b.attend.Params(), b.second.Params(), b.widen.Params(), b.close.Params())
	}
	return append(out, n.last.Params()...)
}

// room makes a buffer hold n floats.
func room(buf *[]float32, n int) []float32 {
	if cap(*buf) < n {
		*buf = make([]float32, n, n+n/8)
	}
	*buf = (*buf)[:n]
	return *buf
}

// forward returns the outputs of histories one after the other, rows x dim, valid until the next call. Without a key nothing is dropped.
func (n *network) forward(t *nn.Team, ids []uint32, offsets []int, key *uint64) []float32 {
	rows, d := len(ids), n.dim
	x := room(&n.input, rows*d)
	nn.Gather(t, x, n.titles, ids)
	n.eachPosition(t, offsets, func(row, position int) {
		to := x[row*d : (row+1)*d]
		vec.Scale(n.scale, to)
		vec.Axpy(1, n.positions.Row(position), to)
	})
	n.dropped(t, x, key, 0)
	for i, b := range n.blocks {
		x = b.forward(n, t, x, offsets, key, uint64(2*i+1))
	}
	out := room(&n.out, rows*d)
	n.last.Forward(t, out, x, rows)
	return out
}

// eachPosition calls f for every row with its position.
func (n *network) eachPosition(t *nn.Team, offsets []int, f func(row, position int)) {
	t.Rows(len(offsets)-1, 4, func(_, lo, hi int) {
		for s := lo; s < hi; s++ {
			for r := offsets[s]; r < offsets[s+1]; r++ {
				f(r, n.length-(offsets[s+1]-r))
			}
		}
	})
}

func (n *network) dropped(t *nn.Team, x []float32, key *uint64, place uint64) {
	if key != nil {
		n.drop.Apply(t, x, nn.Hash(*key, place))
	}
}

func (b *block) forward(n *network, t *nn.Team, x []float32, offsets []int, key *uint64, place uint64) []float32 {
	d := n.dim
	rows := len(x) / d
	b.x = x
	b.first.Forward(t, room(&b.normed, len(x)), x, rows)
	b.attend.Forward(t, room(&b.mid, len(x)), b.normed, offsets)
	n.dropped(t, b.mid, key, place)
	add(t, b.mid, x)
	b.second.Forward(t, room(&b.normed2, len(x)), b.mid, rows)
	b.widen.Forward(t, room(&b.wide, rows*b.widen.Out), b.normed2, rows)
	b.act.Forward(t, room(&b.active, len(b.wide)), b.wide)
	b.close.Forward(t, room(&b.out, len(x)), b.active, rows)
	n.dropped(t, b.out, key, place+1)
	add(t, b.out, b.mid)
	return b.out
}

// add adds x to y.
func add(t *nn.Team, y, x []float32) {
	t.Rows(len(x), 1<<14, func(_, lo, hi int) { vec.Axpy(1, x[lo:hi], y[lo:hi]) })
}

// backward takes the outputs' gradient to the parameters. ids, offsets and key are what forward was given.
func (n *network) backward(t *nn.Team, grad []float32, ids []uint32, offsets []int, key uint64) {
	rows, d := len(ids), n.dim
	dx := room(&n.grad, rows*d)
	clear(dx)
	n.last.Backward(t, dx, n.blocks[len(n.blocks)-1].out, grad, rows)
	for i, b := range slices.Backward(n.blocks) {
		b.backward(n, t, dx, offsets, key, uint64(2*i+1))
	}
	n.dropped(t, dx, &key, 0)
	n.positionsBackward(dx, offsets)
	t.Rows(len(dx), 1<<14, func(_, lo, hi int) { vec.Scale(n.scale, dx[lo:hi]) })
	nn.GatherBackward(t, n.titles, dx, ids)
}

func (n *network) positionsBackward(dx []float32, offsets []int) {
	for s := range len(offsets) - 1 {
		for r := offsets[s]; r < offsets[s+1]; r++ {
			vec.Axpy(1, dx[r*n.dim:(r+1)*n.dim], n.positions.GradRow(n.length-(offsets[s+1]-r)))
		}
	}
}

// backward replaces the gradient of the block's output by that of its input.
func (b *block) backward(n *network, t *nn.Team, dx []float32, offsets []int, key, place uint64) {
	rows := len(dx) / n.dim
	d := room(&n.step, len(dx))
	copy(d, dx)
	n.dropped(t, d, &key, place+1)
	b.close.Backward(t, room(&b.dWide, rows*b.widen.Out), b.active, d, rows)
	b.act.Backward(t, b.dWide, b.wide, b.dWide)
	b.widen.Backward(t, room(&b.dNormed, len(dx)), b.normed2, b.dWide, rows)
	b.second.Backward(t, dx, b.mid, b.dNormed, rows)
	copy(d, dx)
	n.dropped(t, d, &key, place)
	b.attend.Backward(t, b.dNormed, b.normed, d, offsets)
	b.first.Backward(t, dx, b.x, b.dNormed, rows)
}
