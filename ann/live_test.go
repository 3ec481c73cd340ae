package ann

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// oracle is what a Live should hold: the plainest possible.
type oracle struct {
	dim     int
	vectors map[uint32][]float32
}

func (o *oracle) apply(changes ...Change) {
	for _, c := range changes {
		if c.Vector == nil {
			delete(o.vectors, c.ID)
		} else {
			o.vectors[c.ID] = c.Vector
		}
	}
}

// nearest is the truth for a query.
func (o *oracle) nearest(metric Metric, query []float32, k int, filter Bitmap) []Neighbor {
	var all []Neighbor
	for id, v := range o.vectors {
		if filter == nil || filter.Has(id) {
			all = append(all, Neighbor{ID: id, Score: float32(score64(metric, query, v))})
		}
	}
	slices.SortFunc(all, func(a, b Neighbor) int {
		if nearer(a, b) {
			return -1
		}
		return 1
	})
	return all[:min(k, len(all))]
}

// searchable is what an Index and a Live have in common.
type searchable interface {
	Search(query []float32, k int, opts SearchOptions, dst []Neighbor) ([]Neighbor, Plan, error)
}

// agree compares what is found for some queries with the oracle: every id is one of its, eligible, found once, with its
// score, and a share of at least gate of the true neighbours is there.
func agree(t *testing.T, ix searchable, o *oracle, metric Metric, queries []float32, k int, opts SearchOptions, gate float64) {
	t.Helper()
	hits, all := 0, 0
	for i := 0; i < len(queries); i += o.dim {
		q := queries[i : i+o.dim]
		want := o.nearest(metric, q, k, opts.Filter)
		got, plan, err := ix.Search(q, k, opts, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d neighbours, want %d, by %v", len(got), len(want), plan)
		}
		checkOrder(t, got)
		for _, g := range got {
			v, ok := o.vectors[g.ID]
			if !ok || opts.Filter != nil && !opts.Filter.Has(g.ID) {
				t.Fatalf("id %d, which is deleted or filtered, was found by %v", g.ID, plan)
			}
			if d := score64(metric, q, v) - float64(g.Score); d > 1e-3 || d < -1e-3 {
				t.Fatalf("id %d has score %v, want %v", g.ID, g.Score, score64(metric, q, v))
			}
			if g.Score >= want[len(want)-1].Score-1e-4 {
				hits++
			}
		}
		all += len(want)
	}
	if all > 0 && float64(hits) < gate*float64(all) {
		t.Fatalf("%d of %d true neighbours found, want a share of %v", hits, all, gate)
	}
}

// TestLiveAgainstOracle applies random operations, from several goroutines in rounds, and between the rounds compares with
// the oracle; compactions and searches go on all the time.
func TestLiveAgainstOracle(t *testing.T) {
	const dim, writers, rounds = 12, 3, 6
	n := fewerUnderRace(3000)
	for _, metric := range metrics {
		for _, kind := range []Strategy{Exact, HNSW} {
			t.Run(fmt.Sprintf("%v/%v", metric, kind), func(t *testing.T) {
				m := newMixture(uint64(kind)+20, dim, 30, .5)
				o := &oracle{dim: dim, vectors: map[uint32][]float32{}}
				vectors := m.draw(n)
				for id := range n {
					o.vectors[uint32(id)] = vectors[id*dim : (id+1)*dim]
				}
				opts := Options{Metric: metric, Kind: kind, Int8: true, EFConstruction: 60, M: 12}
				l, err := NewLive(context.Background(), vectors, dim, opts, nil)
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(t.TempDir(), "live")
				for round := range rounds {
					queries := m.draw(8)
					changes := make([][]Change, writers)
					for w := range changes { // a writer has the ids that are w mod writers
						for range 40 {
							c := Change{ID: uint32(m.r.IntN((n+n/4)/writers)*writers + w)}
							if m.r.IntN(3) > 0 {
								c.Vector = m.draw(1)
							}
							changes[w] = append(changes[w], c)
						}
						o.apply(changes[w]...)
					}
					disturb(t, l, changes, queries, round)
					if len(o.vectors) != l.Len() {
						t.Fatalf("%d ids in use, want %d", l.Len(), len(o.vectors))
					}
					for _, share := range []float64{1, .5, .02} {
						var filter Bitmap
						if share < 1 {
							filter = NewBitmap(n + 64*m.r.IntN(8)) // shorter than the ids there are, or longer
							for id := range uint32(n) {
								if m.r.Float64() < share {
									filter.Set(id)
								}
							}
						}
						agree(t, l, o, metric, queries, 10, SearchOptions{Filter: filter, EF: 100}, .95)
						agree(t, l, o, metric, queries, 10, SearchOptions{Filter: filter, Force: Exact, Float32: true}, 1)
						if kind == HNSW {
							agree(t, l, o, metric, queries, 10, SearchOptions{Filter: filter, EF: 100, Force: HNSW}, .95)
						}
					}
					if round%2 == 1 {
						l = reopened(t, l, path, opts)
					}
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// disturb has every writer apply its changes, in batches of 1 to 8, while one goroutine compacts and another searches.
func disturb(t *testing.T, l *Live, changes [][]Change, queries []float32, round int) {
	var writing, wg sync.WaitGroup
	done := make(chan struct{})
	for w, own := range changes {
		writing.Go(func() {
			r := rand.New(rand.NewPCG(uint64(round), uint64(w)))
			for len(own) > 0 {
				k := min(1+r.IntN(8), len(own))
				if err := l.Apply(own[:k]...); err != nil {
					t.Error(err)
				}
				own = own[k:]
			}
		})
	}
	if round%3 > 0 {
		wg.Go(func() {
			if err := l.Compact(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		var found []Neighbor
		for i := 0; ; i++ {
			var err error
			q := i % (len(queries) / l.Dim()) * l.Dim()
			if found, _, err = l.Search(queries[q:q+l.Dim()], 5, SearchOptions{}, found); err != nil {
				t.Error(err)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	writing.Wait()
	close(done)
	wg.Wait()
}

func reopened(t *testing.T, l *Live, path string, opts Options) *Live {
	t.Helper()
	if err := l.Save(path); err != nil {
		t.Fatal(err)
	}
	was := l.Info()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := OpenLive(path, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	if is := l.Info(); is.Len != was.Len || is.Tombstones != was.Tombstones || is.Delta > was.Delta {
		t.Fatalf("opened %+v, saved %+v", is, was)
	}
	return l
}

func TestLiveBatchEqualsSingle(t *testing.T) {
	const n, dim = 2000, 16
	m := newMixture(31, dim, 20, .5)
	l, err := NewLive(context.Background(), m.draw(n), dim, Options{Kind: HNSW, Int8: true, EFConstruction: 60}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for id := range uint32(50) {
		if err := l.Apply(Change{ID: id * 7, Vector: m.draw(1)}, Change{ID: id*7 + 1}); err != nil {
			t.Fatal(err)
		}
	}
	filter := NewBitmap(n)
	for i := range uint32(n) {
		if i%3 > 0 {
			filter.Set(i)
		}
	}
	queries := m.draw(40)
	for _, opts := range []SearchOptions{{Force: HNSW}, {Force: HNSW, Filter: filter}, {Filter: filter}, {Force: Exact, Float32: true}} {
		batch, err := l.SearchBatch(context.Background(), queries, 10, opts, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range batch {
			one, _, err := l.Search(queries[i*dim:(i+1)*dim], 10, opts, nil)
			if err != nil || !slices.Equal(one, batch[i]) {
				t.Fatalf("query %d: %v in a batch, %v alone, %v", i, batch[i], one, err)
			}
		}
	}
}

func TestLiveVector(t *testing.T) {
	l, err := NewLive(context.Background(), []float32{1, 2, 3, 4}, 2, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Apply(Change{ID: 1, Vector: []float32{5, 6}}, Change{ID: 9, Vector: []float32{7, 8}}, Change{ID: 0}, Change{ID: 3}); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		got := make([]float32, 2)
		for id, want := range map[uint32][]float32{1: {5, 6}, 9: {7, 8}} {
			if err := l.Vector(id, got); err != nil || !slices.Equal(got, want) {
				t.Errorf("round %d, id %d: %v, %v; want %v", round, id, got, err, want)
			}
		}
		for _, id := range []uint32{0, 3, 100} {
			if err := l.Vector(id, got); !errors.Is(err, ErrNoVector) {
				t.Errorf("round %d, id %d: %v, want ErrNoVector", round, id, err)
			}
		}
		if err := l.Compact(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if info := l.Info(); info.Len != 2 || info.Delta != 0 || info.Tombstones != 8 {
		t.Errorf("after compaction %+v", info)
	}
}

func TestLiveErrors(t *testing.T) {
	l, err := NewLive(context.Background(), []float32{1, 2, 3, 4}, 2, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Change{{ID: MaxLen}, {ID: 1, Vector: []float32{1}}, {ID: 1, Vector: []float32{}}} {
		if err := l.Apply(Change{ID: 0}, c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	if l.Len() != 2 {
		t.Errorf("a refused batch left %d of 2", l.Len())
	}
	if _, _, err := l.Search([]float32{1}, 1, SearchOptions{}, nil); err == nil {
		t.Error("a short query was accepted")
	}
	if _, err := NewLive(context.Background(), nil, 0, Options{}, nil); err == nil {
		t.Error("dimension 0 was accepted")
	}
}

// TestLiveBeginsEmpty is a Live that all vectors are added to.
func TestLiveBeginsEmpty(t *testing.T) {
	m := newMixture(33, 6, 5, .5)
	l, err := NewLive(context.Background(), nil, 6, Options{Metric: L2, Int8: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := &oracle{dim: 6, vectors: map[uint32][]float32{}}
	for id := range uint32(300) {
		c := Change{ID: id, Vector: m.draw(1)}
		for j := range c.Vector {
			c.Vector[j] *= float32(id + 1) // every one beyond the scale of those before
		}
		o.apply(c)
		if err := l.Apply(c); err != nil {
			t.Fatal(err)
		}
	}
	filter := NewBitmap(300)
	filter.Set(7)
	for range 2 {
		agree(t, l, o, L2, m.draw(10), 10, SearchOptions{Float32: true}, 1)
		agree(t, l, o, L2, m.draw(10), 10, SearchOptions{Filter: filter}, 1)
		if err := l.Compact(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLiveSearchAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const n, dim = 3000, 16
	m := newMixture(34, dim, 20, .5)
	l, err := NewLive(context.Background(), m.draw(n), dim, Options{Kind: HNSW, Int8: true, EFConstruction: 60}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for id := range uint32(100) {
		if err := l.Apply(Change{ID: id * 2, Vector: m.draw(1)}); err != nil {
			t.Fatal(err)
		}
	}
	filter := NewBitmap(n)
	filter.Fill(n)
	q, found := m.draw(1), make([]Neighbor, 0, 10)
	for _, opts := range []SearchOptions{{Force: HNSW}, {Force: HNSW, Filter: filter}, {Force: Exact}} {
		if a := testing.AllocsPerRun(50, func() {
			if found, _, err = l.Search(q, 10, opts, found); err != nil {
				t.Fatal(err)
			}
		}); a > 0 {
			t.Errorf("%v allocations a search with %+v", a, opts.Force)
		}
	}
}

// TestDeltaBelowTheBase: what the base found spares the scan of the delta whatever is farther, and nothing else.
func TestDeltaBelowTheBase(t *testing.T) {
	const n, k = 700, 5
	for _, metric := range metrics {
		for _, dim := range []int{3, 40, 130} {
			for _, scale := range []float32{1e-12, 1, 1e12} {
				m := newMixture(uint64(61+dim), dim, 9, .8)
				l, err := NewLive(context.Background(), nil, dim, Options{Metric: metric, Int8: true}, nil)
				if err != nil {
					t.Fatal(err)
				}
				for id := range uint32(n) {
					v := m.draw(1)
					for j := range v {
						v[j] *= scale
					}
					if err := l.Apply(Change{ID: id, Vector: v}); err != nil {
						t.Fatal(err)
					}
				}
				st := l.state.Load()
				s := l.getScratch(st)
				for range 20 {
					q := m.draw(1)
					for _, opts := range []SearchOptions{{Float32: true}, {Rerank: n}} {
						all, err := st.scanLive(s.scratch, q, n, opts, nil, nil)
						if err != nil || len(all) != n {
							t.Fatalf("%d of %d rows: %v", len(all), n, err)
						}
						for _, rank := range []int{0, 2, 4, 30, n - 1} {
							base := make([]Neighbor, k)
							base[k-1].Score = all[rank].Score
							got, err := st.scanLive(s.scratch, q, k, opts, base, nil)
							if want := all[:min(k, rank+1)]; err != nil || len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
								t.Fatalf("%v, %d components of about %g, %+v: %v, %v; want %v", metric, dim, scale, opts, got, err, want)
							}
						}
					}
				}
			}
		}
	}
}
