package forest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"marquee/training/gbdt"
)

// grown is a random model: trees of up to so many leaves, some of one.
func grown(r *rand.Rand, features, trees, leaves int) *gbdt.Model {
	m := &gbdt.Model{Features: features, Base: r.Float32()}
	for range trees {
		t := gbdt.Tree{{Value: r.Float32() - .5}}
		open := []int{0}
		for n := 1; n < 1+r.IntN(leaves); n++ {
			pick := r.IntN(len(open))
			at := open[pick]
			t[at] = gbdt.Node{Feature: int32(r.IntN(features)), Threshold: float32(r.IntN(8)), Left: int32(len(t)), Right: int32(len(t) + 1), MissingLeft: r.IntN(2) == 0}
			open[pick] = len(t)
			open = append(open, len(t)+1)
			t = append(t, gbdt.Node{Value: r.Float32() - .5}, gbdt.Node{Value: r.Float32() - .5})
		}
		m.Trees = append(m.Trees, t)
	}
	return m
}

// examples have values that meet thresholds exactly, beside unknown and infinite ones.
func examples(r *rand.Rand, n, features int) []float32 {
	out := make([]float32, n*features)
	for i := range out {
		switch r.IntN(8) {
		case 0:
			out[i] = float32(math.NaN())
		case 1:
			out[i] = float32(math.Inf(1 - 2*r.IntN(2)))
		default:
			out[i] = float32(r.IntN(32)) / 4
		}
	}
	return out
}

func TestTheSameNumbersAsTheTrees(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s Scratch
	for trial := range 300 {
		features, n := 1+r.IntN(12), r.IntN(50)
		m := grown(r, features, r.IntN(20), Leaves)
		if err := m.Validate(); err != nil {
			t.Fatal(err)
		}
		f, ok := New(m)
		if !ok {
			t.Fatal("trees of at most", Leaves, "leaves were refused")
		}
		rows, got := examples(r, n, features), make([]float32, n)
		f.Raw(got, rows, &s)
		for i := range got {
			if want := m.Raw(rows[i*features : (i+1)*features]); got[i] != want {
				t.Fatalf("trial %d: example %d = %v, the trees say %v", trial, i, got[i], want)
			}
		}
	}
}

func TestLargerTreesAreRefused(t *testing.T) {
	m := &gbdt.Model{Features: 1}
	tree := gbdt.Tree{}
	for i := range Leaves { // a chain of as many tests has one leaf too many
		tree = append(tree, gbdt.Node{Threshold: float32(i), Left: int32(2*i + 1), Right: int32(2*i + 2)}, gbdt.Node{})
	}
	m.Trees = []gbdt.Tree{append(tree, gbdt.Node{})}
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	if _, ok := New(m); ok {
		t.Errorf("a tree of %d leaves was taken", Leaves+1)
	}
}

func TestNoExamples(t *testing.T) {
	f, _ := New(&gbdt.Model{Features: 3})
	f.Raw(nil, nil, &Scratch{})
	one := make([]float32, 1)
	f.Raw(one, make([]float32, 3), &Scratch{})
	if one[0] != 0 {
		t.Errorf("a model without trees says %v", one[0])
	}
}

func BenchmarkRaw(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const features, trees = 33, 150
	m := &gbdt.Model{Features: features}
	for len(m.Trees) < trees {
		for _, t := range grown(r, features, 1, Leaves).Trees {
			if len(t) == 2*Leaves-1 {
				m.Trees = append(m.Trees, t)
			}
		}
	}
	for _, n := range []int{50, 250} {
		rows, dst := examples(r, n, features), make([]float32, n)
		b.Run(fmt.Sprintf("trees/%d", n), func(b *testing.B) {
			for b.Loop() {
				for i := range dst {
					dst[i] = m.Raw(rows[i*features : (i+1)*features])
				}
			}
		})
		b.Run(fmt.Sprintf("forest/%d", n), func(b *testing.B) {
			f, _ := New(m)
			var s Scratch
			for b.Loop() {
				f.Raw(dst, rows, &s)
			}
		})
	}
}
