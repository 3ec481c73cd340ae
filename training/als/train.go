package als

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"time"

	"marquee/internal/sparse"
	"marquee/internal/vec"
	"marquee/training/foldin"
)

// ErrData is wrapped by every error about the interactions given to Train.
var ErrData = errors.New("cannot train on this data")

// Model is a trained factorization. Users[u*Dim : (u+1)*Dim] is user u's vector and equals what folding the user's
// row in gives; the score of a title is the product of the two vectors.
type Model struct {
	Dim          int
	Users, Items []float32
	Gram         []float64 // Gramian of Items, Dim x Dim
	Params       foldin.Params
	Loss         float64 // at the end; NaN unless Config.TrackLoss
}

// Progress is reported after each epoch.
type Progress struct {
	Epoch, Epochs int
	Loss          float64 // after this epoch; NaN unless Config.TrackLoss
	Elapsed, Left time.Duration
}

// Options are the parts of a run that do not decide its meaning, and a start other than a random one.
type Options struct {
	// Progress, where set, is called from Train's goroutine after each epoch.
	Progress func(Progress)
	// WarmItems, where set, are titles x Dim vectors to begin from, such as the last release's. A title with an all-zero
	// vector (one the last release did not know) is drawn at random.
	WarmItems []float32
	// Check, where set, is called after each epoch; false ends training there. model makes the model as training would return it
	// then; it shares memory with the training and is valid until Check returns.
	Check func(epoch int, model func() (*Model, error)) (goOn bool, err error)
}

// Train factorizes m, users x titles with strengths as values: above 0 a watch, below 0 a title begun and abandoned (target
// 0 with weight alpha*|strength|), exactly 0 ignored. Cancelling the context stops it within a moment with the
// context's error. Errors about the data wrap ErrData and name the row at fault.
func Train(ctx context.Context, m *sparse.CSR, cfg Config, opts Options) (*Model, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := checkData(m, cfg); err != nil {
		return nil, err
	}
	t, err := newTrainer(m, cfg, opts)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	loss := math.NaN()
	for epoch := 1; epoch <= cfg.Epochs; epoch++ {
		if err := t.epoch(ctx); err != nil {
			return nil, fmt.Errorf("epoch %d of %d: %w", epoch, cfg.Epochs, err)
		}
		if cfg.TrackLoss {
			loss = t.loss()
		}
		if opts.Progress != nil {
			elapsed := time.Since(start)
			opts.Progress(Progress{
				Epoch: epoch, Epochs: cfg.Epochs, Loss: loss, Elapsed: elapsed,
				Left: elapsed / time.Duration(epoch) * time.Duration(cfg.Epochs-epoch),
			})
		}
		if opts.Check != nil {
			goOn, err := opts.Check(epoch, func() (*Model, error) { return t.finish(ctx) })
			if err != nil {
				return nil, fmt.Errorf("epoch %d of %d: %w", epoch, cfg.Epochs, err)
			}
			if !goOn {
				break
			}
		}
	}
	return t.finish(ctx)
}

func checkData(m *sparse.CSR, cfg Config) error {
	if m == nil {
		return fmt.Errorf("%w: no matrix", ErrData)
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrData, err)
	}
	var most float32
	positive := false
	for _, v := range m.Values {
		positive = positive || v > 0
		most = max(most, v, -v)
	}
	if !positive {
		return fmt.Errorf("%w: none of the %d entries of the %d x %d matrix has a strength above 0", ErrData, m.NNZ(), m.Rows, m.Cols)
	}
	if w := float64(most) * cfg.Alpha; w > 1e15 {
		return fmt.Errorf("%w: the largest strength %g times alpha %g is above 1e15, beyond float32's means; scale strengths down",
			ErrData, most, cfg.Alpha)
	}
	return nil
}

// side is one of the two factor matrices with the interactions of its rows.
type side struct {
	rows    *sparse.CSR
	factors foldin.Factors
	chunks  []int // boundaries of the pieces of work, see cut
	// rotation made the factors' Gramian diagonal; nil where they changed since.
	rotation *foldin.Rotation
}

type trainer struct {
	cfg          Config
	workers      int
	users, items side
}

func newTrainer(m *sparse.CSR, cfg Config, opts Options) (*trainer, error) {
	t := &trainer{cfg: cfg, workers: cfg.Workers}
	if t.workers == 0 {
		t.workers = runtime.GOMAXPROCS(0)
	}
	t.users = newSide(m, cfg.Dim)
	t.items = newSide(m.Transpose(), cfg.Dim)
	if err := t.items.start(cfg, opts.WarmItems); err != nil {
		return nil, err
	}
	return t, nil
}

func newSide(rows *sparse.CSR, dim int) side {
	stride := vec.SyrkPad(dim)
	return side{
		rows:    rows,
		factors: foldin.Factors{Data: vec.Large(rows.Rows * stride), Rows: rows.Rows, Dim: dim, Stride: stride},
		chunks:  cut(rows, dim),
	}
}

// start fills the factors from a warm start or at random.
func (s *side) start(cfg Config, warm []float32) error {
	d := cfg.Dim
	if warm != nil && len(warm) != s.factors.Rows*d {
		return fmt.Errorf("warm start has %d values, want %d titles x %d", len(warm), s.factors.Rows, d)
	}
	std := cfg.InitScale / math.Sqrt(float64(d))
	for r := range s.factors.Rows {
		row := s.factors.Row(r)
		if warm != nil {
			copy(row, warm[r*d:(r+1)*d])
			for _, v := range row {
				if v-v != 0 {
					return fmt.Errorf("warm start has %v in row %d, want finite numbers", v, r)
				}
			}
			if !allZero(row) {
				continue
			}
		}
		rng := rand.New(rand.NewPCG(cfg.Seed, uint64(r)))
		for j := range row {
			row[j] = float32(rng.NormFloat64() * std)
		}
	}
	return nil
}

func allZero(row []float32) bool {
	for _, v := range row {
		if v != 0 {
			return false
		}
	}
	return true
}

// finish solves the users once more and exactly, so that the model's users are what folding in gives.
func (t *trainer) finish(ctx context.Context) (*Model, error) {
	last := *t
	last.cfg.Solver = SolverCholesky
	if t.cfg.solver() != SolverCholesky {
		// Training that goes on begins at the users as they are now, in the basis the items are brought to.
		if err := t.align(&t.users, &t.items); err != nil {
			return nil, err
		}
		last.items.rotation = t.items.rotation
		last.users.factors.Data = vec.Large(len(t.users.factors.Data))
	}
	if err := last.solve(ctx, "user", &last.users, &last.items); err != nil {
		return nil, err
	}
	t.items.rotation, t.users.rotation = last.items.rotation, last.users.rotation
	m := &Model{Dim: t.cfg.Dim, Gram: foldin.Gramian(last.items.factors, t.workers), Params: t.cfg.Params(), Loss: math.NaN()}
	if t.cfg.TrackLoss {
		m.Loss = last.loss()
	}
	m.Users, m.Items = compact(last.users.factors), compact(last.items.factors)
	return m, nil
}

func compact(f foldin.Factors) []float32 {
	if f.Stride == f.Dim {
		return f.Data
	}
	out := make([]float32, 0, f.Rows*f.Dim)
	for r := range f.Rows {
		out = append(out, f.Row(r)...)
	}
	return out
}
