package nightly

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"marquee/eval/metric"
	"marquee/training/als"
	"marquee/training/dataset"
	"marquee/training/model"
)

func against(name string, mean, low, high, ratio float64) Comparison {
	return Comparison{Against: name, Difference: metric.Interval{Mean: mean, Low: low, High: high, Level: 0.95}, Ratio: ratio}
}

func TestTheGate(t *testing.T) {
	r := Recipe{ALS: als.DefaultConfig()}
	first := &incumbentRelease{}
	before := &incumbentRelease{ID: "x", Recipe: &r, Size: size{Interactions: 1000}}
	unknown := &incumbentRelease{ID: "x", Why: "it is by hand", Size: size{Interactions: 1000}}
	same := against(modelIncumbent, 0, 0, 0, 1)
	same.Note = sameRecipe
	for _, c := range []struct {
		name         string
		comparisons  []Comparison
		interactions int64
		incumbent    *incumbentRelease
		pass         bool
		want         string
	}{
		{"first", []Comparison{against(modelPopular, .1, .05, .2, 2)}, 10, first, true, "no release before it"},
		{"popularity beyond doubt", []Comparison{against(modelPopular, -.1, -.2, -.05, .5)}, 10, first, false, "popular beats it"},
		{"decayed popularity beyond doubt", []Comparison{against(modelPopularDecayed, -.1, -.2, -.05, .5)}, 10, first, false, "popular_decayed beats it"},
		{"popularity perhaps", []Comparison{against(modelPopular, -.1, -.2, .001, .5)}, 10, first, true, ""},
		{"better", []Comparison{against(modelIncumbent, .1, .05, .2, 1.5)}, 1000, before, true, "no worse than the incumbent"},
		{"a little worse", []Comparison{against(modelIncumbent, -.001, -.01, .01, .985)}, 1000, before, true, ""},
		{"just at the limit", []Comparison{against(modelIncumbent, -.001, -.01, .01, .98)}, 1000, before, true, ""},
		{"worse, perhaps by chance", []Comparison{against(modelIncumbent, -.01, -.02, .01, .979)}, 1000, before, false, "97.9% of its value; at least 98.0%"},
		{"a little worse for sure", []Comparison{against(modelIncumbent, -.001, -.002, -.0001, .99)}, 1000, before, false, "worse than the incumbent"},
		{"worth nothing", []Comparison{against(modelIncumbent, -.01, -.02, .01, 0)}, 1000, before, false, "0.0% of its value"},
		{"beside an incumbent worth nothing", []Comparison{against(modelIncumbent, .01, 0, .02, 0)}, 1000, before, true, ""},
		{"same recipe", []Comparison{same}, 1000, before, true, "same recipe"},
		{"incumbent by hand", nil, 1000, unknown, true, "could not be compared: it is by hand"},
		{"half the data", nil, 500, unknown, true, ""},
		{"less than half the data", []Comparison{same}, 499, before, false, "499 interactions, less than half of the incumbent's 1000"},
		{"no data", []Comparison{same}, 0, before, false, "less than half"},
		{"two reasons", []Comparison{against(modelPopular, -.1, -.2, -.05, .5)}, 1, before, false, "popular beats it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := decide(c.comparisons, size{Interactions: c.interactions}, c.incumbent, 0.02)
			if v.Pass != c.pass || len(v.Reasons) == 0 || !strings.Contains(v.Reasons[0], c.want) {
				t.Errorf("%+v, want pass %v and %q", v, c.pass, c.want)
			}
			if c.name == "two reasons" && len(v.Reasons) != 2 {
				t.Errorf("reasons %q", v.Reasons)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	a := &Result{NDCG: []float64{.5, .7}, Metrics: map[string]float64{"ndcg@10": .6}}
	b := &Result{NDCG: []float64{.3, .3}, Metrics: map[string]float64{"ndcg@10": .3}}
	c, err := compare(a, b, "other")
	if err != nil || c.Against != "other" || math.Abs(c.Difference.Mean-.3) > 1e-9 || math.Abs(c.Ratio-2) > 1e-9 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := compare(a, &Result{NDCG: []float64{1}}, "other"); err == nil || !strings.Contains(err.Error(), "compare with other") {
		t.Errorf("other users: %v", err)
	}
}

// TestTheRecipeTravelsInTheManifest also with seeds that a JSON number of most readers cannot hold.
func TestTheRecipeTravelsInTheManifest(t *testing.T) {
	for _, seed := range []uint64{0, 1, 1<<53 + 1, math.MaxUint64} {
		r := Recipe{ALS: als.DefaultConfig()}
		r.ALS.Seed, r.ALS.Workers, r.ALS.Regularization = seed, 3, 1.0/3
		hyper, err := r.hyperparameters()
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(model.Manifest{Seed: seed, Hyperparameters: hyper})
		if err != nil {
			t.Fatal(err)
		}
		var m model.Manifest
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		got, err := recipeOf(m)
		if err != nil || got != r.comparable() {
			t.Errorf("seed %d: %+v (%v), want %+v", seed, got, err, r.comparable())
		}
	}
	for _, hyper := range []map[string]any{nil, {"knn": 1}, {"als": "yes"}, {"als": map[string]any{"Dim": "many"}}} {
		if r, err := recipeOf(model.Manifest{Hyperparameters: hyper}); err == nil {
			t.Errorf("%v is read as %+v", hyper, r)
		}
	}
}

// TestMatrix: what was watched pulls, what was abandoned or disliked pushes, and the data stay as they are.
func TestMatrix(t *testing.T) {
	x, err := dataset.FromTriplets([]dataset.Triplet{{Profile: "p", Title: "a", Strength: 1, At: 1}, {Profile: "p", Title: "b", At: 2}, {Profile: "p", Title: "c", At: 3}, {Profile: "p", Title: "d", Strength: .5, At: 3}})
	if err != nil {
		t.Fatal(err)
	}
	x.Flags[1], x.Flags[2], x.Flags[3] = dataset.Abandoned, dataset.Disliked, dataset.Abandoned
	m := Matrix(x)
	if v := m.Values; v[0] != 1 || v[1] >= 0 || v[2] >= v[1] || v[3] != .5 {
		t.Errorf("values %v", v)
	}
	if v := x.ByProfile.Values; v[1] != 0 || v[2] != 0 {
		t.Errorf("the data were changed to %v", v)
	}
}

func TestConfigValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for field, change := range map[string]func(*Config){
		"holdout_quantile":     func(c *Config) { c.HoldoutQuantile = 1 },
		"holdout_quantile ":    func(c *Config) { c.HoldoutQuantile = math.NaN() },
		"popularity_half_life": func(c *Config) { c.PopularityHalfLife = time.Minute },
		"max_loss":             func(c *Config) { c.MaxLoss = -0.1 },
		"max_loss ":            func(c *Config) { c.MaxLoss = math.NaN() },
		"keep_releases":        func(c *Config) { c.KeepReleases = 1 },
		"keep_snapshots":       func(c *Config) { c.KeepSnapshots = 0 },
		"lease_ttl":            func(c *Config) { c.LeaseTTL = time.Millisecond },
		"index":                func(c *Config) { c.Index = "faiss" },
		"ranker":               func(c *Config) { c.Ranker = "true" },
	} {
		c := DefaultConfig()
		change(&c)
		want := "training.nightly." + strings.TrimSpace(field) + " must be "
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := (Config{}).Validate(); strings.Count(err.Error(), "\n") != 6 {
		t.Errorf("all at once: %v", err)
	}
}
