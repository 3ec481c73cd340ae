// Package als trains an implicit-feedback matrix factorization by alternating least squares: the loss of package foldin,
// minimised exactly over all users with the titles fixed, then over all titles with the users fixed, by a Cholesky
// factorization of each row's normal equations.
//
// Training is deterministic: the same data, seed and processor kind give the same factors to the bit, whatever the number of
// workers. A row is solved by one goroutine, and sums over rows are taken over blocks that the data alone decides.
package als

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"marquee/training/foldin"
)

// MaxDim bounds the dimension: the normal matrix of every worker takes 4*Dim*Dim bytes.
const MaxDim = 4096

// Solvers. All minimise one loss; the inexact ones begin a row where the last epoch left it.
const (
	// SolverAuto is SolverCholesky up to a dimension of autoExact, and SolverCG above.
	SolverAuto = "auto"
	// SolverCholesky solves each row exactly: the normal equations, or their dual where a row has few interactions.
	SolverCholesky = "cholesky"
	// SolverCG takes CGSteps conjugate-gradient steps a row.
	SolverCG = "cg"
	// SolverBlocks solves for foldin.BlockSize coordinates after the other (iALS++).
	SolverBlocks = "blocks"
)

// autoExact is the largest dimension that SolverAuto solves exactly at. There an exact epoch takes between as long as one of conjugate gradients (rows of
// few interactions, solved in the dual) and three times as long (rows of some hundred): BenchmarkEpoch. Beyond, the gap opens.
const autoExact = 256

// solver is the solver in effect. A configuration from before there was a choice has none and means the exact one.
func (c Config) solver() string {
	switch {
	case c.Solver == "" || c.Solver == SolverAuto && c.Dim <= autoExact:
		return SolverCholesky
	case c.Solver == SolverAuto:
		return SolverCG
	}
	return c.Solver
}

// Config is what decides a factorization besides the data.
type Config struct {
	// Dim is the dimension of the factors, 1 to MaxDim. It may exceed the number of titles: regularisation keeps the
	// solution unique, it is merely wasteful.
	Dim int `koanf:"dim"`
	// Epochs is the number of passes over users and titles, 1 or more.
	Epochs int `koanf:"epochs"`
	// Alpha is the weight of an interaction of strength 1.
	Alpha float64 `koanf:"alpha"`
	// UnobservedWeight is the weight of "0" at every cell of the matrix.
	UnobservedWeight float64 `koanf:"unobserved_weight"`
	// Regularization and RegularizationExponent make a row's regularisation: R * (n + UnobservedWeight*others)^exponent.
	Regularization         float64 `koanf:"regularization"`
	RegularizationExponent float64 `koanf:"regularization_exponent"`
	// ReplaceUnobserved selects the form of Hu, Koren and Volinsky 2008, see foldin.Params.
	ReplaceUnobserved bool `koanf:"replace_unobserved"`
	// Solver is how a row's normal equations are solved: auto (by the dimension), cholesky (exactly), cg (CGSteps conjugate-gradient steps)
	// or blocks (iALS++, 64 coordinates at a time).
	Solver string `koanf:"solver"`
	// CGSteps is the number of conjugate-gradient steps a row and half epoch, 1 to 1000; other solvers ignore it.
	CGSteps int `koanf:"cg_steps"`
	// InitScale is the standard deviation of a random start's vectors' lengths: entries are drawn from
	// N(0, InitScale^2/Dim).
	InitScale float64 `koanf:"init_scale"`
	// Seed decides the random start.
	Seed uint64 `koanf:"seed"`
	// Workers is the number of goroutines; 0 means one a processor. It does not affect the result.
	Workers int `koanf:"workers"`
	// TrackLoss computes the loss after each epoch, at about a twentieth of the epoch's time.
	TrackLoss bool `koanf:"track_loss"`
}

// DefaultConfig returns parameters that do well on catalogues of some thousand titles. They were chosen on a validation
// cut from the training part of MovieLens 1M, see TestChooseOnValidation.
func DefaultConfig() Config {
	return Config{
		Dim: 64, Epochs: 8, Alpha: 1, UnobservedWeight: 0.3, Regularization: 0.005, RegularizationExponent: 1,
		Solver: SolverAuto, CGSteps: 3, InitScale: 0.1, Seed: 1, TrackLoss: true,
	}
}

// Params returns the parameters of the loss.
func (c Config) Params() foldin.Params {
	return foldin.Params{
		Alpha: c.Alpha, Unobserved: c.UnobservedWeight,
		Lambda: c.Regularization, Nu: c.RegularizationExponent, Replace: c.ReplaceUnobserved,
	}
}

// Validate reports every field out of its range.
func (c Config) Validate() error {
	var errs []error
	if c.Dim < 1 || c.Dim > MaxDim {
		errs = append(errs, fmt.Errorf("training.als.dim must be between 1 and %d, is %d", MaxDim, c.Dim))
	}
	if c.Epochs < 1 || c.Epochs > 10000 {
		errs = append(errs, fmt.Errorf("training.als.epochs must be between 1 and 10000, is %d", c.Epochs))
	}
	if !slices.Contains([]string{"", SolverAuto, SolverCholesky, SolverCG, SolverBlocks}, c.Solver) {
		errs = append(errs, fmt.Errorf("training.als.solver must be auto, cholesky, cg or blocks, is %q", c.Solver))
	}
	if c.solver() == SolverCG && (c.CGSteps < 1 || c.CGSteps > 1000) {
		errs = append(errs, fmt.Errorf("training.als.cg_steps must be between 1 and 1000, is %d", c.CGSteps))
	}
	if c.Workers < 0 {
		errs = append(errs, fmt.Errorf("training.als.workers must be 0 or above, is %d", c.Workers))
	}
	if !(c.InitScale > 0) || math.IsInf(c.InitScale, 0) {
		errs = append(errs, fmt.Errorf("training.als.init_scale must be above 0, is %g", c.InitScale))
	}
	if err := c.Params().Validate(); err != nil {
		errs = append(errs, fmt.Errorf("training.als: %w", err))
	}
	return errors.Join(errs...)
}
