package metric

import (
	"cmp"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// golden is what a published tool made of random runs; testdata/golden.py wrote it.
type golden[V any] struct {
	Tool  string `json:"tool"`
	Users []struct {
		Relevant [][2]uint32 `json:"relevant"` // title and grade
		Train    []uint32    `json:"train"`
		List     []uint32    `json:"list"`
	} `json:"users"`
	Features [][]uint8 `json:"features"`
	Values   V         `json:"values"`
}

func readGolden[V any](t *testing.T, tool string) golden[V] {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "golden_"+tool+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden[V]
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	if g.Tool != tool || len(g.Users) < 40 {
		t.Fatalf("the file is of %q with %d users", g.Tool, len(g.Users))
	}
	return g
}

// judged is a user's list as the functions of this package want it.
type judged struct {
	list, relevant []uint32
	hits           []int
	n              int
	gains, ideal   []float64
}

func judge(list []uint32, graded [][2]uint32, gain func(grade float64) float64) judged {
	j := judged{list: list}
	grade := map[uint32]float64{}
	for _, p := range graded {
		j.relevant = append(j.relevant, p[0])
		grade[p[0]] = gain(float64(p[1]))
		j.ideal = append(j.ideal, gain(float64(p[1])))
	}
	slices.Sort(j.relevant)
	slices.SortFunc(j.ideal, func(a, b float64) int { return cmp.Compare(b, a) })
	for _, t := range list {
		j.gains = append(j.gains, grade[t])
	}
	j.n = len(j.relevant)
	j.hits = Hits(nil, list, j.relevant)
	return j
}

func linear(grade float64) float64      { return grade }
func exponential(grade float64) float64 { return math.Exp2(grade) - 1 }

// checkGolden holds a metric a user to a tool's values.
func checkGolden(t *testing.T, g golden[map[string][]float64], name string, ours func(j judged) float64, gain func(float64) float64) {
	t.Helper()
	values := g.Values[name]
	if len(values) != len(g.Users) {
		t.Errorf("%s has %s for %d users of %d", g.Tool, name, len(values), len(g.Users))
		return
	}
	differ := 0.0
	for u, x := range g.Users {
		got := ours(judge(x.List, x.Relevant, gain))
		if math.Abs(got-values[u]) > 1e-6 {
			t.Errorf("%s of user %d is %.9f, %s has %.9f", name, u, got, g.Tool, values[u])
		}
		differ += values[u]
	}
	if differ == 0 {
		t.Errorf("%s of %s is 0 for everybody: the comparison says nothing", name, g.Tool)
	}
}

// overAll is average precision over all relevant titles, where ours is over as many as the list has room for.
func overAll(k int) func(j judged) float64 {
	return func(j judged) float64 {
		return AveragePrecision(j.hits, j.n, k) * float64(min(k, j.n)) / float64(j.n)
	}
}

func TestEqualToRanx(t *testing.T) {
	g := readGolden[map[string][]float64](t, "ranx")
	for name, ours := range map[string]func(judged) float64{
		"precision@10": func(j judged) float64 { return Precision(j.hits, 10) },
		"recall@10":    func(j judged) float64 { return Recall(j.hits, j.n, 10) },
		"hit_rate@10":  func(j judged) float64 { return HitRate(j.hits, 10) },
		"mrr@10":       func(j judged) float64 { return ReciprocalRank(j.hits, 10) },
		"map@10":       overAll(10),
		"ndcg@10":      func(j judged) float64 { return GradedNDCG(j.gains, j.ideal, 10) },
		"r-precision":  func(j judged) float64 { return RPrecision(j.hits, j.n) },
		"rbp.95":       func(j judged) float64 { return RBP(j.gains, 0.95) },
	} {
		checkGolden(t, g, name, ours, linear)
	}
	checkGolden(t, g, "ndcg_burges@10", func(j judged) float64 { return GradedNDCG(j.gains, j.ideal, 10) }, exponential)
}

func TestEqualToTrecEval(t *testing.T) {
	g := readGolden[map[string][]float64](t, "pytrec_eval")
	for name, ours := range map[string]func(judged) float64{
		"P_10":        func(j judged) float64 { return Precision(j.hits, 10) },
		"recall_10":   func(j judged) float64 { return Recall(j.hits, j.n, 10) },
		"success_10":  func(j judged) float64 { return HitRate(j.hits, 10) },
		"recip_rank":  func(j judged) float64 { return ReciprocalRank(j.hits, 20) },
		"map_cut_10":  overAll(10),
		"ndcg_cut_10": func(j judged) float64 { return GradedNDCG(j.gains, j.ideal, 10) },
		"Rprec":       func(j judged) float64 { return RPrecision(j.hits, j.n) },
	} {
		checkGolden(t, g, name, ours, linear)
	}
}

func TestEqualToRecPack(t *testing.T) {
	g := readGolden[map[string][]float64](t, "recpack")
	for name, ours := range map[string]func(judged) float64{
		"CalibratedRecallK_10": func(j judged) float64 { return CappedRecall(j.hits, j.n, 10) },
		"NDCGK_10":             func(j judged) float64 { return NDCG(j.hits, j.n, 10) },
		"PrecisionK_10":        func(j judged) float64 { return Precision(j.hits, 10) },
		"RecallK_10":           func(j judged) float64 { return Recall(j.hits, j.n, 10) },
		"ReciprocalRankK_10":   func(j judged) float64 { return ReciprocalRank(j.hits, 10) },
	} {
		checkGolden(t, g, name, ours, linear)
	}
}

func TestEqualToRecTools(t *testing.T) {
	g := readGolden[map[string][]float64](t, "rectools")
	const titles = 60
	met := make([]float32, titles)
	var rows []uint8
	for _, f := range g.Features {
		rows = append(rows, f...)
	}
	for _, x := range g.Users {
		for _, c := range x.Train {
			met[c]++
		}
	}
	// RecTools gives titles met equally often one rank, and the next rank to the next.
	levels := slices.Clone(met)
	slices.SortFunc(levels, func(a, b float32) int { return cmp.Compare(b, a) })
	levels = slices.Compact(levels)
	rank := make([]float64, titles)
	for i, m := range met {
		rank[i] = float64(slices.Index(levels, m) + 1)
	}
	distance := Hamming(rows, 8) // a share; RecTools counts
	for name, ours := range map[string]func(judged) float64{
		"precision":   func(j judged) float64 { return Precision(j.hits, 10) },
		"recall":      func(j judged) float64 { return Recall(j.hits, j.n, 10) },
		"hit_rate":    func(j judged) float64 { return HitRate(j.hits, 10) },
		"map":         overAll(10),
		"mrr":         func(j judged) float64 { return ReciprocalRank(j.hits, 10) },
		"novelty":     func(j judged) float64 { return Novelty(j.list[:10], met, len(g.Users)) },
		"popularity":  func(j judged) float64 { return RecommendedPopularity(j.list[:10], met) },
		"serendipity": func(j judged) float64 { return Serendipity(j.list, j.relevant, rank, 10) },
		"diversity":   func(j judged) float64 { return 8 * Diversity(j.list[:10], distance) },
	} {
		checkGolden(t, g, name, ours, linear)
	}
	c := NewCoverage(titles)
	for _, x := range g.Users {
		c.Add(x.List[:10])
	}
	near(t, "coverage", c.Value(), g.Values["coverage"][0])
}

func TestEqualToScikitLearnAndSciPy(t *testing.T) {
	g := readGolden[struct {
		Probability     []float64
		Positive        []int
		Brier, AUC, KL  float64
		LogLoss         float64 `json:"log_loss"`
		History, Listed []float64
		Counts          []int
		Entropy, Gini   float64
	}](t, "sklearn").Values
	positive := make([]bool, len(g.Positive))
	for i, p := range g.Positive {
		positive[i] = p == 1
	}
	check := func(name string, want float64, ours func() (float64, error)) {
		t.Helper()
		got, err := ours()
		if err != nil || math.Abs(got-want) > 1e-6 || want == 0 {
			t.Errorf("%s is %.9f, want %.9f: %v", name, got, want, err)
		}
	}
	check("brier", g.Brier, func() (float64, error) { return Brier(g.Probability, positive) })
	check("log loss", g.LogLoss, func() (float64, error) { return LogLoss(g.Probability, positive) })
	check("auc", g.AUC, func() (float64, error) { return AUC(g.Probability, positive) })
	check("kl", g.KL, func() (float64, error) { return Miscalibration(g.History, g.Listed, 0.01) })
	e := &Exposure{g.Counts}
	check("entropy", g.Entropy, func() (float64, error) { return e.Entropy(), nil })
	check("gini", g.Gini, func() (float64, error) { return e.Gini(), nil })
}

func TestProbabilitiesThatAreNone(t *testing.T) {
	for name, c := range map[string]struct {
		p []float64
		y []bool
	}{"none": {nil, nil}, "lengths": {[]float64{1}, nil}, "above": {[]float64{2}, []bool{true}}, "NaN": {[]float64{math.NaN()}, []bool{true}}} {
		if _, err := Brier(c.p, c.y); err == nil {
			t.Errorf("Brier of %s", name)
		}
		if _, err := LogLoss(c.p, c.y); err == nil {
			t.Errorf("log loss of %s", name)
		}
	}
	if _, err := AUC([]float64{1, 2}, []bool{true, true}); err == nil {
		t.Error("AUC without a negative")
	}
	if v, err := LogLoss([]float64{0, 1}, []bool{true, false}); err != nil || math.IsInf(v, 0) {
		t.Errorf("log loss of certain mistakes is %g: %v", v, err)
	}
	if _, err := Miscalibration([]float64{1}, []float64{0}, 0.01); err == nil {
		t.Error("calibration of an empty list")
	}
	if _, err := Miscalibration([]float64{1}, []float64{1, 2}, 0.01); err == nil {
		t.Error("calibration over different genres")
	}
}
