// Package ease trains EASE^R, a linear autoencoder without hidden layer: each title's score is a weighted sum over the titles of
// a history, with the weights that reconstruct the histories best under a constraint that no title explains itself (Steck,
// Embarrassingly Shallow Autoencoders for Sparse Data, 2019). The solution is exact, in closed form: with P the inverse of
// X^T X + L2, the weight of title i for title j is -P_ij / P_jj.
//
// The inverse is dense, titles x titles in float32, and made in place: about 4 bytes a pair of titles, and a number of
// operations that is the cube of the number of titles. Memory is compared with a limit before anything is allocated.
package ease

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"

	"marquee/internal/sparse"
	"marquee/internal/vec"
)

// Errors to be matched with errors.Is.
var (
	// ErrData is wrapped by every error about the interactions given to Train.
	ErrData = errors.New("cannot train on this data")
	// ErrMemory is a catalogue whose matrix would take more than the limit.
	ErrMemory = errors.New("not enough memory allowed")
	// ErrSingular is a matrix that float32 cannot invert well enough.
	ErrSingular = errors.New("the matrix cannot be inverted in float32")
)

// Config is what decides a model besides the data.
type Config struct {
	// L2 is the weight of the regularisation, above 0: some hundreds where titles have thousands of watches.
	L2 float64 `koanf:"l2"`
	// MemoryLimit bounds the bytes of the matrix, see Bytes.
	MemoryLimit int64 `koanf:"memory_limit"`
	// Workers is the number of goroutines; 0 means one a processor. It does not affect the result.
	Workers int `koanf:"workers"`
}

// DefaultConfig returns regularisation for catalogues of thousands of titles, and room for 32,000 of them.
func DefaultConfig() Config { return Config{L2: 300, MemoryLimit: 4 << 30} }

// Validate reports every field out of its range.
func (c Config) Validate() error {
	var errs []error
	if !(c.L2 > 0) || c.L2 > math.MaxFloat32 {
		errs = append(errs, fmt.Errorf("l2 must be above 0, is %g", c.L2))
	}
	if c.MemoryLimit < 1 {
		errs = append(errs, fmt.Errorf("memory_limit must be 1 byte or more, is %d", c.MemoryLimit))
	}
	if c.Workers < 0 {
		errs = append(errs, fmt.Errorf("workers must be 0 or more, is %d", c.Workers))
	}
	return errors.Join(errs...)
}

// Bytes is the memory that a model of so many titles takes, in training and afterwards.
func Bytes(titles int) int64 {
	t := (int64(titles) + side - 1) / side
	return 4 * side * side * (t*t + 2*t)
}

// Options are the parts of a run that do not decide its meaning.
type Options struct {
	// Progress, where set, is told now and then, from one goroutine at a time, what share of the inverse is done, 0 to 1.
	Progress func(share float64)
}

// Model holds the inverse. It is immutable and safe for concurrent use.
type Model struct {
	p     *tiled
	scale []float32 // -1/P_jj
}

// Train makes the model of m, users x titles with strengths as values, those of 0 and below ignored. Cancelling the context stops it
// within seconds.
func Train(ctx context.Context, m *sparse.CSR, cfg Config, opts Options) (*Model, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := check(m); err != nil {
		return nil, err
	}
	if need := Bytes(m.Cols); need > cfg.MemoryLimit {
		return nil, fmt.Errorf("%w: EASE of %d titles needs %d bytes (%.1f GiB) and the limit is %d (%.1f GiB); raise the limit or leave titles out",
			ErrMemory, m.Cols, need, float64(need)/(1<<30), cfg.MemoryLimit, float64(cfg.MemoryLimit)/(1<<30))
	}
	if cfg.Workers == 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	p := newTiled(m.Cols)
	r := &run{ctx: ctx, workers: cfg.Workers, m: p, progress: opts.Progress}
	titles := m.Transpose()
	if err := r.gram(m, titles, float32(cfg.L2)); err != nil {
		return nil, err
	}
	if err := r.invert(); err != nil {
		return nil, fmt.Errorf("invert the %d x %d matrix: %w", m.Cols, m.Cols, err)
	}
	model := &Model{p: p, scale: make([]float32, m.Cols)}
	for j := range model.scale {
		model.scale[j] = -1 / p.at(j, j)
	}
	return model, model.verify(m, titles, cfg.L2)
}

func check(m *sparse.CSR) error {
	if m == nil {
		return fmt.Errorf("%w: no matrix", ErrData)
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrData, err)
	}
	for _, v := range m.Values {
		if v > 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: none of the %d entries of the %d x %d matrix has a strength above 0", ErrData, m.NNZ(), m.Rows, m.Cols)
}

// gram fills the upper tiles with X^T X and the regularisation.
func (r *run) gram(users, titles *sparse.CSR, l2 float32) error {
	return r.parallel(r.m.tiles, func(i int) error {
		for row := i * side; row < min((i+1)*side, r.m.n); row++ {
			r.m.add(row, row, l2)
			who, strengths := titles.Row(row)
			for k, u := range who {
				w := strengths[k]
				if w <= 0 {
					continue
				}
				cols, vals := users.Row(int(u))
				for n, c := range cols {
					if int(c) >= i*side && vals[n] > 0 {
						r.m.add(row, int(c), w*vals[n])
					}
				}
			}
		}
		return nil
	})
}

// tolerance is how far a product of the matrix with a column of its inverse may be from the identity's.
const tolerance = 0.02

// verify multiplies some columns of the inverse with the matrix, which costs little where it is sparse: what float32 lost shows.
func (m *Model) verify(users, titles *sparse.CSR, l2 float64) error {
	for j := range m.scale {
		if v := m.scale[j]; v-v != 0 || v >= 0 {
			return fmt.Errorf("%w: element (%d, %d) of the inverse is %v; raise l2", ErrSingular, j, j, -1/v)
		}
	}
	most := 0
	for t := range titles.Rows {
		if titles.RowLen(t) > titles.RowLen(most) {
			most = t
		}
	}
	for _, j := range []int{most, 0, titles.Rows / 2, titles.Rows - 1} {
		if worst := m.residual(users, j, l2); !(worst < tolerance) {
			return fmt.Errorf("%w: column %d of the inverse is off by %.2g of 1; raise l2", ErrSingular, j, worst)
		}
	}
	return nil
}

// residual is the largest element of (X^T X + L2) P_j - e_j.
func (m *Model) residual(users *sparse.CSR, j int, l2 float64) float64 {
	out := make([]float64, len(m.scale))
	for i := range out {
		out[i] = l2 * float64(m.p.at(i, j))
	}
	out[j]--
	for u := range users.Rows {
		cols, vals := users.Row(u)
		var sum float64
		for k, c := range cols {
			sum += float64(max(vals[k], 0)) * float64(m.p.at(int(c), j))
		}
		for k, c := range cols {
			out[c] += float64(max(vals[k], 0)) * sum
		}
	}
	var worst float64
	for _, v := range out {
		worst = max(worst, math.Abs(v))
	}
	return worst
}

// Score sets scores[t] to the weighted sum of a history's strengths for title t. Titles of the history are scored by the others.
func (m *Model) Score(history []uint32, strength []float32, scores []float32) error {
	if len(scores) != len(m.scale) || len(history) != len(strength) {
		return fmt.Errorf("%d scores for %d titles, %d strengths for %d titles", len(scores), len(m.scale), len(strength), len(history))
	}
	for i, h := range history {
		if int64(h) >= int64(len(scores)) {
			return fmt.Errorf("title %d of %d", h, len(scores))
		}
		if v := strength[i]; v-v != 0 {
			return fmt.Errorf("title %d has strength %v, want a finite number", h, v)
		}
	}
	clear(scores)
	for i, h := range history {
		for j := 0; j < len(scores); j += side {
			to := scores[j:min(j+side, len(scores))]
			vec.Axpy(strength[i], m.p.row(int(h), j/side)[:len(to)], to)
		}
	}
	for j := range scores {
		scores[j] *= m.scale[j]
	}
	for i, h := range history {
		scores[h] += strength[i] // P_hh * scale_h is -1: the title's part in its own score.
	}
	return nil
}
