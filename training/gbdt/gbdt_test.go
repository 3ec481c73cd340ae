package gbdt

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// worlds draws examples whose label hangs on a product of two features, on a third being known, and on noise; the last feature
// says nothing.
func world(n int, seed uint64) Examples {
	rng := rand.New(rand.NewPCG(seed, 1))
	e := Examples{X: Matrix{n, 4, make([]float32, n*4)}, Label: make([]float32, n)}
	for i := range n {
		x := e.X.Row(i)
		for f := range x {
			x[f] = float32(rng.NormFloat64())
		}
		odds := -1.0
		if x[0]*x[1] > 0 {
			odds += 3
		}
		if rng.IntN(3) == 0 {
			x[2] = float32(math.NaN())
			odds -= 2
		}
		if rng.Float64() < sigmoid(odds) {
			e.Label[i] = 1
		}
	}
	return e
}

func quick() Config {
	c := DefaultConfig()
	c.Rounds, c.Leaves, c.MinLeaf, c.LearningRate = 60, 15, 20, 0.15
	return c
}

func train(t *testing.T, e Examples, o Objective, c Config, opts Options) *Model {
	t.Helper()
	m, err := Train(context.Background(), e, o, c, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLearnsWhatTheLabelsHangOn(t *testing.T) {
	e, held := world(20_000, 1), world(5_000, 2)
	m := train(t, e, Logistic(), quick(), Options{})
	var truth float64 // the entropy of the world itself, which no model can beat
	for i := range held.X.Rows {
		x := held.X.Row(i)
		odds := -1.0
		if x[0]*x[1] > 0 {
			odds += 3
		}
		if x[2] != x[2] {
			odds -= 2
		}
		truth += math.Log1p(math.Exp(odds)) - float64(held.Label[i])*odds
	}
	truth /= float64(held.X.Rows)
	if loss := (logistic{}).loss(held, m.Scores(held.X, 0)); loss > truth+0.02 {
		t.Errorf("cross entropy %.4f on held-out examples; the world's own is %.4f", loss, truth)
	}
	importance, err := m.Importance(held, Logistic(), 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	if importance[0] < 0.05 || importance[1] < 0.05 || importance[2] < 0.02 || importance[3] > 0.01 {
		t.Errorf("importances %v: the first three decide, the last says nothing", importance)
	}
}

func TestSameTreesOnAnyNumberOfGoroutines(t *testing.T) {
	e := world(8_000, 3)
	one, four := quick(), quick()
	one.Workers, four.Workers = 1, 4
	a, b := train(t, e, Logistic(), one, Options{}), train(t, e, Logistic(), four, Options{})
	if d := cmp.Diff(a, b); d != "" {
		t.Error(d)
	}
	four.Seed++
	if cmp.Equal(a, train(t, e, Logistic(), four, Options{})) {
		t.Error("another seed gives the same trees")
	}
}

func TestSquaredApproachesTheMean(t *testing.T) {
	e := world(10_000, 4)
	for i := range e.X.Rows {
		e.Label[i] = 10 + e.X.Row(i)[0]*2
	}
	c := quick()
	c.Rounds = 150
	m := train(t, e, Squared(), c, Options{})
	if loss := (squared{}).loss(e, m.Scores(e.X, 0)); loss > 0.05 {
		t.Errorf("mean squared error %g of a straight line with variance 4", loss)
	}
}

// queries draws groups in which relevance grows with a feature that the group's own level hides from a model of single examples.
func queries(groups int, seed uint64) Examples {
	rng := rand.New(rand.NewPCG(seed, 2))
	var e Examples
	e.X.Cols = 3
	for range groups {
		level := float32(rng.NormFloat64() * 10)
		n := 5 + rng.IntN(20)
		e.Groups = append(e.Groups, n)
		for range n {
			a, b := float32(rng.NormFloat64()), float32(rng.NormFloat64())
			e.X.Values = append(e.X.Values, a, b, level)
			e.X.Rows++
			e.Label = append(e.Label, float32(min(4, max(0, math.Round(float64(a+b/2)+1+rng.NormFloat64()/2)))))
		}
	}
	return e
}

func TestLambdaRankOrders(t *testing.T) {
	e, held := queries(400, 1), queries(200, 2)
	o := lambdaRank{10}
	m := train(t, e, o, quick(), Options{})
	best := make([]float32, held.X.Rows)
	for i := range best {
		best[i] = held.X.Row(i)[0] + held.X.Row(i)[1]/2
	}
	got, bound, start := o.loss(held, m.Scores(held.X, 0)), o.loss(held, best), o.loss(held, make([]float32, held.X.Rows))
	if got > bound+0.02 || start < bound+0.1 {
		t.Errorf("1-NDCG %.4f; by the world's own score %.4f, unordered %.4f", got, bound, start)
	}
}

// TestGradients holds the derivatives against differences of the loss.
func TestGradients(t *testing.T) {
	e := world(50, 5)
	e.Weight = make([]float32, 50)
	var total float64
	rng := rand.New(rand.NewPCG(1, 1))
	score := make([]float32, 50)
	for i := range score {
		score[i], e.Weight[i] = float32(rng.NormFloat64()), rng.Float32()
		total += float64(e.Weight[i])
	}
	g, h := make([]float32, 50), make([]float32, 50)
	for name, c := range map[string]struct {
		o     Objective
		scale float64 // of the mean's gradient to the sum's, with the square's factor 2
	}{"logistic": {Logistic(), total}, "squared": {Squared(), total / 2}} {
		c.o.gradients(e, score, g, h, 2)
		for i := range score {
			const d = 1.0 / 64
			at := score[i]
			score[i] = at + d
			up := c.o.loss(e, score)
			score[i] = at - d
			down := c.o.loss(e, score)
			score[i] = at
			if want := (up - down) / (2 * d) * c.scale; math.Abs(want-float64(g[i])) > 1e-4 {
				t.Errorf("%s: gradient %g of example %d, differences say %g", name, g[i], i, want)
			}
		}
	}
}

// TestLambdasMoveTheRightWay: within each group lambdas add up to 0, and of two alike scores the more relevant rises.
func TestLambdasMoveTheRightWay(t *testing.T) {
	e := queries(20, 9)
	g, h := make([]float32, e.X.Rows), make([]float32, e.X.Rows)
	lambdaRank{5}.gradients(e, make([]float32, e.X.Rows), g, h, 1)
	at := 0
	for _, n := range e.Groups {
		var sum float64
		for _, x := range g[at : at+n] {
			sum += float64(x)
		}
		if math.Abs(sum) > 1e-5 {
			t.Errorf("lambdas of a group add up to %g", sum)
		}
		most := slices.Max(e.Label[at : at+n])
		for i := at; i < at+n; i++ {
			if e.Label[i] == most && g[i] > 0 {
				t.Errorf("one of the most relevant titles is pushed down by %g", g[i])
			}
		}
		at += n
	}
}

func TestEarlyStoppingKeepsTheBestTrees(t *testing.T) {
	e, held := world(600, 6), world(600, 7)
	c := quick()
	c.Rounds, c.MinLeaf, c.LearningRate, c.Patience = 500, 1, 0.5, 10
	var losses []float64
	m := train(t, e, Logistic(), c, Options{Validation: &held, Progress: func(_ int, _, v float64) { losses = append(losses, v) }})
	if len(losses) == c.Rounds {
		t.Fatal("trees that overfit did not stop early")
	}
	best := 1
	for i, l := range losses {
		if l < losses[best-1] {
			best = i + 1
		}
	}
	if len(m.Trees) != best {
		t.Errorf("%d trees kept, the loss was least at %d", len(m.Trees), best)
	}
}

func TestBinsSeparateDistinctValues(t *testing.T) {
	nan := float32(math.NaN())
	x := Matrix{6, 1, []float32{3, nan, 1, 2, 2, 1}}
	b := bin(x, 255)
	if d := cmp.Diff([]uint8{3, 0, 1, 2, 2, 1}, b.columns[0]); d != "" {
		t.Error(d)
	}
	// Neighbouring floats have nothing between them.
	a := float32(1)
	next := math.Nextafter32(a, 2)
	if got := edges([]float32{a, next}, 4); len(got) != 1 || !(a <= got[0] && next > got[0]) {
		t.Errorf("edges %v do not separate %v from %v", got, a, next)
	}
	many := make([]float32, 10_000)
	for i := range many {
		many[i] = float32(i)
	}
	if got := edges(many, 16); len(got) != 15 || math.Abs(float64(got[7])-5000) > 700 {
		t.Errorf("16 intervals of 0 to 9999 end at %v", got)
	}
}

func TestOddExamples(t *testing.T) {
	alike := world(200, 8)
	for i := range alike.Label {
		alike.Label[i] = 1
	}
	if p := sigmoid(float64(train(t, alike, Logistic(), quick(), Options{}).Raw(alike.X.Row(0)))); p < 0.99 {
		t.Errorf("probability %g where all labels are 1", p)
	}
	one := Examples{X: Matrix{1, 1, []float32{5}}, Label: []float32{7}}
	if got := train(t, one, Squared(), quick(), Options{}).Raw([]float32{5}); got != 7 {
		t.Errorf("one example of 7 gives %g", got)
	}
	constant := Examples{X: Matrix{4, 1, []float32{1, 1, 1, 1}}, Label: []float32{0, 1, 0, 1}}
	if m := train(t, constant, Logistic(), quick(), Options{}); math.IsNaN(float64(m.Raw([]float32{1}))) {
		t.Error("NaN of a feature with one value")
	}
}

func TestRefuses(t *testing.T) {
	inf := float32(math.Inf(1))
	ok := Examples{X: Matrix{2, 1, []float32{1, 2}}, Label: []float32{0, 1}}
	with := func(f func(*Examples)) Examples {
		e := ok
		f(&e)
		return e
	}
	for name, c := range map[string]struct {
		e    Examples
		o    Objective
		want string
	}{
		"nothing":         {Examples{}, Logistic(), "0 x 0 features"},
		"labels missing":  {with(func(e *Examples) { e.Label = e.Label[:1] }), Logistic(), "2 rows have 1 labels"},
		"infinite":        {with(func(e *Examples) { e.X.Values = []float32{1, inf} }), Logistic(), "feature 0 of row 1 is infinite"},
		"label NaN":       {with(func(e *Examples) { e.Label = []float32{0, float32(math.NaN())} }), Squared(), "row 1 has label NaN"},
		"label above 1":   {with(func(e *Examples) { e.Label = []float32{0, 2} }), Logistic(), "row 1 has label 2"},
		"negative weight": {with(func(e *Examples) { e.Weight = []float32{0, -1} }), Logistic(), "row 1 weighs -1"},
		"no groups":       {ok, LambdaRank(5), "there are none"},
		"groups too long": {with(func(e *Examples) { e.Groups = []int{3} }), LambdaRank(5), "3 rows in all, but 2"},
		"empty group":     {with(func(e *Examples) { e.Groups = []int{2, 0} }), LambdaRank(5), "group 1 has 0 rows"},
		"relevance":       {with(func(e *Examples) { e.Groups, e.Label = []int{2}, []float32{0, 99} }), LambdaRank(5), "relevance 99"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Train(context.Background(), c.e, c.o, quick(), Options{})
			if !errors.Is(err, ErrData) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not say %q", err, c.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Train(ctx, ok, Logistic(), quick(), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run ends with %v", err)
	}
	bad := Config{Rounds: -1, Bins: 300, LearningRate: 2, L2: math.NaN()}
	if err := bad.Validate(); err == nil || strings.Count(err.Error(), "\n") != 7 {
		t.Errorf("eight fields out of range give %v", err)
	}
	for name, m := range map[string]Model{
		"no node":  {1, 0, []Tree{{}}},
		"a cycle":  {1, 0, []Tree{{{Left: 1, Right: 2}, {Left: 1, Right: 2}, {}}}},
		"children": {1, 0, []Tree{{{Left: 1, Right: 9}, {}}}},
		"feature":  {1, 0, []Tree{{{Feature: 3, Left: 1, Right: 2}, {}, {}}}},
	} {
		if err := m.Validate(); !errors.Is(err, ErrData) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkTrain(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	const n, f = 200_000, 30
	e := Examples{X: Matrix{n, f, make([]float32, n*f)}, Label: make([]float32, n)}
	for i := range e.X.Values {
		e.X.Values[i] = rng.Float32()
	}
	for i := range n {
		if x := e.X.Row(i); x[0]+x[1]*x[2] > rng.Float32()*2 {
			e.Label[i] = 1
		}
	}
	c := DefaultConfig()
	c.Rounds = 20
	for b.Loop() {
		if _, err := Train(context.Background(), e, Logistic(), c, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*n*c.Rounds)/b.Elapsed().Seconds()/1e6, "Mrows*trees/s")
}
