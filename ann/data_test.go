package ann

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// mixture draws vectors around one set of cluster centres: those of an index and queries that are not among them.
type mixture struct {
	r       *rand.Rand
	dim     int
	centers []float32
	spread  float64
}

func newMixture(seed uint64, dim, clusters int, spread float64) *mixture {
	r := rand.New(rand.NewPCG(seed, 1))
	m := &mixture{r: r, dim: dim, centers: make([]float32, clusters*dim), spread: spread}
	for i := range m.centers {
		m.centers[i] = float32(r.NormFloat64())
	}
	return m
}

func (m *mixture) draw(n int) []float32 {
	v := make([]float32, n*m.dim)
	for i := range n {
		c := m.r.IntN(len(m.centers) / m.dim)
		for j := range m.dim {
			v[i*m.dim+j] = m.centers[c*m.dim+j] + float32(m.spread*m.r.NormFloat64())
		}
	}
	return v
}

// zipfNorms scales the vectors as popularity scales item factors: a few, anywhere in the table, are many times as long
// as most.
func (m *mixture) zipfNorms(v []float32) []float32 {
	n := len(v) / m.dim
	rank := m.r.Perm(n)
	for i := range n {
		scale := float32(3*math.Pow(float64(rank[i]+1), -0.35) + 0.02)
		for j := range m.dim {
			v[i*m.dim+j] *= scale
		}
	}
	return v
}

func build(t testing.TB, vectors []float32, dim int, opts Options) Index {
	t.Helper()
	ix, err := Build(context.Background(), vectors, dim, opts)
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

func search(t testing.TB, ix Index, query []float32, k int, opts SearchOptions) []Neighbor {
	t.Helper()
	got, _, err := ix.Search(query, k, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// score64 is what Neighbor.Score should be, computed in float64.
func score64(metric Metric, a, b []float32) float64 {
	var dot, aa, bb, dist float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot, aa, bb, dist = dot+x*y, aa+x*x, bb+y*y, dist+(x-y)*(x-y)
	}
	switch {
	case metric == InnerProduct:
		return dot
	case metric == L2:
		return -dist
	case aa == 0 || bb == 0:
		return 0
	}
	return dot / math.Sqrt(aa*bb)
}

// bruteForce is the oracle: every vector compared in float64, sorted.
func bruteForce(metric Metric, vectors []float32, dim int, query []float32, k int, filter Bitmap) []Neighbor {
	type scored struct {
		id    uint32
		score float64
	}
	var all []scored
	for i := range len(vectors) / dim {
		if filter == nil || filter.Has(uint32(i)) {
			all = append(all, scored{uint32(i), score64(metric, query, vectors[i*dim:(i+1)*dim])})
		}
	}
	slices.SortFunc(all, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id, b.id))
	})
	out := make([]Neighbor, min(k, len(all)))
	for i := range out {
		out[i] = Neighbor{ID: all[i].id, Score: float32(all[i].score)}
	}
	return out
}

// recall is the share of the true neighbours found, where one that scores as high as the last true one counts: among
// equals, which of them are returned says nothing.
func recall(truth, got []Neighbor) float64 {
	if len(truth) == 0 {
		return 1
	}
	least := truth[len(truth)-1].Score
	least -= 1e-5 * float32(math.Abs(float64(least)))
	hits := 0
	for _, g := range got {
		if g.Score >= least {
			hits++
		}
	}
	return float64(min(hits, len(truth))) / float64(len(truth))
}

// meanRecall searches for every query and compares with truth, which is nil or one result a query from bruteForce.
func meanRecall(t testing.TB, ix Index, truth [][]Neighbor, queries []float32, k int, opts SearchOptions) float64 {
	t.Helper()
	var sum float64
	n := len(queries) / ix.Dim()
	for i := range n {
		sum += recall(truth[i], search(t, ix, queries[i*ix.Dim():(i+1)*ix.Dim()], k, opts))
	}
	return sum / float64(n)
}

func truths(metric Metric, vectors []float32, dim int, queries []float32, k int, filter Bitmap) [][]Neighbor {
	out := make([][]Neighbor, len(queries)/dim)
	for i := range out {
		out[i] = bruteForce(metric, vectors, dim, queries[i*dim:(i+1)*dim], k, filter)
	}
	return out
}
