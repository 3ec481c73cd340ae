package nn

import (
	"math"
	"math/rand/v2"

	"marquee/internal/vec"
)

// Param is a parameter: a row-major tensor, its gradient, and the state its optimiser keeps.
type Param struct {
	// Name is unique within a model; exported tensors and checkpoints go by it.
	Name  string
	Shape []int
	// Value and Grad are as long as the product of Shape. Optimisers clear Grad.
	Value, Grad []float32
	// Sparse says that a step changes only the rows it touched; the optimiser leaves the others and their state as they are.
	Sparse bool

	rows  []uint32 // touched in this step
	mark  []uint32 // the step in which a row was last touched
	step  uint32
	state [2][]float32
}

// NewParam returns a parameter of zeros.
func NewParam(name string, shape ...int) *Param {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return &Param{Name: name, Shape: shape, Value: vec.Large(n), Grad: vec.Large(n)}
}

// NewTable returns a sparse parameter of rows x dim zeros.
func NewTable(name string, rows, dim int) *Param {
	p := NewParam(name, rows, dim)
	p.Sparse, p.mark, p.step = true, make([]uint32, rows), 1
	return p
}

// Dim is the length of a row.
func (p *Param) Dim() int { return p.Shape[len(p.Shape)-1] }

// Row is row r of the values, GradRow the same of the gradient.
func (p *Param) Row(r int) []float32 { return p.Value[r*p.Dim() : (r+1)*p.Dim()] }

// GradRow is row r of the gradient.
func (p *Param) GradRow(r int) []float32 { return p.Grad[r*p.Dim() : (r+1)*p.Dim()] }

// Touch says that this step's gradient has something in the rows. It does nothing of a parameter that is not sparse.
func (p *Param) Touch(rows []uint32) {
	if !p.Sparse {
		return
	}
	for _, r := range rows {
		if p.mark[r] != p.step {
			p.mark[r] = p.step
			p.rows = append(p.rows, r)
		}
	}
}

// Touched are the rows touched since the last step, in the order they were.
func (p *Param) Touched() []uint32 { return p.rows }

// forget begins a new step.
func (p *Param) forget() {
	p.rows = p.rows[:0]
	if !p.Sparse {
		return
	}
	if p.step++; p.step == 0 {
		clear(p.mark)
		p.step = 1
	}
}

// Normal draws the values from a normal distribution with that standard deviation.
func (p *Param) Normal(rng *rand.Rand, std float64) {
	for i := range p.Value {
		p.Value[i] = float32(rng.NormFloat64() * std)
	}
}

// Glorot draws the values of an in x out matrix from a uniform distribution of variance 2/(in+out) (Glorot and Bengio 2010).
func (p *Param) Glorot(rng *rand.Rand) {
	limit := math.Sqrt(6 / float64(p.Shape[0]+p.Shape[len(p.Shape)-1]))
	for i := range p.Value {
		p.Value[i] = float32((2*rng.Float64() - 1) * limit)
	}
}

// Fill sets every value.
func (p *Param) Fill(v float32) {
	for i := range p.Value {
		p.Value[i] = v
	}
}

// Finite reports whether every value is.
func (p *Param) Finite() bool {
	for _, v := range p.Value {
		if v-v != 0 {
			return false
		}
	}
	return true
}
