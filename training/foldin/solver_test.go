package foldin

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
)

func randomFactors(seed uint64, rows, dim, stride int) Factors {
	rng := rand.New(rand.NewPCG(seed, 9))
	f := Factors{Data: make([]float32, rows*stride), Rows: rows, Dim: dim, Stride: stride}
	for r := range rows {
		for j := range dim {
			f.Row(r)[j] = float32(rng.NormFloat64())
		}
	}
	return f
}

func newSolver(t *testing.T, f Factors, p Params) *Solver {
	t.Helper()
	s, err := NewSolver(f, Gramian(f, 2), p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGramianAgainstGonum(t *testing.T) {
	for _, f := range []Factors{randomFactors(1, 0, 5, 5), randomFactors(2, 1, 1, 1), randomFactors(3, 3000, 20, 32), randomFactors(4, 1300, 48, 48), randomFactors(5, 700, 7, 9)} {
		want := mat.NewSymDense(f.Dim, nil)
		for r := range f.Rows {
			row := mat.NewVecDense(f.Dim, nil)
			for j, v := range f.Row(r) {
				row.SetVec(j, float64(v))
			}
			want.SymRankOne(want, 1, row)
		}
		got := Gramian(f, 1)
		for i, v := range got {
			if math.Abs(v-want.At(i/f.Dim, i%f.Dim)) > 1e-3 {
				t.Fatalf("%d x %d: element %d is %v, want %v", f.Rows, f.Dim, i, v, want.At(i/f.Dim, i%f.Dim))
			}
		}
		for i, v := range Gramian(f, 5) {
			if v != got[i] {
				t.Fatal("the number of workers changes the sums")
			}
		}
	}
}

// TestContributionsSumToTheScore also takes the way of rows that float32 cannot factor: many times more dimensions than
// interactions, and next to no regularisation.
func TestContributionsSumToTheScore(t *testing.T) {
	for name, p := range map[string]Params{
		"usual":    {Alpha: 1, Unobserved: 0.1, Lambda: 0.01, Nu: 1},
		"2008":     {Alpha: 40, Unobserved: 1, Lambda: 0.1, Replace: true},
		"float64":  {Alpha: 1, Unobserved: 0, Lambda: 1e-9, Nu: 1},
		"weighted": {Alpha: 1e6, Unobserved: 1e-3, Lambda: 1e-3, Nu: 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			f := randomFactors(6, 60, 33, 40)
			s := newSolver(t, f, p)
			sc, x := s.NewScratch(), make([]float32, s.Dim())
			cols, strength := []uint32{3, 50, 7, 20, 41}, []float32{1, 0.2, -0.5, 0, 3}
			if err := s.Solve(x, cols, strength, sc); err != nil {
				t.Fatal(err)
			}
			if wide := len(sc.wide) > 0; wide && name == "usual" || !wide && name == "float64" {
				t.Fatalf("solved in float64: %v", wide)
			}
			why := make([]float32, len(cols))
			for title := range f.Rows {
				if err := s.Explain(why, f.Row(title), cols, strength, sc); err != nil {
					t.Fatal(err)
				}
				var sum, score float64
				for _, v := range why {
					sum += float64(v)
				}
				for j, v := range f.Row(title) {
					score += float64(v) * float64(x[j])
				}
				if math.Abs(sum-score) > 1e-3*(1+math.Abs(score)) {
					t.Fatalf("title %d: contributions sum to %g, the score is %g", title, sum, score)
				}
				if why[2] != 0 || why[3] != 0 {
					t.Fatalf("titles without a pull contribute %v and %v", why[2], why[3])
				}
			}
		})
	}
}

func TestOrderAndIdleRows(t *testing.T) {
	s := newSolver(t, randomFactors(7, 300, 16, 16), Params{Alpha: 1, Unobserved: 0.2, Lambda: 0.05, Nu: 1})
	sc := s.NewScratch()
	a, b := make([]float32, 16), make([]float32, 16)
	var cols []uint32
	var strength []float32
	for c := range uint32(150) {
		cols, strength = append(cols, c*2), append(strength, float32(c%5)/2)
	}
	if err := s.Solve(a, cols, strength, sc); err != nil {
		t.Fatal(err)
	}
	for i, j := 0, len(cols)-1; i < j; i, j = i+1, j-1 {
		cols[i], cols[j], strength[i], strength[j] = cols[j], cols[i], strength[j], strength[i]
	}
	if err := s.Solve(b, cols, strength, sc); err != nil {
		t.Fatal(err)
	}
	for i := range a {
		if math.Abs(float64(a[i]-b[i])) > 1e-5 {
			t.Fatalf("the order of interactions moves component %d from %v to %v", i, a[i], b[i])
		}
	}
	why := []float32{5, 5}
	if err := s.Solve(a, []uint32{1, 2}, []float32{-1, 0}, sc); err != nil || a[0] != 0 {
		t.Fatalf("a row that nothing pulls from zero: %v, %v", a, err)
	}
	if err := s.Explain(why, b, []uint32{1, 2}, []float32{-1, 0}, sc); err != nil || why[0] != 0 || why[1] != 0 {
		t.Fatalf("its explanation: %v, %v", why, err)
	}
}

func TestRefusals(t *testing.T) {
	f, p := randomFactors(8, 10, 4, 4), Params{Alpha: 1, Unobserved: 0.1, Lambda: 0.1, Nu: 1}
	s := newSolver(t, f, p)
	sc, x := s.NewScratch(), make([]float32, 4)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, solve := range map[string]func() error{
		"column": func() error { return s.Solve(x, []uint32{10}, []float32{1}, sc) },
		"NaN":    func() error { return s.Solve(x, []uint32{1}, []float32{nan}, sc) },
		"inf":    func() error { return s.Solve(x, []uint32{1}, []float32{inf}, sc) },
		"uneven": func() error { return s.Solve(x, []uint32{1, 2}, []float32{1}, sc) },
		"result": func() error { return s.Solve(x[:2], nil, nil, sc) },
		"target": func() error { return s.Explain(nil, x[:2], nil, nil, sc) },
		"why":    func() error { return s.Explain(x, x, []uint32{1}, []float32{1}, sc) },
	} {
		if err := solve(); !errors.Is(err, ErrInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Solve(x, []uint32{1}, []float32{math.MaxFloat32}, sc); err != nil && !errors.Is(err, ErrSingular) {
		t.Errorf("a strength beyond float32's means: %v", err)
	}
	for _, v := range x {
		if v-v != 0 {
			t.Error("a solve left NaN behind")
		}
	}
	gram := Gramian(f, 1)
	if _, err := NewSolver(f, gram[:3], p); err == nil {
		t.Error("a short gramian was accepted")
	}
	gram[2] = math.Inf(1)
	if _, err := NewSolver(f, gram, p); err == nil {
		t.Error("an infinite gramian was accepted")
	}
	if _, err := NewSolver(Factors{Rows: 3, Dim: 4, Stride: 2}, gram, p); err == nil {
		t.Error("impossible factors were accepted")
	}
	singular := newSolver(t, Factors{Data: make([]float32, 40), Rows: 10, Dim: 4, Stride: 4}, Params{Alpha: 1})
	if err := singular.Solve(x, []uint32{1}, []float32{1}, singular.NewScratch()); !errors.Is(err, ErrSingular) || !strings.Contains(err.Error(), "raise regularization") {
		t.Errorf("a row without a unique solution: %v", err)
	}
}

func TestParams(t *testing.T) {
	if err := (Params{Alpha: 1, Nu: 1}).Validate(); err != nil {
		t.Error(err)
	}
	err := Params{Alpha: 0, Unobserved: -1, Lambda: math.Inf(1), Nu: math.NaN()}.Validate()
	for _, field := range []string{"alpha must be in (0", "unobserved_weight", "regularization ", "regularization_exponent"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %q", err, field)
		}
	}
	if got := (Params{Lambda: 2, Unobserved: 0.5, Nu: 2}).Reg(3, 4); got != 50 {
		t.Errorf("regularisation %v, want 2*(3+0.5*4)^2", got)
	}
}
