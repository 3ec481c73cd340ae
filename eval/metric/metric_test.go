package metric

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func near(t *testing.T, name string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-12 {
		t.Errorf("%s = %.15f, want %.15f", name, got, want)
	}
}

// TestByHand judges the list 5 3 9 1 7 against the relevant 1, 3 and 8: hits at positions 1 and 3 of three relevant.
func TestByHand(t *testing.T) {
	hits := Hits(nil, []uint32{5, 3, 9, 1, 7}, []uint32{1, 3, 8})
	if !reflect.DeepEqual(hits, []int{1, 3}) {
		t.Fatalf("hits at %v, want [1 3]", hits)
	}
	near(t, "precision@3", Precision(hits, 3), 1.0/3)
	near(t, "precision@10", Precision(hits, 10), 0.2)
	near(t, "recall@3", Recall(hits, 3, 3), 1.0/3)
	near(t, "recall@5", Recall(hits, 3, 5), 2.0/3)
	near(t, "capped recall@2", CappedRecall(hits, 3, 2), 0.5)
	near(t, "capped recall@5", CappedRecall(hits, 3, 5), 2.0/3)
	near(t, "hit rate@1", HitRate(hits, 1), 0)
	near(t, "hit rate@2", HitRate(hits, 2), 1)
	// DCG = 1/log2(3) + 1/log2(5); IDCG@5 = 1 + 1/log2(3) + 1/2; IDCG@2 = 1 + 1/log2(3).
	near(t, "ndcg@5", NDCG(hits, 3, 5), (0.6309297535714575+0.43067655807339306)/(1+0.6309297535714575+0.5))
	near(t, "ndcg@2", NDCG(hits, 3, 2), 0.6309297535714575/(1+0.6309297535714575))
	near(t, "rr@1", ReciprocalRank(hits, 1), 0)
	near(t, "rr@5", ReciprocalRank(hits, 5), 0.5)
	// Precision at the hits: 1/2 and 2/4.
	near(t, "ap@5", AveragePrecision(hits, 3, 5), (0.5+0.5)/3)
	near(t, "ap@2", AveragePrecision(hits, 3, 2), 0.5/2)
	// Six pairs of 2 relevant and 3 irrelevant: 1 of 3 above the first hit, 2 above the second.
	near(t, "auc", RankedAUC(hits, 5), 1-3.0/6)
}

func TestGradedNDCGByHand(t *testing.T) {
	// Järvelin and Kekäläinen's kind of example: grades 3 2 3 0 1 2 with an ideal of 3 3 2 2 1.
	got := GradedNDCG([]float64{3, 2, 3, 0, 1, 2}, []float64{3, 3, 2, 2, 1}, 6)
	dcg := 3 + 2/math.Log2(3) + 3.0/2 + 1/math.Log2(6) + 2/math.Log2(7)
	ideal := 3 + 3/math.Log2(3) + 2.0/2 + 2/math.Log2(5) + 1/math.Log2(6)
	near(t, "graded ndcg", got, dcg/ideal)
	near(t, "graded ndcg of nothing", GradedNDCG([]float64{0, 0}, nil, 2), 0)
	// With gains of 0 and 1 it is the binary one.
	near(t, "graded = binary", GradedNDCG([]float64{0, 1, 0, 1}, []float64{1, 1, 1}, 4), NDCG([]int{1, 3}, 3, 4))
}

func TestNothingRelevant(t *testing.T) {
	for name, v := range map[string]float64{
		"recall": Recall(nil, 0, 5), "capped": CappedRecall(nil, 0, 5), "ndcg": NDCG(nil, 0, 5), "ap": AveragePrecision(nil, 0, 5),
		"rr": ReciprocalRank(nil, 5), "precision": Precision(nil, 0), "mean": Mean(nil), "coverage": NewCoverage(0).Value(),
	} {
		if v != 0 {
			t.Errorf("%s of nothing is %v, want 0", name, v)
		}
	}
	if RankedAUC(nil, 5) != 0.5 || (Standing{}).AUC(0, Worst) != 0.5 {
		t.Error("AUC without pairs must be 0.5")
	}
}

func TestTies(t *testing.T) {
	s := Stand(2, []float32{3, 2, 2, 1, 2})
	if (s != Standing{Above: 1, Tied: 3}) {
		t.Fatalf("standing %+v, want 1 above and 3 tied", s)
	}
	near(t, "hr@2 worst", s.HitRate(2, Worst), 0)
	near(t, "hr@2 expected", s.HitRate(2, Expected), 0.25)
	near(t, "hr@2 best", s.HitRate(2, Best), 1)
	near(t, "hr@5 worst", s.HitRate(5, Worst), 1)
	near(t, "ndcg@3 expected", s.NDCG(3, Expected), (1/math.Log2(3)+1/math.Log2(4))/4)
	near(t, "ndcg@10 worst", s.NDCG(10, Worst), 1/math.Log2(6))
	near(t, "rr@10 best", s.ReciprocalRank(10, Best), 0.5)
	near(t, "auc worst", s.AUC(5, Worst), 1-4.0/5)
	near(t, "auc expected", s.AUC(5, Expected), 1-2.5/5)
	near(t, "auc best", s.AUC(5, Best), 1-1.0/5)
}

func TestConstantAndNaNScoresEarnNothing(t *testing.T) {
	constant, nan := make([]float32, 99), make([]float32, 99)
	for i := range nan {
		nan[i] = float32(math.NaN())
	}
	near(t, "constant, worst", Stand(0, constant).HitRate(10, Worst), 0)
	near(t, "constant, expected", Stand(0, constant).HitRate(10, Expected), 0.1)
	near(t, "NaN candidates", Stand(0, nan).HitRate(10, Worst), 0)
	near(t, "NaN relevant", Stand(float32(math.NaN()), constant).HitRate(10, Worst), 0)
	var sel Selector
	relevant := []uint32{0, 1, 2}
	if hits := Hits(nil, sel.Top(constant, 10, relevant), relevant); len(hits) != 0 {
		t.Errorf("constant scores hit at %v", hits)
	}
	if top := sel.Top(nan, 10, nil); len(top) != 0 {
		t.Errorf("NaN scores recommended %v", top)
	}
}

func TestSelectorAgainstSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var sel Selector
	for range 200 {
		scores := make([]float32, rng.IntN(60))
		for i := range scores {
			scores[i] = float32(rng.IntN(8))
			if rng.IntN(5) == 0 {
				scores[i] = float32(math.Inf(-1))
			}
		}
		var relevant, want []uint32
		for i, s := range scores {
			if rng.IntN(3) == 0 {
				relevant = append(relevant, uint32(i))
			}
			if !math.IsInf(float64(s), -1) {
				want = append(want, uint32(i))
			}
		}
		slices.SortStableFunc(want, func(a, b uint32) int {
			if scores[a] != scores[b] {
				return int(scores[b] - scores[a])
			}
			ra, rb := slices.Contains(relevant, a), slices.Contains(relevant, b)
			if ra != rb && ra {
				return 1
			} else if ra != rb {
				return -1
			}
			return int(a) - int(b)
		})
		k := rng.IntN(12)
		want = want[:min(k, len(want))]
		if got := sel.Top(scores, k, relevant); !slices.Equal(got, want) {
			t.Fatalf("top %d of %v (relevant %v) = %v, want %v", k, scores, relevant, got, want)
		}
	}
}

func TestCoverage(t *testing.T) {
	c := NewCoverage(8)
	c.Add([]uint32{1, 2})
	c.Add([]uint32{2, 3, 99})
	near(t, "coverage", c.Value(), 3.0/8)
}

func TestPairedBootstrap(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	n := 2000
	a, b := make([]float64, n), make([]float64, n)
	for i := range a {
		user := rng.NormFloat64() * 10 // shared by both models: pairing must remove it
		a[i], b[i] = user+0.1+rng.NormFloat64(), user
	}
	got, err := PairedBootstrap(a, b, 2000, 0.95, 7)
	if err != nil {
		t.Fatal(err)
	}
	// The standard error is 1/sqrt(2000); the normal interval is the mean +- 1.96 of it.
	half := 1.96 / math.Sqrt(float64(n))
	if math.Abs(got.Low-(got.Mean-half)) > 0.006 || math.Abs(got.High-(got.Mean+half)) > 0.006 {
		t.Errorf("interval [%.4f, %.4f] about %.4f, want about +-%.4f", got.Low, got.High, got.Mean, half)
	}
	again, _ := PairedBootstrap(a, b, 2000, 0.95, 7)
	if again != got {
		t.Error("the same seed gave another interval")
	}
	equal, err := PairedBootstrap(a, a, 100, 0.95, 1)
	if err != nil || equal.Low != 0 || equal.High != 0 || equal.NotAbove != 1 {
		t.Errorf("a model against itself: %+v, %v", equal, err)
	}
	for _, bad := range []func() (Interval, error){
		func() (Interval, error) { return PairedBootstrap(nil, nil, 1000, 0.95, 1) },
		func() (Interval, error) { return PairedBootstrap(a, b[:5], 1000, 0.95, 1) },
		func() (Interval, error) { return PairedBootstrap(a, b, 10, 0.95, 1) },
		func() (Interval, error) { return PairedBootstrap(a, b, 1000, 1, 1) },
		func() (Interval, error) { return PairedBootstrap([]float64{math.NaN()}, []float64{0}, 1000, 0.9, 1) },
	} {
		if _, err := bad(); err == nil {
			t.Error("bad input was accepted")
		}
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	scores := make([]float32, 1000)
	for i := range scores {
		scores[i] = float32(i * 7919 % 1000)
	}
	relevant := []uint32{3, 10, 500}
	var sel Selector
	hits := Hits(make([]int, 0, 16), sel.Top(scores, 10, relevant), relevant)
	allocs := testing.AllocsPerRun(50, func() {
		hits = Hits(hits[:0], sel.Top(scores, 10, relevant), relevant)
		_ = NDCG(hits, 3, 10) + Recall(hits, 3, 10) + AveragePrecision(hits, 3, 10) + Stand(5, scores).NDCG(10, Expected)
	})
	if allocs != 0 {
		t.Errorf("%v allocations a user, want 0", allocs)
	}
}

func BenchmarkTop10Of40000(b *testing.B) {
	rng := rand.New(rand.NewPCG(4, 4))
	scores := make([]float32, 40000)
	for i := range scores {
		scores[i] = rng.Float32()
	}
	var sel Selector
	b.ReportAllocs()
	for b.Loop() {
		sel.Top(scores, 10, nil)
	}
}
