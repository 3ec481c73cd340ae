package gbdt

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// shown is a log of slates: what stood higher was better by chance of the policy, which puts what people want first but for noise. It gives
// every example's true chance of being wanted as well.
func shown(slates int, seed uint64, rows int) (Examples, []float64) {
	rng := rand.New(rand.NewPCG(seed, 5))
	const size = 12
	e := Examples{X: Matrix{Cols: 3}}
	var truth []float64
	for range slates {
		row := rng.IntN(rows)
		var list [size][3]float32
		for i := range list {
			list[i] = [3]float32{float32(rng.NormFloat64()), float32(rng.NormFloat64()), float32(rng.NormFloat64())}
		}
		// Bubble the better ones up, now and then.
		for i := size - 1; i > 0; i-- {
			if list[i][0] > list[i-1][0] && rng.Float64() < 0.8 {
				list[i], list[i-1] = list[i-1], list[i]
			}
		}
		for rank, x := range list {
			wanted := sigmoid(float64(1.2*x[0]+0.8*x[1]) - 1.5)
			label := float32(0)
			if rng.Float64() < notice(Position{uint32(row), uint32(rank)})*wanted {
				label = 1
			}
			e.X.Values = append(e.X.Values, x[:]...)
			e.X.Rows++
			e.Label, e.Positions, truth = append(e.Label, label), append(e.Positions, Position{uint32(row), uint32(rank)}), append(truth, wanted)
		}
		e.Groups = append(e.Groups, size)
	}
	return e, truth
}

func notice(p Position) float64 { return 1 / math.Sqrt(float64(p.Rank+1)) / (1 + 0.5*float64(p.Row)) }

// TestClicksTellPositionFromWish: the chance of being noticed and that of being wanted are told apart, within a tenth, and what is wanted is
// told better than by taking every slate at its word.
func TestClicksTellPositionFromWish(t *testing.T) {
	e, truth := shown(12_000, 3, 3)
	cfg := quick()
	cfg.Rounds, cfg.LearningRate = 120, 0.1
	o := NewClicks()
	m := train(t, e, o, cfg, Options{})
	for rank, got := range o.Ranks {
		if want := notice(Position{Rank: uint32(rank)}); math.Abs(got/want-1) > 0.1 {
			t.Errorf("rank %d is noticed with %.3f, truly with %.3f", rank, got, want)
		}
	}
	for row, got := range o.Rows {
		if want := notice(Position{Row: uint32(row)}); math.Abs(got/want-1) > 0.1 {
			t.Errorf("row %d is noticed with %.3f, truly with %.3f", row, got, want)
		}
	}
	naive := train(t, e, Logistic(), cfg, Options{})
	apart := func(m *Model) (worst float64) {
		for i, x := range m.Scores(e.X, 0) {
			worst += math.Abs(sigmoid(float64(x))-truth[i]) / float64(len(truth))
		}
		return worst
	}
	if a, b := apart(m), apart(naive); a > 0.03 || b < 2*a {
		t.Errorf("wanted is missed by %.4f in the mean, without regard to positions by %.4f", a, b)
	}
}

// TestClicksGradient holds the derivatives against differences of the loss, the chances of being noticed held still.
func TestClicksGradient(t *testing.T) {
	e, _ := shown(10, 4, 2)
	n := e.X.Rows
	o := NewClicks()
	o.base(e)
	score := make([]float32, n)
	for i := range score {
		score[i] = float32(i%7) - 3
	}
	g, h := make([]float32, n), make([]float32, n)
	o.gradients(e, score, g, h, 2)
	for i := range score {
		const d = 1.0 / 64
		at := score[i]
		score[i] = at + d
		up := o.loss(e, score)
		score[i] = at - d
		down := o.loss(e, score)
		score[i] = at
		if want := (up - down) / (2 * d) * float64(n); math.Abs(want-float64(g[i])) > 1e-3 || h[i] <= 0 {
			t.Errorf("gradient %g of example %d, differences say %g; curvature %g", g[i], i, want, h[i])
		}
	}
}

// TestClicksOfFewPlaces: places nobody was shown anything at are as the ones before.
func TestClicksOfFewPlaces(t *testing.T) {
	e, _ := shown(2000, 6, 1)
	for i := range e.Positions {
		e.Positions[i].Rank *= 20 // up to 220, beyond what is told apart
	}
	o := NewClicks()
	train(t, e, o, quick(), Options{})
	if len(o.Ranks) != MaxPosition+1 || len(o.Rows) != 1 {
		t.Fatalf("%d ranks and %d rows", len(o.Ranks), len(o.Rows))
	}
	for rank := 1; rank < MaxPosition; rank++ {
		if rank%20 != 0 && math.Abs(o.Ranks[rank]/o.Ranks[rank-1]-1) > 0.02 {
			t.Errorf("rank %d, which was never seen, is noticed with %.3f, the one before with %.3f", rank, o.Ranks[rank], o.Ranks[rank-1])
		}
	}
	if far := (Position{7, 5000}); o.Examination(far) != o.Ranks[MaxPosition] {
		t.Errorf("%v is noticed with %g", far, o.Examination(far))
	}
}

func TestClicksRefuse(t *testing.T) {
	e, _ := shown(5, 7, 1)
	short := e
	short.Positions = e.Positions[1:]
	half := e
	half.Label = append([]float32{0.5}, e.Label[1:]...)
	for name, bad := range map[string]Examples{"a position short": short, "half a click": half} {
		if _, err := Train(t.Context(), bad, NewClicks(), quick(), Options{}); !errors.Is(err, ErrData) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
