package compare

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

func near(t *testing.T, name string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9+1e-6*math.Abs(want) {
		t.Errorf("%s is %.12g, want %.12g", name, got, want)
	}
}

// TestEqualToSciPy holds the tests to golden values that testdata/golden.py wrote.
func TestEqualToSciPy(t *testing.T) {
	text, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		A, B                []float64
		W, Wilcoxon, Effect float64
		Permutation         *float64
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	permuted := 0
	for _, c := range cases {
		w, p, err := Wilcoxon(c.A, c.B)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "W", w, c.W)
		near(t, "Wilcoxon's p", p, c.Wilcoxon)
		d, err := Effect(c.A, c.B)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "effect", d, c.Effect)
		if c.Permutation != nil {
			p, err := Permutation(c.A, c.B, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "permutation's p", p, *c.Permutation)
			permuted++
		}
	}
	if len(cases) != 4 || permuted != 2 {
		t.Errorf("%d cases, %d with a permutation test", len(cases), permuted)
	}
}

func TestDrawnPermutationsNearAllOfThem(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	a, b := make([]float64, 20), make([]float64, 20)
	for i := range a {
		a[i], b[i] = rng.NormFloat64()+0.4, rng.NormFloat64()
	}
	exact, err := Permutation(a, b, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	// A twenty-first user without a difference changes nothing but the way it is computed.
	a, b = append(a, 0), append(b, 0)
	drawn, err := Permutation(a, b, 20_000, 7)
	if err != nil {
		t.Fatal(err)
	}
	if sd := math.Sqrt(exact * (1 - exact) / 20_000); math.Abs(drawn-exact) > 5*sd+1e-4 {
		t.Errorf("drawn %g, exact %g", drawn, exact)
	}
	again, err := Permutation(a, b, 20_000, 7)
	if err != nil || again != drawn {
		t.Errorf("the same seed gave %g and %g: %v", drawn, again, err)
	}
}

// TestPIsUniformWithoutADifference: under the null hypothesis a p below .05 comes up in about one of twenty.
func TestPIsUniformWithoutADifference(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	below := map[string]int{}
	for range 400 {
		a, b := make([]float64, 60), make([]float64, 60)
		for i := range a {
			a[i], b[i] = rng.NormFloat64(), rng.NormFloat64()
		}
		p, err := Permutation(a, b, 400, rng.Uint64())
		if err != nil {
			t.Fatal(err)
		}
		_, w, err := Wilcoxon(a, b)
		if err != nil {
			t.Fatal(err)
		}
		if p < 0.05 {
			below["permutation"]++
		}
		if w < 0.05 {
			below["Wilcoxon"]++
		}
	}
	for _, name := range []string{"permutation", "Wilcoxon"} {
		if n := below[name]; n < 5 || n > 40 {
			t.Errorf("%s: p below .05 in %d of 400", name, n)
		}
	}
}

func TestHolm(t *testing.T) {
	// Sorted .005 .01 .03 .04 times 4 3 2 1, made monotone.
	got := Holm([]float64{0.01, 0.04, 0.03, 0.005})
	want := []float64{0.03, 0.06, 0.06, 0.02}
	for i := range want {
		near(t, "adjusted p", got[i], want[i])
	}
	if got := Holm([]float64{0.9, 0.8}); !slices.Equal(got, []float64{1, 1}) {
		t.Errorf("%v", got)
	}
	if got := Holm(nil); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestWhatCannotBeCompared(t *testing.T) {
	for name, c := range map[string][2][]float64{
		"nobody": {nil, nil}, "other users": {{1, 2}, {1}}, "NaN": {{math.NaN()}, {1}}, "infinite": {{math.Inf(1)}, {1}},
	} {
		if _, err := Permutation(c[0], c[1], 1000, 1); !errors.Is(err, ErrPairs) {
			t.Errorf("permutation of %s: %v", name, err)
		}
		if _, _, err := Wilcoxon(c[0], c[1]); !errors.Is(err, ErrPairs) {
			t.Errorf("Wilcoxon of %s: %v", name, err)
		}
		if _, err := Effect(c[0], c[1]); !errors.Is(err, ErrPairs) {
			t.Errorf("effect of %s: %v", name, err)
		}
	}
	same := []float64{1, 2, 3}
	if _, p, err := Wilcoxon(same, same); err != nil || p != 1 {
		t.Errorf("no difference: %g, %v", p, err)
	}
	if p, err := Permutation(same, same, 100, 1); err != nil || p != 1 {
		t.Errorf("no difference: %g, %v", p, err)
	}
	if d, err := Effect(same, same); err != nil || d != 0 {
		t.Errorf("no difference: %g, %v", d, err)
	}
	if _, err := Permutation(make([]float64, 30), make([]float64, 30), 5, 1); !errors.Is(err, ErrPairs) {
		t.Errorf("five rounds: %v", err)
	}
}
