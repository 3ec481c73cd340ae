package twotower

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"marquee/internal/sparse"
	"marquee/training/nn"
)

// nobody stands for a user without an embedding and for an unknown context.
const nobody = math.MaxUint32

// batch is what a step reads. Titles are numbered by their place among the batch's different ones.
type batch struct {
	titles  []uint32 // the different ones
	content nn.Bags  // of titles
	near    nn.Bags  // of titles: their neighbours

	users, contexts []uint32 // an example each
	attributes      nn.Bags
	history         nn.Bags // IDs are places
	strengths       []float32
	buckets         []uint32

	targets    []uint32 // places, an example each; of sets as many as bounds says
	bounds     []int    // of sets: example i's targets are targets[bounds[i]:bounds[i+1]]
	candidates []uint32 // places: the targets where the loss takes them, then the sampled
	drawn      []uint32 // the candidates' titles
	slots      []int32  // of sets: where a place is among the candidates, or -1
	logQ       []float32
	key        uint64
}

// example is a watch to be predicted.
type example struct{ user, at uint32 }

// assembler makes batches. It has a mark for every title, so each goroutine has its own.
type assembler struct {
	data  *Data
	cfg   Config
	share []float32   // of all watches, a title each
	near  *sparse.CSR // titles x neighbours; nil without
	place []uint32
	met   []uint32
	round uint32
}

func newAssembler(d *Data, cfg Config, share []float32) *assembler {
	return &assembler{data: d, cfg: cfg, share: share, place: make([]uint32, d.Titles), met: make([]uint32, d.Titles)}
}

// begin empties b.
func (a *assembler) begin(b *batch) {
	if a.round++; a.round == 0 {
		clear(a.met)
		a.round = 1
	}
	b.titles, b.users, b.contexts, b.strengths, b.buckets = b.titles[:0], b.users[:0], b.contexts[:0], b.strengths[:0], b.buckets[:0]
	b.targets, b.bounds, b.candidates, b.drawn, b.logQ = b.targets[:0], b.bounds[:0], b.candidates[:0], b.drawn[:0], b.logQ[:0]
	b.content.Reset()
	b.near.Reset()
	b.attributes.Reset()
	b.history.Reset()
}

// at is the title's place in the batch.
func (a *assembler) at(b *batch, title uint32) uint32 {
	if a.met[title] != a.round {
		a.met[title], a.place[title] = a.round, uint32(len(b.titles))
		b.titles = append(b.titles, title)
		bag(&b.content, a.data.Content, title)
		bag(&b.near, a.near, title)
	}
	return a.place[title]
}

// bag adds a row of m, where there is m, as the next bag.
func bag(to *nn.Bags, m *sparse.CSR, row uint32) {
	if m == nil {
		return
	}
	ids, weights := m.Row(int(row))
	for i, id := range ids {
		to.Add(id, weights[i])
	}
	to.Close()
}

// user adds an example's user: known by the watches keep says, as of the age now.
func (a *assembler) user(b *batch, user, contextID uint32, h *History, keep []int, now float32) {
	b.users, b.contexts = append(b.users, user), append(b.contexts, contextID)
	for _, i := range keep {
		b.history.Add(a.at(b, h.Titles[i]), 0)
		b.strengths = append(b.strengths, h.strength(i))
		b.buckets = append(b.buckets, h.bucket(i, now, a.cfg.RecencyBuckets))
	}
	b.history.Close()
	if m := a.data.Attributes; m != nil {
		if user != nobody {
			ids, weights := m.Row(int(user))
			for i, id := range ids {
				b.attributes.Add(id, weights[i])
			}
		}
		b.attributes.Close()
	}
}

// assemble makes the batch of some examples with its negatives.
func (a *assembler) assemble(b *batch, examples []example, key uint64) {
	a.begin(b)
	b.key = key
	rng := rand.New(rand.NewPCG(key, 1))
	if a.cfg.SetShare > 0 {
		a.sets(b, examples, rng)
		return
	}
	var keep []int
	for _, e := range examples {
		h := &a.data.Histories[e.user]
		at := int(e.at)
		keep = a.keep(keep[:0], h, at, rng)
		ctx, now := uint32(nobody), float32(0)
		if h.Context != nil {
			ctx = h.Context[at]
		}
		if h.Age != nil && a.cfg.Ordered {
			now = h.Age[at]
		}
		a.user(b, e.user, ctx, h, keep, now)
		b.targets = append(b.targets, a.at(b, h.Titles[at]))
	}
	a.negatives(b, len(examples), rng)
}

// negatives appends the candidates.
func (a *assembler) negatives(b *batch, examples int, rng *rand.Rand) {
	if a.cfg.Loss == LossSoftmax {
		b.candidates = append(b.candidates, b.targets...)
	}
	for range a.cfg.Negatives {
		b.candidates = append(b.candidates, a.at(b, rng.Uint32N(uint32(a.data.Titles))))
	}
	for _, c := range b.candidates {
		title := b.titles[c]
		b.drawn = append(b.drawn, title)
		expected := float64(examples)*float64(a.share[title]) + float64(a.cfg.Negatives)/float64(a.data.Titles)
		b.logQ = append(b.logQ, float32(math.Log(expected)))
	}
}

// keep appends the places of the watches that example at may read, at most MaxHistory.
func (a *assembler) keep(keep []int, h *History, at int, rng *rand.Rand) []int {
	n := a.cfg.MaxHistory
	if a.cfg.Ordered {
		for i := max(0, at-n); i < at; i++ {
			keep = append(keep, i)
		}
		return keep
	}
	for i := range h.Titles {
		if i != at {
			keep = append(keep, i)
		}
	}
	if len(keep) > n {
		for i := range n {
			j := i + rng.IntN(len(keep)-i)
			keep[i], keep[j] = keep[j], keep[i]
		}
		keep = keep[:n]
		slices.Sort(keep)
	}
	return keep
}

// prefetch assembles batches ahead of the one that trains, in order. The second channel takes batches back; cancelling ends it.
func (a *assembler) prefetch(ctx context.Context, examples []example, key uint64) (ready <-chan *batch, back chan<- *batch) {
	made, free := make(chan *batch, 3), make(chan *batch, 3)
	for range cap(free) {
		free <- new(batch)
	}
	go func() {
		defer close(made)
		step := uint64(0)
		for chunk := range slices.Chunk(examples, a.cfg.Batch) {
			select {
			case b := <-free:
				a.assemble(b, chunk, nn.Hash(key, step+2))
				made <- b // never full: it has a place for each batch there is
			case <-ctx.Done():
				return
			}
			step++
		}
	}()
	return made, free
}
