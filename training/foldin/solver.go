package foldin

import (
	"errors"
	"fmt"
	"math"

	"marquee/internal/vec"
)

// Errors of a solve, to be matched with errors.Is.
var (
	// ErrInput is a row that cannot be: an index out of range, a strength that is not finite, slices of unequal length.
	ErrInput = errors.New("invalid interactions")
	// ErrSingular is a row without a unique solution even in float64.
	ErrSingular = errors.New("normal equations are not positive definite")
)

// packRows is how many scaled factor rows are gathered before they are added to the normal matrix.
const packRows = 64

// Factors is a read-only view of row factors: row r is Data[r*Stride : r*Stride+Dim].
type Factors struct {
	Data              []float32
	Rows, Dim, Stride int
}

// Row returns row r's vector of length Dim.
func (f Factors) Row(r int) []float32 {
	return f.Data[r*f.Stride : r*f.Stride+f.Dim : r*f.Stride+f.Dim]
}

func (f Factors) validate() error {
	if f.Dim < 1 || f.Stride < f.Dim || f.Rows < 0 || len(f.Data) < f.Rows*f.Stride {
		return fmt.Errorf("factors of %d rows, dimension %d and stride %d do not fit %d values", f.Rows, f.Dim, f.Stride, len(f.Data))
	}
	return nil
}

// Solver solves rows against one side's factors. It is read-only after NewSolver and safe for concurrent use, each
// goroutine with a Scratch of its own.
type Solver struct {
	params  Params
	factors Factors
	gram    []float64 // Dim x Dim
	pad     int       // Dim rounded up to the kernels' tile
	base    []float32 // pad x pad: a0 times gram, and 1 on the padding's diagonal
}

// NewSolver prepares a solver from the other side's factors and their Gramian (Dim x Dim, see Gramian). Both are kept,
// not copied, and must not change while the solver is in use.
func NewSolver(f Factors, gram []float64, p Params) (*Solver, error) {
	if err := errors.Join(f.validate(), p.Validate()); err != nil {
		return nil, err
	}
	if len(gram) != f.Dim*f.Dim {
		return nil, fmt.Errorf("gramian has %d values, want %d x %d", len(gram), f.Dim, f.Dim)
	}
	s := &Solver{params: p, factors: f, gram: gram, pad: vec.SyrkPad(f.Dim)}
	s.base = make([]float32, s.pad*s.pad)
	for i := range s.pad {
		if i >= f.Dim {
			s.base[i*s.pad+i] = 1
			continue
		}
		for j := range f.Dim {
			v := float32(p.Unobserved * gram[i*f.Dim+j])
			if v-v != 0 {
				return nil, fmt.Errorf("gramian at (%d, %d) is %g, want a finite number", i, j, gram[i*f.Dim+j])
			}
			s.base[i*s.pad+j] = v
		}
	}
	return s, nil
}

// Dim returns the length of the vectors solved for.
func (s *Solver) Dim() int { return s.factors.Dim }

// Params returns the parameters of the loss.
func (s *Solver) Params() Params { return s.params }

// Scratch is the working memory of one goroutine: about 4*d*d bytes and 4*64*d more. After a Solve it holds that row's factored normal
// matrix, which Explain reads.
type Scratch struct {
	a, inv, packed, rhs, z []float32
	wide                   []float64 // the float64 factor of a row that float32 could not factor, else empty
	idle                   bool      // the row has nothing that pulls it from zero, and no factor
}

// NewScratch returns working memory for s.
func (s *Solver) NewScratch() *Scratch {
	return &Scratch{
		a:      make([]float32, s.pad*s.pad),
		inv:    make([]float32, s.pad),
		packed: make([]float32, packRows*s.pad),
		rhs:    make([]float32, s.pad),
		z:      make([]float32, s.pad),
	}
}

// Solve writes to dst (length Dim) the vector of the row whose interactions are (cols[k], strength[k]), columns in
// any order. A row without a positive strength gets the zero vector. It allocates only when float32 cannot factor the
// row and float64 must. Errors wrap ErrInput or ErrSingular.
func (s *Solver) Solve(dst []float32, cols []uint32, strength []float32, sc *Scratch) error {
	if len(dst) != s.factors.Dim {
		return fmt.Errorf("%w: the result has length %d, want %d", ErrInput, len(dst), s.factors.Dim)
	}
	if err := s.check(cols, strength); err != nil {
		return err
	}
	sc.wide = sc.wide[:0]
	if sc.idle = !anyPositive(strength); sc.idle {
		clear(dst)
		return nil
	}
	s.accumulate(cols, strength, sc)
	if reliable(sc.a, s.pad, sc.inv, s.factors.Dim) {
		vec.CholeskySolve(sc.a, s.pad, sc.inv, sc.rhs)
	} else if err := s.factorWide(cols, strength, sc); err != nil {
		return err
	}
	for _, v := range sc.rhs[:len(dst)] {
		if v-v != 0 {
			return fmt.Errorf("%w: the solution of a row of %d interactions is not finite; scale strengths or alpha down", ErrSingular, len(cols))
		}
	}
	copy(dst, sc.rhs)
	return nil
}

func anyPositive(strength []float32) bool {
	for _, v := range strength {
		if v > 0 {
			return true
		}
	}
	return false
}

// lostDigits is the ratio of a squared pivot to the largest diagonal element below which float32 has too few digits left of
// the pivot to divide by it.
const lostDigits = 4e-6

func (s *Solver) check(cols []uint32, strength []float32) error {
	if len(cols) != len(strength) {
		return fmt.Errorf("%w: %d columns but %d strengths", ErrInput, len(cols), len(strength))
	}
	for k, c := range cols {
		if int64(c) >= int64(s.factors.Rows) {
			return fmt.Errorf("%w: column %d, but there are %d", ErrInput, c, s.factors.Rows)
		}
		if v := strength[k]; v-v != 0 {
			return fmt.Errorf("%w: column %d has strength %v, want a finite number", ErrInput, c, v)
		}
	}
	return nil
}

// accumulate builds the row's normal matrix in sc.a and right-hand side in sc.rhs.
func (s *Solver) accumulate(cols []uint32, strength []float32, sc *Scratch) {
	copy(sc.a, s.base)
	reg := float32(s.params.Reg(len(cols), s.factors.Rows))
	for i := range s.factors.Dim {
		sc.a[i*s.pad+i] += reg
	}
	clear(sc.rhs)
	packed := 0
	for k, c := range cols {
		w, pull := s.params.Cell(strength[k])
		if w == 0 {
			continue
		}
		root := math.Sqrt(w)
		vec.PackScaled(sc.packed[packed*s.pad:(packed+1)*s.pad], sc.rhs, s.factors.Row(int(c)), float32(root), float32(pull/root))
		if packed++; packed == packRows {
			vec.Syrk(sc.a, sc.packed, packed, s.pad)
			packed = 0
		}
	}
	vec.Syrk(sc.a, sc.packed, packed, s.pad)
}

// Explain writes to dst[k] what interaction k of the row just solved with sc contributes to the score of the title
// with the given factors (Hu, Koren and Volinsky 2008, section 5): pull_k * target^T A^-1 y_k. The contributions sum to the score
// target.x, up to rounding. cols and strength are those given to Solve.
func (s *Solver) Explain(dst, target []float32, cols []uint32, strength []float32, sc *Scratch) error {
	if len(target) != s.factors.Dim || len(dst) != len(cols) {
		return fmt.Errorf("%w: a title of dimension %d and %d contributions for %d interactions of dimension %d",
			ErrInput, len(target), len(dst), len(cols), s.factors.Dim)
	}
	if err := s.check(cols, strength); err != nil {
		return err
	}
	if sc.idle {
		clear(dst)
		return nil
	}
	if len(sc.wide) > 0 {
		s.explainWide(dst, target, cols, strength, sc)
		return nil
	}
	copy(sc.z, target)
	clear(sc.z[len(target):])
	vec.CholeskySolve(sc.a, s.pad, sc.inv, sc.z)
	for k, c := range cols {
		_, pull := s.params.Cell(strength[k])
		dst[k] = float32(pull * float64(vec.Dot(s.factors.Row(int(c)), sc.z[:len(target)])))
	}
	return nil
}
