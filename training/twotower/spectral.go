package twotower

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"

	"marquee/internal/sparse"
	"marquee/internal/vec"
	"marquee/training/nn"
)

// The subspace iteration: so many products with the matrix, in a space wider than what is wanted by extra.
const (
	spectralRounds = 6
	spectralExtra  = 16
)

// spectral sets the titles' embeddings to the leading right singular vectors of the histories' matrix, normalised on both sides by the square
// root of the degrees, each times the root of its singular value: what linear graph filters rank by (Shen et al., How Powerful is Graph
// Convolution for Recommendation?, 2021). Found by randomised subspace iteration (Halko, Martinsson and Tropp 2011). Dimensions beyond the
// matrix's rank stay as they were drawn.
func (t *trainer) spectral(ctx context.Context) error {
	m, degree := normalised(t.data)
	n, d := m.Cols, t.cfg.Dim
	width := min(d+spectralExtra, m.Cols, m.Rows)
	rng := rand.New(rand.NewPCG(t.cfg.Seed, 0x54d))
	users := m.Transpose() // titles x users
	q, y, u := vec.Large(n*width), vec.Large(n*width), vec.Large(m.Rows*width)
	for i := range q {
		q[i] = float32(rng.NormFloat64())
	}
	if err := orthonormalise(t.team, q, width); err != nil {
		return err
	}
	for range spectralRounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		multiply(t.team, u, m, q, width)
		multiply(t.team, y, users, u, width)
		q, y = y, q
		if err := orthonormalise(t.team, q, width); err != nil {
			return err
		}
	}
	// What is left is to turn the basis to the singular vectors: the eigenvectors of the small matrix (M q)^T (M q).
	multiply(t.team, u, m, q, width)
	small := make([]float32, width*width)
	t.team.Mul(width, width, m.Rows, 1, vec.Operand{Data: u, Stride: width, Transposed: true}, vec.Operand{Data: u, Stride: width}, 0, small, width)
	values, basis, err := eigen(small, width)
	if err != nil {
		return err
	}
	t.team.Mul(n, width, width, 1, vec.Operand{Data: q, Stride: width}, vec.Operand{Data: basis, Stride: width}, 0, y, width)
	for i := range n {
		if degree[i] == 0 {
			continue
		}
		row := t.towers.titles.Row(i)
		for j := range min(d, width) {
			// The eigenvalue is the square of the singular one. The scale makes rows about as long as random ones.
			row[j] = y[i*width+j] * float32(math.Sqrt(math.Sqrt(max(values[j], 0)))*math.Sqrt(float64(n)/float64(d)))
		}
	}
	return nil
}

// normalised is the users x titles matrix with 1/sqrt(titles of the user * users of the title), and the titles' degrees.
func normalised(d *Data) (*sparse.CSR, []float64) {
	degree := make([]float64, d.Titles)
	m := &sparse.CSR{Rows: len(d.Histories), Cols: d.Titles, Indptr: make([]int64, len(d.Histories)+1)}
	for u := range d.Histories {
		for _, t := range d.Histories[u].Titles {
			degree[t]++
		}
	}
	for u := range d.Histories {
		l := d.Histories[u].Titles
		for _, t := range l {
			m.Indices = append(m.Indices, t)
			m.Values = append(m.Values, float32(1/math.Sqrt(degree[t]*float64(len(l)))))
		}
		m.Indptr[u+1] = int64(len(m.Indices))
	}
	return m, degree
}

// multiply sets out, m.Rows x width, to m times x.
func multiply(team *nn.Team, out []float32, m *sparse.CSR, x []float32, width int) {
	team.Rows(m.Rows, 64, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			to := out[r*width : (r+1)*width]
			clear(to)
			cols, vals := m.Row(r)
			for i, c := range cols {
				vec.Axpy(vals[i], x[int(c)*width:(int(c)+1)*width], to)
			}
		}
	})
}

// orthonormalise replaces the columns of x, n x width, by an orthonormal basis of their span: with the eigenvectors of their Gramian, each
// divided by the root of its eigenvalue. Done twice, since once leaves what float32 lost.
func orthonormalise(team *nn.Team, x []float32, width int) error {
	n := len(x) / width
	gram, turned := make([]float32, width*width), make([]float32, len(x))
	for range 2 {
		team.Mul(width, width, n, 1, vec.Operand{Data: x, Stride: width, Transposed: true}, vec.Operand{Data: x, Stride: width}, 0, gram, width)
		values, basis, err := eigen(gram, width)
		if err != nil {
			return err
		}
		for i := range width {
			for j := range width {
				basis[i*width+j] *= float32(1 / math.Sqrt(max(values[j], 1e-7*values[0]+1e-30)))
			}
		}
		team.Mul(n, width, width, 1, vec.Operand{Data: x, Stride: width}, vec.Operand{Data: basis, Stride: width}, 0, turned, width)
		copy(x, turned)
	}
	return nil
}

// eigen returns the eigenvalues of a symmetric n x n matrix, the largest first, and the eigenvectors as columns.
func eigen(a []float32, n int) ([]float64, []float32, error) {
	sym := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			v := (float64(a[i*n+j]) + float64(a[j*n+i])) / 2
			if v-v != 0 {
				return nil, nil, errors.New("the Gramian is not finite")
			}
			sym.SetSym(i, j, v)
		}
	}
	var e mat.EigenSym
	if !e.Factorize(sym, true) {
		return nil, nil, errors.New("the Gramian has no eigenvalues")
	}
	var vectors mat.Dense
	e.VectorsTo(&vectors)
	values, basis := e.Values(nil), make([]float32, n*n)
	slices.Reverse(values)
	for i := range n {
		for j := range n {
			basis[i*n+j] = float32(vectors.At(i, n-1-j))
		}
	}
	return values, basis, nil
}
