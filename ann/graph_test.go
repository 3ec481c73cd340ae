package ann

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"marquee/internal/vec"
)

// graphs builds one index with a graph for each metric and number of threads.
func graphs(t *testing.T, each func(t *testing.T, ix *index, vectors []float32)) {
	t.Helper()
	const n, dim = 2000, 10
	for _, metric := range metrics {
		for _, threads := range []int{1, 4} {
			t.Run(fmt.Sprintf("%v/threads=%d", metric, threads), func(t *testing.T) {
				m := newMixture(101, dim, 12, 0.4)
				vectors := m.zipfNorms(m.draw(n))
				copy(vectors[:20*dim], make([]float32, 20*dim)) // titles nobody has watched
				opts := Options{Metric: metric, Kind: HNSW, M: 6, EFConstruction: 30, Threads: threads}
				ix, ok := build(t, vectors, dim, opts).(*index)
				if !ok {
					t.Fatal("not an index of this package")
				}
				each(t, ix, vectors)
			})
		}
	}
}

// TestGraphInvariants: lists without gaps, repetitions or links to oneself, and to rows of the layer only.
func TestGraphInvariants(t *testing.T) {
	graphs(t, func(t *testing.T, ix *index, _ []float32) {
		g := ix.graph
		for layer := range g.layers {
			rows := 0
			for row := range uint32(g.nodes) {
				links := g.links(row, layer)
				if layer > 0 && !onLayer(g, row, layer) {
					continue
				}
				rows++
				used := links
				if i := slices.Index(links, none); i >= 0 {
					used = links[:i]
					if slices.ContainsFunc(links[i:], func(v uint32) bool { return v != none }) {
						t.Fatalf("layer %d, row %d: gap in %v", layer, row, links)
					}
				}
				for i, v := range used {
					if v == row || slices.Contains(used[:i], v) || !onLayer(g, v, layer) {
						t.Fatalf("layer %d, row %d: link %d of %v", layer, row, i, used)
					}
				}
			}
			if rows == 0 {
				t.Errorf("layer %d of %d is empty", layer, g.layers)
			}
		}
		if !onLayer(g, g.entry, g.layers-1) {
			t.Errorf("entry %d is not on the top layer", g.entry)
		}
	})
}

// onLayer reports whether a row has a list on a layer: lists of a row lie one after the other, up to the next row's.
func onLayer(g *graph, row uint32, layer int) bool {
	if layer == 0 {
		return true
	}
	at := g.upperAt[row]
	if at == none {
		return false
	}
	end := uint32(len(g.upper) / g.m)
	for _, other := range g.upperAt {
		if other > at && other < end {
			end = other
		}
	}
	return at+uint32(layer) <= end
}

// TestReachable: on layer 0 every row can be reached from the entry.
func TestReachable(t *testing.T) {
	graphs(t, func(t *testing.T, ix *index, _ []float32) {
		seen := make([]bool, ix.graph.nodes)
		seen[ix.graph.entry] = true
		queue := []uint32{ix.graph.entry}
		for i := 0; i < len(queue); i++ {
			for _, v := range ix.graph.links(queue[i], 0) {
				if v != none && !seen[v] {
					seen[v] = true
					queue = append(queue, v)
				}
			}
		}
		if len(queue) != ix.graph.nodes {
			t.Errorf("%d of %d nodes can be reached", len(queue), ix.graph.nodes)
		}
	})
}

// TestManyZeroVectors: a catalogue in which most titles have no factors yet. A walk with room for all must find all, and
// one without must find the others.
func TestManyZeroVectors(t *testing.T) {
	const n, dim, known = 6000, 16, 1500
	m := newMixture(113, dim, 20, 0.5)
	vectors := make([]float32, n*dim)
	for i, v := range m.draw(known) {
		vectors[i/dim*dim*4+i%dim] = v
	}
	for _, metric := range metrics {
		ix := build(t, vectors, dim, Options{Metric: metric, Kind: HNSW, M: 8, EFConstruction: 60})
		queries := m.draw(30)
		truth := truths(metric, vectors, dim, queries, 10, nil)
		if r := meanRecall(t, ix, truth, queries, 10, SearchOptions{Force: HNSW}); r < 0.97 {
			t.Errorf("%v: recall@10 = %.4f", metric, r)
		}
		if got := search(t, ix, queries[:dim], n, SearchOptions{Force: HNSW, EF: n}); len(got) != n {
			t.Errorf("%v: a walk reaches %d of %d", metric, len(got), n)
		}
	}
}

// TestReorderKeepsVectorsAndIDsTogether: ids and rowOf are each other's inverse, and a row holds the vector of its id.
func TestReorderKeepsVectorsAndIDsTogether(t *testing.T) {
	graphs(t, func(t *testing.T, ix *index, vectors []float32) {
		for row, id := range ix.ids {
			if ix.rowOf[id] != uint32(row) {
				t.Fatalf("row %d has id %d, whose row is %d", row, id, ix.rowOf[id])
			}
			want := slices.Clone(vectors[int(id)*ix.dim : (int(id)+1)*ix.dim])
			if ix.metric == Cosine {
				normalize(want)
			}
			if !slices.Equal(ix.row(row), want) {
				t.Fatalf("row %d is %v, vector %d is %v", row, ix.row(row), id, want)
			}
		}
	})
}

// TestCopies: what repeats a vector is no node, and lies with the copies of the node it repeats.
func TestCopies(t *testing.T) {
	graphs(t, func(t *testing.T, ix *index, _ []float32) {
		g := ix.graph
		if g.nodes != ix.n-19 { // of twenty zero vectors, one is a node
			t.Fatalf("%d nodes for %d vectors", g.nodes, ix.n)
		}
		w := walker{ix.store, g}
		next := uint32(g.nodes)
		for node := range uint32(g.nodes) {
			lo, hi := w.copiesOf(node)
			if lo != next {
				t.Fatalf("copies of node %d begin at %d, want %d", node, lo, next)
			}
			for ; lo < hi; lo++ {
				if !slices.Equal(ix.row(int(lo)), ix.row(int(node))) || ix.ids[lo] < ix.ids[node] {
					t.Fatalf("row %d is no copy of node %d", lo, node)
				}
			}
			next = hi
		}
		if int(next) != ix.n {
			t.Errorf("copies end at %d of %d", next, ix.n)
		}
	})
}

func TestHeadHoldsTheLongest(t *testing.T) {
	graphs(t, func(t *testing.T, ix *index, _ []float32) {
		head := ix.graph.head
		if ix.metric != InnerProduct {
			if head != 0 {
				t.Errorf("head of %d", head)
			}
			return
		}
		if head == 0 || head%64 != 0 || head > headLen(ix.graph.nodes) {
			t.Fatalf("head of %d", head)
		}
		shortest := vec.Dot(ix.row(head-1), ix.row(head-1))
		for row := range ix.graph.nodes {
			norm := vec.Dot(ix.row(row), ix.row(row))
			if row < head && norm < shortest || row >= head && norm > shortest {
				t.Fatalf("row %d has squared length %v, the last of the head %v", row, norm, shortest)
			}
		}
	})
	// Vectors of one length have no head: it would cost every search and find nothing.
	m := newMixture(103, 64, 10, 0.3)
	if ix, _ := build(t, m.draw(2000), 64, Options{Kind: HNSW, EFConstruction: 20}).(*index); ix.graph.head != 0 {
		t.Errorf("vectors of about one length have a head of %d", ix.graph.head)
	}
}

// TestRowsLeftOverTakeNoLinkFromOthers: by inner product without a head, many of the shortest rows have no link to them.
// Making them reachable must not cost the others their links: it once did, and halved the speed at equal recall.
func TestRowsLeftOverTakeNoLinkFromOthers(t *testing.T) {
	m := newMixture(105, 32, 60, 0.8)
	vectors, queries := m.draw(8000), m.draw(100)
	st := newStore(vectors, 32, InnerProduct)
	b := newBuilder(st, st.n, Options{M: 8, EFConstruction: 60}.withDefaults(st.n))
	if err := b.insertAll(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(b.base)
	b.connect()
	added := 0
	for i, link := range before {
		if link != none && b.base[i] != link {
			t.Fatalf("link %d of row %d went from %d to %d", i%16, i/16, link, b.base[i])
		}
		if link != b.base[i] {
			added++
		}
	}
	if added < st.n/50 {
		t.Errorf("%d links added: the rows of this test are to leave more unreached", added)
	}
	ix := build(t, vectors, 32, Options{Kind: HNSW, M: 8, EFConstruction: 60})
	truth := truths(InnerProduct, vectors, 32, queries, 10, nil)
	if r := meanRecall(t, ix, truth, queries, 10, SearchOptions{Force: HNSW, EF: 40}); r < .95 {
		t.Errorf("recall@10 %.4f at ef 40, want .95", r)
	}
}

// TestPoolAgainstSorting inserts and expands at random and compares with a sorted slice.
func TestPoolAgainstSorting(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for size := 1; size < 30; size++ {
		var p pool
		p.reset(make([]uint64, size))
		var model []uint64 // sorted, with the same bits
		for row := range uint32(200) {
			if r.IntN(3) == 0 {
				i := slices.IndexFunc(model, func(e uint64) bool { return e&1 == 1 })
				got, ok := p.expand()
				if ok != (i >= 0) || ok && got != candidateRow(model[i]) {
					t.Fatalf("size %d: expand gave %d, %v; want entry %d of %x", size, got, ok, i, model)
				}
				if ok {
					model[i] &^= 1
				}
			}
			e := candidate(1+r.Uint32N(20), row)
			if uint32(e>>32) <= p.leastKey() {
				continue
			}
			p.insert(e)
			at, _ := slices.BinarySearchFunc(model, e, func(a, b uint64) int {
				if a > b {
					return -1
				}
				return 1
			})
			model = slices.Insert(model, at, e)
			model = model[:min(len(model), size)]
			if !slices.Equal(p.e[:p.n], model) {
				t.Fatalf("size %d: pool %x, want %x", size, p.e[:p.n], model)
			}
		}
	}
}

func TestLiftMakesAllVectorsOneLength(t *testing.T) {
	m := newMixture(107, 9, 5, 0.5)
	vectors := m.zipfNorms(m.draw(100))
	st := newStore(vectors, 9, InnerProduct)
	lift := lifted(st, st.n)
	want := math.NaN()
	for i, c := range lift {
		norm := float64(vec.Dot(st.row(i), st.row(i)) + c*c)
		if i == 0 {
			want = norm
		}
		if math.Abs(norm-want) > 1e-4*want {
			t.Errorf("lifted vector %d has squared length %v, the first %v", i, norm, want)
		}
	}
}

func TestQuantizeStaysInRangeAndNear(t *testing.T) {
	const dim = 37
	for _, metric := range metrics {
		m := newMixture(109, dim, 5, 0.5)
		vectors := m.zipfNorms(m.draw(200))
		for i := range vectors {
			vectors[i] += 3 // far from the origin, where L2 must move the centre
		}
		st := newStore(vectors, dim, metric)
		st.quantize()
		if !st.int8s() || (st.center != nil) != (metric == L2) {
			t.Fatalf("%v: scale %v, centre %v", metric, st.codeScale, st.center)
		}
		half := 0.5001 / float64(st.codeScale)
		for i := range st.n {
			codes := st.codes[i*st.codeStride : (i+1)*st.codeStride]
			if slices.Contains(codes, -128) || slices.ContainsFunc(codes[dim:], func(c int8) bool { return c != 0 }) {
				t.Fatalf("%v: codes %v", metric, codes)
			}
			for j, x := range st.row(i) {
				back := float64(codes[j]) / float64(st.codeScale)
				if st.center != nil {
					back += float64(st.center[j])
				}
				if math.Abs(back-float64(x)) > half+1e-5 {
					t.Fatalf("%v: component %d of %d is %v, its code stands for %v", metric, j, i, x, back)
				}
			}
		}
	}
}

// TestExtremeMagnitudes: the largest and smallest vectors that are accepted are ranked without leaving float32.
func TestExtremeMagnitudes(t *testing.T) {
	for _, metric := range metrics {
		for _, scale := range []float32{1e-30, 1e-15, 1, 1e15, 4e18} {
			for _, kind := range []Strategy{Exact, HNSW} {
				vectors := []float32{scale, 0, -scale, 0, 0, scale, scale / 2, scale / 2, 0, 0}
				ix := build(t, vectors, 2, Options{Metric: metric, Kind: kind, Int8: true})
				for _, f32 := range []bool{false, true} {
					got := search(t, ix, []float32{scale, 0}, 5, SearchOptions{Force: kind, Float32: f32})
					if len(got) != 5 {
						t.Fatalf("%v %v, scale %v: %v", kind, metric, scale, got)
					}
					for _, g := range got {
						if math.IsNaN(float64(g.Score)) || math.IsInf(float64(g.Score), 0) {
							t.Errorf("%v %v, scale %v: score %v", kind, metric, scale, g.Score)
						}
					}
					if scale > 1e-20 && got[0].ID != 0 { // below, squares are zero and all are equal
						t.Errorf("%v %v, scale %v, float32 %v: %v", kind, metric, scale, f32, got)
					}
				}
			}
		}
	}
}

// FuzzSearch compares exact searches over any few vectors, queries and filters with brute force, and walks with what an
// answer must be whatever its recall.
func FuzzSearch(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, uint8(2), uint8(0), uint8(3), uint64(0xf))
	f.Add([]byte{0, 0, 0, 0, 255, 127, 128, 1}, uint8(1), uint8(2), uint8(1), uint64(1))
	f.Add(make([]byte, 64), uint8(1), uint8(1), uint8(70), ^uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, dim, metric, k uint8, bits uint64) {
		d, mt := int(dim)%12+1, metrics[int(metric)%3]
		v := make([]float32, min(len(data), 600)/d*d)
		for i := range v {
			v[i] = float32(int8(data[i])) / 8
		}
		if len(v) < 2*d {
			return
		}
		query, vectors := v[:d], v[d:]
		n := len(vectors) / d
		filter := NewBitmap(n)
		for i := range uint32(n) {
			if bits>>(i%64)&1 == 1 {
				filter.Set(i)
			}
		}
		ix := build(t, vectors, d, Options{Metric: mt, Kind: HNSW, Int8: true, M: 4, EFConstruction: 8, Threads: 1})
		want := bruteForce(mt, vectors, d, query, int(k)+1, filter)
		checkAgainst(t, want, search(t, ix, query, int(k)+1, SearchOptions{Filter: filter, Force: Exact, Float32: true}), 1e-4)
		got := search(t, ix, query, int(k)+1, SearchOptions{Filter: filter, Force: HNSW, EF: n})
		checkOrder(t, got)
		for _, g := range got {
			if !filter.Has(g.ID) {
				t.Fatalf("id %d is not eligible", g.ID)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("a walk with room for all found %d of %d", len(got), len(want))
		}
		if _, _, err := ix.Search(query[:d-1], 1, SearchOptions{}, nil); err == nil || errors.Is(err, ErrCorrupt) {
			t.Errorf("a short query: %v", err)
		}
	})
}
