package ann

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"marquee/internal/vec"
)

// builder adds rows to a graph, from several goroutines at once.
//
// Lists of links are read without a lock, link by link: a reader may see a list half rewritten, which holds valid
// links all the same. They are written under the lock of their row.
type builder struct {
	*store
	*graph
	ef    int
	layer []uint8 // the top layer of each row
	locks []sync.Mutex
	lift  []float32 // the extra component of each row, see lifted; nil where rows are compared as queries are
}

// inserter is what one goroutine of a builder works with.
type inserter struct {
	*builder
	*scratch
	pool  pool
	cands []uint64   // candidates for a list of links, nearest first
	kept  []uint32   // those chosen
	chose [][]uint32 // the links chosen for the row being added, by layer
	sims  []float32
	top   float32 // the similarity of a row to itself where all have one length: no similarity is larger
}

// addGraph builds the graph over the rows of the index, then numbers the rows anew in the order a walk meets them.
func (ix *index) addGraph(ctx context.Context, opts Options) error {
	ix.efConstruction, ix.seed = opts.EFConstruction, opts.Seed
	groups := ix.distinctFirst()
	b := newBuilder(ix.store, len(groups), opts)
	ix.graph = b.graph
	var head []uint32
	if ix.metric == InnerProduct {
		head = ix.headRows(b.nodes)
	}
	if len(head) > 0 {
		b.lift = lifted(ix.store, b.nodes)
	}
	if ix.n == 0 {
		return nil
	}
	if err := b.insertAll(ctx, opts.Threads); err != nil {
		return err
	}
	b.connect()
	ix.reorder(groups, head)
	return nil
}

// newBuilder draws the layer of every row and lays out its lists, all empty.
func newBuilder(st *store, nodes int, opts Options) *builder {
	g := &graph{nodes: nodes, m: opts.M, base: makeHuge[uint32](nodes * 2 * opts.M), upperAt: make([]uint32, nodes)}
	b := &builder{store: st, graph: g, ef: opts.EFConstruction, layer: make([]uint8, nodes), locks: make([]sync.Mutex, nodes)}
	r := rand.New(rand.NewPCG(opts.Seed, 0x6d617271756565))
	uppers := 0
	for i := range nodes {
		layer := min(int(-math.Log(1-r.Float64())/math.Log(float64(opts.M))), math.MaxUint8)
		b.layer[i], g.upperAt[i] = uint8(layer), none
		if layer > 0 {
			g.upperAt[i] = uint32(uppers)
			uppers += layer
		}
		if i == 0 || layer >= g.layers {
			g.layers, g.entry = layer+1, uint32(i)
		}
	}
	g.upper = make([]uint32, uppers*opts.M)
	for i := range g.base {
		g.base[i] = none
	}
	for i := range g.upper {
		g.upper[i] = none
	}
	return b
}

// insertAll adds every row. The entry is there from the start, so the top layer never changes under a goroutine.
func (b *builder) insertAll(ctx context.Context, threads int) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(threads, b.nodes) {
		wg.Go(func() {
			in := b.newInserter()
			for ctx.Err() == nil {
				row := next.Add(1) - 1
				if row >= int64(b.nodes) {
					return
				}
				if uint32(row) != b.entry {
					in.insert(uint32(row))
				}
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

func (b *builder) newInserter() *inserter {
	in := &inserter{builder: b, scratch: b.newScratch(), chose: make([][]uint32, b.layers)}
	in.candidates = make([]uint64, b.ef)
	in.sims = make([]float32, blockRows)
	switch {
	case b.lift != nil:
		in.top = b.lift[0]*b.lift[0] + vec.Dot(b.row(0), b.row(0))
	case b.metric == Cosine:
		in.top = 1
	}
	return in
}

// similar sets s.keys[i] to how near rows[i] is to row u, as far as the graph is concerned.
func (in *inserter) similar(u uint32, rows []uint32) {
	sims := in.sims[:len(rows)]
	in.gather(sims, in.rows[int(u)*in.stride:(int(u)+1)*in.stride], rows)
	for i, sim := range sims {
		if in.lift != nil {
			sim += in.lift[u] * in.lift[rows[i]]
		}
		in.keys[i] = keyOf(sim)
	}
}

// insert finds the row's neighbours on all its layers, then links it to them. The lower layers come first in the
// linking: whoever comes down from a layer on which the row can be met finds links on the next.
func (in *inserter) insert(u uint32) {
	top := int(in.layer[u])
	at := in.entry
	in.similar(u, []uint32{at})
	key := in.keys[0]
	for layer := in.layers - 1; layer >= 0; layer-- {
		ef := 1
		if layer <= top {
			ef = in.ef
		}
		in.search(u, at, key, layer, ef)
		at, key = candidateRow(in.pool.e[0]), uint32(in.pool.e[0]>>32)
		if layer <= top {
			in.cands = append(in.cands[:0], in.pool.e[:in.pool.n]...)
			in.choose(in.m)
			in.chose[layer] = append(in.chose[layer][:0], in.kept...)
		}
	}
	for layer := range min(top, in.layers-1) + 1 {
		in.setLinks(u, layer, in.chose[layer])
		for _, v := range in.chose[layer] {
			in.linkBack(v, u, layer)
		}
	}
}

// search fills the pool with the ef rows nearest to u that can be found on a layer from the row at.
func (in *inserter) search(u, at, key uint32, layer, ef int) {
	clear(in.visited)
	in.visit(at)
	p := &in.pool
	p.reset(in.candidates[:ef])
	p.insert(candidate(key, at))
	for {
		row, ok := p.expand()
		if !ok {
			return
		}
		if ef > 1 && p.settled(2*in.m, buildPatience) {
			return
		}
		fresh := in.fresh(in.links(row, layer))
		in.similar(u, fresh)
		least := p.leastKey()
		for i, row := range fresh {
			if key := in.keys[i]; key > least {
				p.insert(candidate(key, row))
				least = p.leastKey()
			}
		}
	}
}

// fresh is scratch.unvisited for links that others may be writing.
func (in *inserter) fresh(links []uint32) []uint32 {
	m := 0
	for i := range links {
		row := atomic.LoadUint32(&links[i])
		if row == none {
			break
		}
		w, bit := &in.visited[row>>6], uint64(1)<<(row&63)
		in.block[m] = row
		if *w&bit == 0 {
			m++
		}
		*w |= bit
	}
	return in.block[:m]
}

// buildPatience is the patience of the search for a row's neighbours: how many rows it expands without a nearer one among
// the nearest 2m. It leaves out a quarter of the work; with 24, which leaves out another fifth, walks must score a
// twentieth more for the same recall.
const buildPatience = 64

// slack is how much nearer to a link kept than to the row itself a candidate must be to be passed over: a twentieth of
// the distance, or of the inner product where that is what rows are compared by. With none, as in the paper, walks score
// a fifth more rows for the same recall at 50,000 x 64 by inner product; with .1 the graph falls apart into neighbourhoods
// that walks do not get between. (DiskANN's alpha: Jayaram Subramanya and others, 2019.)
const slack = .05

// slackened moves the key of a similarity to the row up by the slack.
func (in *inserter) slackened(key uint32) uint32 {
	sim := scoreOf(key)
	if in.top > 0 { // top - sim is half the squared distance
		return keyOf(in.top - (in.top-sim)*(1-slack))
	}
	if sim < 0 {
		return keyOf(sim * (1 - slack))
	}
	return keyOf(sim * (1 + slack))
}

// choose keeps up to limit of the candidates, the nearest first, passing over each that is at least as near to one kept
// already as it is, with some slack, to the row itself: links then lead into all directions (the paper's algorithm 4).
func (in *inserter) choose(limit int) {
	in.kept = in.kept[:0]
	for _, c := range in.cands {
		if in.diverse(candidateRow(c), uint32(c>>32)) {
			in.kept = append(in.kept, candidateRow(c))
			if len(in.kept) == limit {
				return
			}
		}
	}
}

// diverse reports whether no row kept is as near to row as key says. It compares with a few at a time: the first
// are the likeliest to be near.
func (in *inserter) diverse(row, key uint32) bool {
	key = in.slackened(key)
	const step = 8
	for lo := 0; lo < len(in.kept); lo += step {
		some := in.kept[lo:min(lo+step, len(in.kept))]
		in.similar(row, some)
		for _, k := range in.keys[:len(some)] {
			if k >= key {
				return false
			}
		}
	}
	return true
}

// setLinks writes the list of a row.
func (in *inserter) setLinks(u uint32, layer int, links []uint32) {
	in.locks[u].Lock()
	defer in.locks[u].Unlock()
	write(in.links(u, layer), links)
}

func write(list, links []uint32) {
	for i := range list {
		row := none
		if i < len(links) {
			row = links[i]
		}
		if list[i] != row {
			atomic.StoreUint32(&list[i], row)
		}
	}
}

// linkBack adds u to the links of v. If there is no room, it chooses among all of them anew.
func (in *inserter) linkBack(v, u uint32, layer int) {
	in.locks[v].Lock()
	defer in.locks[v].Unlock()
	list := in.links(v, layer)
	if n := slices.Index(list, none); n >= 0 {
		atomic.StoreUint32(&list[n], u)
		return
	}
	n := copy(in.block, list)
	in.block[n] = u
	rows := in.block[:n+1]
	in.similar(v, rows)
	in.cands = in.cands[:0]
	for i, row := range rows {
		in.cands = append(in.cands, ^candidate(in.keys[i], row)) // complemented: Sort puts the nearest first
	}
	slices.Sort(in.cands)
	for i, c := range in.cands {
		in.cands[i] = ^c
	}
	in.choose(len(list))
	write(list, in.kept)
}

// lifted is for an index with a head. Without it, rows are compared by the inner product itself: the links of a row then
// lead to what answers a query like it, the longer ones of its neighbourhood, and a walk of the same recall scores less
// than half as many rows (Morozov and Babenko, "Non-metric similarity graphs for maximum inner product search", 2018). But
// where a few are much longer than the rest, all links lead to these, whom the head has found already.
//
// It returns for the first n rows the extra component that turns inner products into a metric: with c_i = sqrt(max|x|^2 - |x_i|^2), all
// (x_i, c_i) have one length, so that to rank by their inner product is to rank by distance, while a query, whose extra
// component is 0, has the same products with them as before (Bachrach and others, "Speeding up the Xbox recommender
// system using a Euclidean transformation for inner-product spaces", 2014).
func lifted(st *store, n int) []float32 {
	norms := make([]float64, n)
	var largest float64
	for i := range norms {
		for _, x := range st.row(i) {
			norms[i] += float64(x) * float64(x)
		}
		largest = max(largest, norms[i])
	}
	lift := make([]float32, n)
	for i, norm := range norms {
		lift[i] = float32(math.Sqrt(largest - norm))
	}
	return lift
}
