package arrange

import (
	"slices"
	"testing"

	"marquee/serving/rank"
	"marquee/serving/retrieve"
)

// likeness is the mean likeness of all pairs of a list.
func likeness(q *retrieve.Query, list []retrieve.Candidate) float32 {
	var sum float32
	n := 0
	for i := range list {
		for j := range i {
			sum += q.Picture.Alike(list[i].Row, list[j].Row)
			n++
		}
	}
	return sum / float32(n)
}

// TestDiversity: the more of it is asked for, the less alike the titles of a list, from the best scores on.
func TestDiversity(t *testing.T) {
	// One genre scores best, by a little.
	events := func() *retrieve.Query {
		q := query(t, played("a0", 3, 1))
		for i := range q.Candidates {
			q.Candidates[i].Score = 1 - float32(i)/100
			if q.Picture.ID(q.Candidates[i].Row)[0] == 'b' {
				q.Candidates[i].Score += .5
			}
		}
		new(rank.Sorter).Sort(q.Candidates)
		return q
	}
	plain := events()
	ranked := slices.Clone(plain.Candidates)
	first := List(nil, plain, 9, DefaultConfig(), 1)
	if !slices.Equal(first, ranked[:9]) {
		t.Errorf("without diversity the list is %v, ranked %v", first, ranked[:9])
	}
	before := likeness(plain, first)
	for _, diversity := range []float64{.3, .6, 1} {
		q := events()
		cfg := DefaultConfig()
		cfg.Diversity = diversity
		list := List(nil, q, 9, cfg, 1)
		if len(list) != 9 || list[0] != ranked[0] {
			t.Fatalf("diversity %v: %v", diversity, list)
		}
		seen := map[uint32]bool{}
		for _, c := range list {
			if seen[c.Row] || !slices.Contains(ranked, c) {
				t.Errorf("diversity %v: %v stands twice or is no candidate", diversity, c)
			}
			seen[c.Row] = true
		}
		now := likeness(q, list)
		if now > before {
			t.Errorf("diversity %v: likeness %v, with less diversity %v", diversity, now, before)
		}
		before = now
	}
	if full := likeness(plain, first); before > .7*full {
		t.Errorf("likeness %v at full diversity, %v at none", before, full)
	}
}

// TestDiversifyByDefinition compares with the definition written out.
func TestDiversifyByDefinition(t *testing.T) {
	for _, diversity := range []float32{.2, .5, .9} {
		q := query(t, played("b0", 1, 1))
		pool := slices.Clone(q.Candidates)
		best, least := pool[0].Score, pool[len(pool)-1].Score
		var want []retrieve.Candidate
		for range 10 {
			at, most := -1, float32(0)
			for i, c := range pool {
				var likest float32
				for _, p := range want {
					likest = max(likest, q.Picture.Alike(p.Row, c.Row))
				}
				if worth := (1-diversity)*(c.Score-least)/(best-least) - diversity*likest; at < 0 || worth > most+1e-6 {
					at, most = i, worth
				}
			}
			want = append(want, pool[at])
			pool = slices.Delete(pool, at, at+1)
		}
		diversify(q, 10, diversity)
		if !slices.Equal(q.Candidates[:10], want) {
			t.Errorf("diversity %v: %v, want %v", diversity, q.Candidates[:10], want)
		}
	}
}
