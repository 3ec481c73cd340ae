package nn

import (
	"math"
	"math/rand/v2"

	"marquee/internal/vec"
)

// Attention is causal self-attention of several heads (Vaswani et al. 2017): each row looks at the rows of its sequence up to itself.
// Sequences lie one after the other, so there is nothing to mask but the future; a model that is exported takes padded ones with a mask
// and gives the same numbers.
type Attention struct {
	Dim, Heads int
	QKV, Out   *Linear // Dim x 3 Dim: queries, keys, values; Dim x Dim

	qkv, mixed, dqkv, dmixed []float32
	probs                    []float32
	starts                   []int       // of each sequence's probabilities, all heads
	scratch                  [][]float32 // a worker's
}

// NewAttention returns a layer; heads divide dim.
func NewAttention(name string, dim, heads int, rng *rand.Rand) *Attention {
	return &Attention{Dim: dim, Heads: heads, QKV: NewLinear(name+".qkv", dim, 3*dim, rng), Out: NewLinear(name+".out", dim, dim, rng)}
}

// Params are the layer's.
func (a *Attention) Params() []*Param { return append(a.QKV.Params(), a.Out.Params()...) }

// queryBlock rows are multiplied at a time, with the keys up to the last of them: little more than the half that causality leaves.
const queryBlock = 64

// Forward sets y. Sequence s holds rows offsets[s] to offsets[s+1] (exclusive).
func (a *Attention) Forward(t *Team, y, x []float32, offsets []int) {
	rows, d := offsets[len(offsets)-1], a.Dim
	a.qkv, a.mixed = grow(a.qkv, rows*3*d), grow(a.mixed, rows*d)
	a.QKV.Forward(t, a.qkv, x, rows)
	a.starts = grow(a.starts, len(offsets))
	a.starts[0] = 0
	for s := range len(offsets) - 1 {
		n := offsets[s+1] - offsets[s]
		a.starts[s+1] = a.starts[s] + a.Heads*n*n
	}
	a.probs = grow(a.probs, a.starts[len(offsets)-1])
	t.Each((len(offsets)-1)*a.Heads, func(worker, item int) {
		a.head(&t.gemms[worker], offsets, item/a.Heads, item%a.Heads)
	})
	a.Out.Forward(t, y, a.mixed, rows)
}

// part is the queries (0), keys (1) or values (2) of a head, from a row of buf on.
func (a *Attention) part(buf []float32, row, which, head int) []float32 {
	return buf[row*3*a.Dim+which*a.Dim+head*a.Dim/a.Heads:]
}

func (a *Attention) head(g *vec.Gemm, offsets []int, s, head int) {
	lo, n, size := offsets[s], offsets[s+1]-offsets[s], a.Dim/a.Heads
	scale := float32(1 / math.Sqrt(float64(size)))
	probs := a.probs[a.starts[s]+head*n*n:][:n*n]
	for i := 0; i < n; i += queryBlock {
		end := min(i+queryBlock, n)
		keys := transposed(a.part(a.qkv, lo, 1, head), 3*a.Dim)
		g.Mul(end-i, end, size, scale, dense(a.part(a.qkv, lo+i, 0, head), 3*a.Dim), keys, 0, probs[i*n:], n)
		for r := i; r < end; r++ {
			row := probs[r*n : r*n+end]
			seen := row[:r+1]
			vec.Scale(1/vec.ExpShift(seen, seen, vec.Largest(seen)), seen)
			clear(row[r+1:])
		}
		g.Mul(end-i, size, end, 1, dense(probs[i*n:], n), dense(a.part(a.qkv, lo, 2, head), 3*a.Dim), 0, a.mixed[(lo+i)*a.Dim+head*size:], a.Dim)
	}
}

// Backward adds to the parameters' gradients and sets dx. x and offsets are what Forward was given.
func (a *Attention) Backward(t *Team, dx, x, dy []float32, offsets []int) {
	rows, d := offsets[len(offsets)-1], a.Dim
	a.dqkv, a.dmixed = grow(a.dqkv, rows*3*d), grow(a.dmixed, rows*d)
	a.Out.Backward(t, a.dmixed, a.mixed, dy, rows)
	if a.scratch == nil {
		a.scratch = make([][]float32, t.Workers())
	}
	t.Each((len(offsets)-1)*a.Heads, func(worker, item int) {
		a.headBackward(t, worker, offsets, item/a.Heads, item%a.Heads)
	})
	a.QKV.Backward(t, dx, x, a.dqkv, rows)
}

func (a *Attention) headBackward(t *Team, worker int, offsets []int, s, head int) {
	g := &t.gemms[worker]
	lo, n, size, wide := offsets[s], offsets[s+1]-offsets[s], a.Dim/a.Heads, 3*a.Dim
	scale := float32(1 / math.Sqrt(float64(size)))
	probs := a.probs[a.starts[s]+head*n*n:][:n*n]
	a.scratch[worker] = grow(a.scratch[worker], queryBlock*n)
	ds := a.scratch[worker]
	dKeys, dValues := a.part(a.dqkv, lo, 1, head), a.part(a.dqkv, lo, 2, head)
	keys, values := a.part(a.qkv, lo, 1, head), a.part(a.qkv, lo, 2, head)
	// From the last block on, so that the first product writes every row of keys and values and the others add.
	last := (n - 1) / queryBlock * queryBlock
	for i := last; i >= 0; i -= queryBlock {
		end, beta := min(i+queryBlock, n), float32(1)
		if i == last {
			beta = 0
		}
		grad := a.dmixed[(lo+i)*a.Dim+head*size:]
		g.Mul(end, size, end-i, 1, transposed(probs[i*n:], n), dense(grad, a.Dim), beta, dValues, wide)
		g.Mul(end-i, end, size, 1, dense(grad, a.Dim), transposed(values, wide), 0, ds, n)
		for r := i; r < end; r++ {
			p, d := probs[r*n:r*n+r+1], ds[(r-i)*n:(r-i)*n+end]
			mean := vec.Dot(p, d[:r+1])
			for j, v := range p {
				d[j] = v * (d[j] - mean)
			}
			clear(d[r+1:])
		}
		g.Mul(end-i, size, end, scale, dense(ds, n), dense(keys, wide), 0, a.part(a.dqkv, lo+i, 0, head), wide)
		g.Mul(end, size, end-i, scale, transposed(ds, n), dense(a.part(a.qkv, lo+i, 0, head), wide), beta, dKeys, wide)
	}
}
