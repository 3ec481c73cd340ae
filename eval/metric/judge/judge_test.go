package judge

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"marquee/eval/metric"
	"marquee/internal/sparse"
)

// world is a random holdout: every user has some train titles and some others to be judged by.
func world(t testing.TB, users, titles int, seed uint64) *Holdout {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	h := &Holdout{}
	var row, col []uint32
	for u := range users {
		p := rng.Perm(titles)
		train, test := 2+rng.IntN(5), 1+rng.IntN(6)
		for _, c := range p[:train] {
			row, col = append(row, uint32(u)), append(col, uint32(c))
		}
		var rel []uint32
		for _, c := range p[train : train+test] {
			rel = append(rel, uint32(c))
		}
		slices.Sort(rel)
		h.Users, h.Relevant = append(h.Users, uint32(u)), append(h.Relevant, rel)
	}
	m, err := sparse.FromTriplets(users, titles, row, col, nil, sparse.Reject)
	if err != nil {
		t.Fatal(err)
	}
	h.Train = m
	return h
}

// noise scores by chance, in few distinct steps where coarse, so that there are ties.
func noise(seed uint64, coarse int) Scorer {
	return Func(func(user uint32, scores []float32) error {
		rng := rand.New(rand.NewPCG(seed, uint64(user)))
		for i := range scores {
			scores[i] = rng.Float32()
			if coarse > 0 {
				scores[i] = float32(int(scores[i] * float32(coarse)))
			}
		}
		return nil
	})
}

// reference is the definition: sort everything, then count.
func reference(t *testing.T, h *Holdout, s Scorer, i, k int) (list []uint32, hits []int) {
	t.Helper()
	scores := make([]float32, h.Train.Cols)
	if err := s.Score([]uint32{h.Users[i]}, scores); err != nil {
		t.Fatal(err)
	}
	var order []uint32
	for c := range h.Train.Cols {
		if !h.Train.Has(int(h.Users[i]), uint32(c)) && (h.Candidates == nil || slices.Contains(h.Candidates[i], uint32(c))) {
			order = append(order, uint32(c))
		}
	}
	relevant := func(c uint32) bool { return slices.Contains(h.Relevant[i], c) }
	slices.SortStableFunc(order, func(a, b uint32) int {
		switch {
		case scores[a] != scores[b]:
			if scores[a] > scores[b] {
				return -1
			}
			return 1
		case relevant(a) != relevant(b):
			if relevant(b) {
				return -1
			}
			return 1
		}
		return int(a) - int(b)
	})
	list = order[:min(k, len(order))]
	for pos, c := range list {
		if relevant(c) {
			hits = append(hits, pos)
		}
	}
	return list, hits
}

func TestEqualsSortingEverything(t *testing.T) {
	for _, coarse := range []int{0, 5} {
		h := world(t, 101, 60, 3)
		s := noise(9, coarse)
		r, err := Judge(t.Context(), h, s, Options{Cutoffs: []int{5, 20}, Workers: 3})
		if err != nil {
			t.Fatal(err)
		}
		for i := range h.Users {
			list, hits := reference(t, h, s, i, 20)
			if !slices.Equal(r.List(i), list) {
				t.Fatalf("user %d got %v, want %v", i, r.List(i), list)
			}
			n := len(h.Relevant[i])
			for name, want := range map[string]float64{
				"precision@5": metric.Precision(hits, 5), "recall@20": metric.Recall(hits, n, 20), "capped_recall@5": metric.CappedRecall(hits, n, 5),
				"hit_rate@5": metric.HitRate(hits, 5), "ndcg@20": metric.NDCG(hits, n, 20), "mrr@20": metric.ReciprocalRank(hits, 20), "map@20": metric.AveragePrecision(hits, n, 20),
			} {
				if r.PerUser[name][i] != want {
					t.Fatalf("%s of user %d is %g, want %g", name, i, r.PerUser[name][i], want)
				}
			}
		}
		if got, want := r.Means["ndcg@20"], metric.Mean(r.PerUser["ndcg@20"]); got != want {
			t.Errorf("mean ndcg %g, want %g", got, want)
		}
		if len(r.Findings) != 0 {
			t.Errorf("found %v", r.Findings)
		}
	}
}

func TestOnlyCandidatesAreRanked(t *testing.T) {
	h := world(t, 40, 80, 4)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range h.Users {
		c := slices.Clone(h.Relevant[i])
		for range 15 {
			c = append(c, uint32(rng.IntN(80)))
		}
		slices.Sort(c)
		h.Candidates = append(h.Candidates, slices.Compact(c))
	}
	s := noise(2, 0)
	r, err := Judge(t.Context(), h, s, Options{Cutoffs: []int{10}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range h.Users {
		if list, _ := reference(t, h, s, i, 10); !slices.Equal(r.List(i), list) {
			t.Fatalf("user %d got %v, want %v", i, r.List(i), list)
		}
	}
	if !found(r, Sampled) {
		t.Errorf("the result does not say that candidates were sampled: %v", r.Findings)
	}
}

func found(r *Result, name string) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Name == name })
}

// TestWhatASplitMayNotBe goes through the faults that would make every number worthless.
func TestWhatASplitMayNotBe(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*Holdout)
		want  error
	}{
		"leak":                  {func(h *Holdout) { seen, _ := h.Train.Row(3); h.Relevant[3] = seen[:1] }, ErrLeak},
		"duplicate user":        {func(h *Holdout) { h.Users[4] = h.Users[3] }, ErrDuplicateUser},
		"unsorted users":        {func(h *Holdout) { h.Users[4] = 0 }, ErrSplit},
		"user out of range":     {func(h *Holdout) { h.Users[9] = 99 }, ErrSplit},
		"nothing relevant":      {func(h *Holdout) { h.Relevant[2] = nil }, ErrSplit},
		"title out of range":    {func(h *Holdout) { h.Relevant[2] = []uint32{1000} }, ErrSplit},
		"repeated title":        {func(h *Holdout) { h.Relevant[2] = []uint32{h.Relevant[2][0], h.Relevant[2][0]} }, ErrSplit},
		"nobody":                {func(h *Holdout) { h.Users = nil }, ErrSplit},
		"missing list":          {func(h *Holdout) { h.Relevant = h.Relevant[1:] }, ErrSplit},
		"missing candidates":    {func(h *Holdout) { h.Candidates = [][]uint32{{1}} }, ErrSplit},
		"relevant no candidate": {func(h *Holdout) { h.Candidates = make([][]uint32, len(h.Users)) }, ErrSplit},
	} {
		t.Run(name, func(t *testing.T) {
			h := world(t, 10, 50, 5)
			c.spoil(h)
			if _, err := Judge(t.Context(), h, noise(1, 0), Options{Cutoffs: []int{5}}); !errors.Is(err, c.want) || !errors.Is(err, ErrSplit) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func TestNaNScoresAreRefused(t *testing.T) {
	h := world(t, 100, 50, 5)
	_, err := Judge(t.Context(), h, Func(func(user uint32, scores []float32) error {
		if user == 70 {
			scores[7] = float32(math.NaN())
		}
		return nil
	}), Options{Cutoffs: []int{5}})
	if !errors.Is(err, ErrNaN) || !strings.Contains(err.Error(), "title 7 for user 70") {
		t.Errorf("error %v", err)
	}
}

func TestAScorersErrorIsTheErrorWhateverItInterrupts(t *testing.T) {
	broken := errors.New("broken")
	h := world(t, 500, 50, 5)
	_, err := Judge(t.Context(), h, Func(func(user uint32, _ []float32) error {
		if user == 300 {
			return broken
		}
		return nil
	}), Options{Cutoffs: []int{5}, Workers: 4})
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Judge(ctx, h, noise(1, 0), Options{Cutoffs: []int{5}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, cutoffs := range [][]int{nil, {0}, {10, 5}} {
		if _, err := Judge(t.Context(), h, noise(1, 0), Options{Cutoffs: cutoffs}); err == nil {
			t.Errorf("cutoffs %v were accepted", cutoffs)
		}
	}
}

func TestAConstantModelIsFoundOutAndEarnsNothing(t *testing.T) {
	h := world(t, 50, 300, 6)
	r, err := Judge(t.Context(), h, Func(func(_ uint32, scores []float32) error { clear(scores); return nil }), Options{Cutoffs: []int{10}})
	if err != nil {
		t.Fatal(err)
	}
	if !found(r, ConstantScores) {
		t.Errorf("found %v", r.Findings)
	}
	if r.Means["recall@10"] != 0 {
		t.Errorf("constant scores have recall %g, want 0", r.Means["recall@10"])
	}
	best, err := Judge(t.Context(), h, Func(func(_ uint32, scores []float32) error { clear(scores); return nil }), Options{Cutoffs: []int{10}, Ties: metric.Best})
	if err != nil {
		t.Fatal(err)
	}
	if best.Means["recall@10"] != 1 {
		t.Errorf("under best ties they have %g, want 1: that is what worst is for", best.Means["recall@10"])
	}
}

func TestAModelThatMemorisedTestIsFoundOut(t *testing.T) {
	h := world(t, 50, 300, 6)
	cheat := Func(func(user uint32, scores []float32) error {
		clear(scores)
		for i, c := range h.Relevant[user] {
			scores[c] = float32(i + 1)
		}
		return nil
	})
	r, err := Judge(t.Context(), h, cheat, Options{Cutoffs: []int{10}})
	if err != nil {
		t.Fatal(err)
	}
	if !found(r, MemorisedTest) {
		t.Errorf("found %v", r.Findings)
	}
	honest, err := Judge(t.Context(), h, noise(1, 0), Options{Cutoffs: []int{10}})
	if err != nil {
		t.Fatal(err)
	}
	if found(honest, MemorisedTest) || found(honest, ConstantScores) {
		t.Errorf("chance was found to be %v", honest.Findings)
	}
}

func TestListsThatAreShortAreTold(t *testing.T) {
	h := world(t, 10, 50, 6)
	r, err := Judge(t.Context(), h, Func(func(_ uint32, scores []float32) error {
		for i := range scores {
			scores[i] = float32(math.Inf(-1))
		}
		scores[3], scores[4] = 1, 2
		return nil
	}), Options{Cutoffs: []int{10}})
	if err != nil {
		t.Fatal(err)
	}
	if !found(r, ShortLists) || len(r.List(0)) > 2 {
		t.Errorf("found %v, list %v", r.Findings, r.List(0))
	}
}

func TestOnlyLikeIsComparedWithLike(t *testing.T) {
	h := world(t, 60, 50, 8)
	judge := func(h *Holdout, seed uint64, opts Options) *Result {
		t.Helper()
		r, err := Judge(t.Context(), h, noise(seed, 0), opts)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	a, b := judge(h, 1, Options{Cutoffs: []int{10}}), judge(h, 2, Options{Cutoffs: []int{10}})
	i, err := Compare(a, b, "ndcg@10", 500, 0.95, 1)
	if err != nil || math.Abs(i.Mean-(a.Means["ndcg@10"]-b.Means["ndcg@10"])) > 1e-12 || i.Low > i.Mean || i.High < i.Mean {
		t.Errorf("%+v: %v", i, err)
	}
	for name, other := range map[string]*Result{
		"split":   judge(world(t, 60, 50, 9), 2, Options{Cutoffs: []int{10}}),
		"cutoffs": judge(h, 2, Options{Cutoffs: []int{5}}),
		"ties":    judge(h, 2, Options{Cutoffs: []int{10}, Ties: metric.Expected}),
	} {
		if _, err := Compare(a, other, "ndcg@10", 500, 0.95, 1); !errors.Is(err, ErrFingerprint) || !strings.Contains(err.Error(), name) {
			t.Errorf("other %s: %v", name, err)
		}
	}
	if _, err := Compare(a, b, "no such metric", 500, 0.95, 1); err == nil {
		t.Error("a metric nobody took was compared")
	}
}

func TestFactorsEqualTheProduct(t *testing.T) {
	const users, titles, dim = 70, 333, 9
	rng := rand.New(rand.NewPCG(3, 3))
	f := Factors{Dim: dim, Users: make([]float32, users*dim), Titles: make([]float32, titles*dim)}
	for i := range f.Users {
		f.Users[i] = float32(rng.NormFloat64())
	}
	for i := range f.Titles {
		f.Titles[i] = float32(rng.NormFloat64())
	}
	who := []uint32{3, 69, 0}
	scores := make([]float32, len(who)*titles)
	if err := f.Score(who, scores); err != nil {
		t.Fatal(err)
	}
	for i, u := range who {
		for c := range titles {
			var want float64
			for d := range dim {
				want += float64(f.Users[int(u)*dim+d]) * float64(f.Titles[c*dim+d])
			}
			if got := float64(scores[i*titles+c]); math.Abs(got-want) > 1e-4 {
				t.Fatalf("score of %d for %d is %g, want %g", c, u, got, want)
			}
		}
	}
	if err := f.Score([]uint32{70}, scores[:titles]); err == nil {
		t.Error("a user outside was scored")
	}
	if err := f.Score([]uint32{1}, scores[:5]); err == nil {
		t.Error("a table of another size was scored")
	}
}

func BenchmarkFullRanking(b *testing.B) {
	const users, titles, dim = 4096, 40_000, 64
	h := world(b, users, titles, 1)
	rng := rand.New(rand.NewPCG(3, 3))
	f := Factors{Dim: dim, Users: make([]float32, users*dim), Titles: make([]float32, titles*dim)}
	for i := range f.Users {
		f.Users[i] = float32(rng.NormFloat64())
	}
	for i := range f.Titles {
		f.Titles[i] = float32(rng.NormFloat64())
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Judge(b.Context(), h, f, Options{Cutoffs: []int{20}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*users/b.Elapsed().Seconds(), "users/s")
}
