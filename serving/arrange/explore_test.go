package arrange

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"marquee/serving/retrieve"
)

// drawn lists count titles by one seed and gives the query back as it was.
func drawn(q *retrieve.Query, ranked []retrieve.Candidate, dst []retrieve.Candidate, count int, cfg Config, seed uint64) []retrieve.Candidate {
	q.Candidates = append(q.Candidates[:0], ranked...)
	dst = List(dst[:0], q, count, cfg, seed)
	for _, c := range dst {
		q.Open.Set(c.Row)
	}
	return dst
}

// TestDrawnAsLogged: over a million lists every ordered list comes as often as the product of its logged chances says, and every
// title at every place, given those before it, as often as its own does (Pearson's chi-square).
func TestDrawnAsLogged(t *testing.T) {
	const pool, count, lists = 5, 3, 1_000_000
	q := query(t)
	ranked := slices.Clone(q.Candidates)
	cfg := DefaultConfig()
	cfg.Exploration, cfg.ExplorePool = .4, pool
	place := map[uint32]int{}
	for i, c := range ranked[:pool] {
		place[c.Row] = i
	}
	// A list is a number of three digits to the base of the pool.
	seen := make([]int, pool*pool*pool)
	chance := make([]float64, len(seen))
	chances := make([][count]float64, len(seen))
	var dst []retrieve.Candidate
	for seed := range uint64(lists) {
		dst = drawn(q, ranked, dst, count, cfg, seed)
		key, product := 0, 1.
		var each [count]float64
		for i, c := range dst {
			key = key*pool + place[c.Row]
			product *= c.Propensity
			each[i] = c.Propensity
		}
		if seen[key] > 0 && chance[key] != product {
			t.Fatalf("list %d was logged with chance %g and with %g", key, chance[key], product)
		}
		seen[key]++
		chance[key], chances[key] = product, each
	}
	sum, square, cells := 0., 0., 0
	for key, n := range seen {
		if n == 0 {
			continue
		}
		expected := chance[key] * lists
		sum += chance[key]
		square += (float64(n) - expected) * (float64(n) - expected) / expected
		cells++
	}
	if cells != 5*4*3 || math.Abs(sum-1) > 1e-9 {
		t.Errorf("%d lists whose chances add up to %g, want 60 and 1", cells, sum)
	}
	accept(t, "ordered lists", square, cells-1)
	for at := range count {
		conditional(t, at, seen, chances)
	}
}

// conditional tests the chances at one place, within the lists that share what stands before it.
func conditional(t *testing.T, at int, seen []int, chances [][3]float64) {
	t.Helper()
	const pool = 5
	tail := int(math.Pow(pool, float64(2-at)))
	total, here, want := map[int]int{}, map[int]int{}, map[int]float64{}
	for key, n := range seen {
		if n > 0 {
			head := key / tail
			total[head/pool] += n
			here[head] += n
			want[head] = chances[key][at]
		}
	}
	square, free := 0., len(here)-len(total)
	for head, n := range here {
		expected := want[head] * float64(total[head/pool])
		square += (float64(n) - expected) * (float64(n) - expected) / expected
	}
	accept(t, fmt.Sprintf("place %d given those before it", at), square, free)
}

// accept fails when a chi-square is as unlikely as one in a million (Wilson and Hilferty's approximation).
func accept(t *testing.T, what string, square float64, free int) {
	t.Helper()
	f := 2 / (9 * float64(free))
	if z := (math.Cbrt(square/float64(free)) - (1 - f)) / math.Sqrt(f); z > 4.75 {
		t.Errorf("%s: chi-square %.1f with %d degrees of freedom, %.1f standard deviations too much", what, square, free, z)
	}
}

func TestExploration(t *testing.T) {
	q := query(t)
	ranked := slices.Clone(q.Candidates)
	cfg := DefaultConfig()
	greedy := drawn(q, ranked, nil, 10, cfg, 1)
	cfg.Exploration, cfg.ExploreFrom = 1, 2
	one, same, other := drawn(q, ranked, nil, 10, cfg, 1), drawn(q, ranked, nil, 10, cfg, 1), drawn(q, ranked, nil, 10, cfg, 2)
	if !slices.Equal(one, same) {
		t.Error("one seed gives two lists")
	}
	if slices.Equal(one, other) {
		t.Error("two seeds give one list")
	}
	for i, c := range one {
		if i < cfg.ExploreFrom && (c.Row != greedy[i].Row || c.Propensity != 1) {
			t.Errorf("place %d is explored: %+v", i, c)
		}
		if want := 1 / float64(len(ranked)-i); i >= cfg.ExploreFrom && math.Abs(c.Propensity-want) > 1e-12 {
			t.Errorf("place %d has chance %g, want %g", i, c.Propensity, want)
		}
		if slices.ContainsFunc(one[:i], func(o retrieve.Candidate) bool { return o.Row == c.Row }) {
			t.Errorf("%d stands twice", c.Row)
		}
	}
	cfg.ExplorePool = 10
	for seed := range uint64(100) {
		for _, c := range drawn(q, ranked, nil, 10, cfg, seed) {
			if !slices.ContainsFunc(greedy, func(o retrieve.Candidate) bool { return o.Row == c.Row }) {
				t.Fatalf("%d is not among the ten that are drawn from", c.Row)
			}
		}
	}
	if DefaultConfig().Policy() != "greedy" || cfg.Policy() != "epsilon_greedy(1,10)" {
		t.Error("policies", cfg.Policy())
	}
}
