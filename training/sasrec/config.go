// Package sasrec trains a sequential recommender: causal self-attention over the titles of a history in order, which at each place predicts
// the next title (Kang and McAuley, Self-Attentive Sequential Recommendation, 2018). The vector of a history is the network's last output,
// that of a title its embedding, so that serving needs a product of the two.
//
// The loss is a softmax over the whole catalogue, which does best where the catalogue allows it (Petrov and Macdonald, gSASRec, 2023), or
// gSASRec's calibrated binary cross-entropy over sampled negatives where it does not.
//
// Training is deterministic: the same data, configuration and kind of processor give the same parameters to the bit, whatever the number
// of workers and wherever it was interrupted and resumed.
package sasrec

import (
	"errors"
	"fmt"
	"math"

	"marquee/training/nn"
)

// ErrData is wrapped by every error about the histories given.
var ErrData = errors.New("cannot train on these histories")

// Losses.
const (
	LossSoftmax = "softmax"
	LossGBCE    = "gbce"
)

// Config is what decides a model besides the data.
type Config struct {
	// Dim is the length of vectors, divided by Heads; Hidden the width of the feed-forward layers; Blocks the number of attention blocks.
	Dim    int `koanf:"dim"`
	Heads  int `koanf:"heads"`
	Hidden int `koanf:"hidden"`
	Blocks int `koanf:"blocks"`
	// MaxLength is the number of titles of a history that are read, the last ones.
	MaxLength int `koanf:"max_length"`
	// Activation is of the feed-forward layers: relu or gelu.
	Activation nn.Activation `koanf:"activation"`
	// Dropout is the share of numbers dropped in training, of the inputs and of each layer's output.
	Dropout float64 `koanf:"dropout"`
	// Loss is softmax or gbce; of the latter, Negatives titles are sampled for each batch and Calibration is gSASRec's t, 0 to 1.
	Loss        string  `koanf:"loss"`
	Negatives   int     `koanf:"negatives"`
	Calibration float64 `koanf:"calibration"`
	// Batch is the number of histories of a step, Rate Adam's. The rate falls to FinalRate times itself over the epochs, along a cosine.
	Batch     int     `koanf:"batch"`
	Rate      float64 `koanf:"rate"`
	FinalRate float64 `koanf:"final_rate"`
	// Epochs bounds the epochs. After Patience validations without a new best, one every ValidateEvery epochs, training ends. Validation holds the
	// last title of ValidationUsers histories out; 0 trains on all and for all epochs.
	Epochs          int `koanf:"epochs"`
	Patience        int `koanf:"patience"`
	ValidateEvery   int `koanf:"validate_every"`
	ValidationUsers int `koanf:"validation_users"`
	// Seed decides the start, the order, what is dropped and who validates.
	Seed uint64 `koanf:"seed"`
	// Workers is the number of goroutines; 0 means one a processor. It does not affect the result.
	Workers int `koanf:"workers"`
}

// DefaultConfig suits catalogues of thousands of titles.
func DefaultConfig() Config {
	return Config{
		Dim: 128, Heads: 2, Hidden: 256, Blocks: 2, MaxLength: 200, Activation: nn.GELU, Dropout: 0.3, Loss: LossSoftmax, Negatives: 256, Calibration: 0.75,
		Batch: 64, Rate: 1e-3, FinalRate: 0.1, Epochs: 60, Patience: 6, ValidateEvery: 2, ValidationUsers: 512, Seed: 1,
	}
}

// Validate reports every field out of its range.
func (c Config) Validate() error {
	var errs []error
	between := func(name string, v, least, most int) {
		if v < least || v > most {
			errs = append(errs, fmt.Errorf("training.sasrec.%s must be between %d and %d, is %d", name, least, most, v))
		}
	}
	between("dim", c.Dim, 1, 4096)
	between("heads", c.Heads, 1, 64)
	between("hidden", c.Hidden, 1, 16384)
	between("blocks", c.Blocks, 1, 32)
	between("max_length", c.MaxLength, 1, 4096)
	between("negatives", c.Negatives, 1, 1<<20)
	between("batch", c.Batch, 1, 1<<16)
	between("epochs", c.Epochs, 1, 100000)
	between("patience", c.Patience, 0, 100000)
	between("validate_every", c.ValidateEvery, 1, 100000)
	between("validation_users", c.ValidationUsers, 0, 1<<30)
	between("workers", c.Workers, 0, 4096)
	if c.Heads > 0 && c.Dim%c.Heads != 0 {
		errs = append(errs, fmt.Errorf("training.sasrec.heads must divide dim, are %d and %d", c.Heads, c.Dim))
	}
	share := func(name string, v, below float64) {
		if !(v >= 0 && v <= below) {
			errs = append(errs, fmt.Errorf("training.sasrec.%s must be between 0 and %g, is %g", name, below, v))
		}
	}
	share("dropout", c.Dropout, 0.95)
	share("calibration", c.Calibration, 1)
	share("final_rate", c.FinalRate, 1)
	if !(c.Rate > 0) || math.IsInf(c.Rate, 0) {
		errs = append(errs, fmt.Errorf("training.sasrec.rate must be above 0, is %g", c.Rate))
	}
	if c.Loss != LossSoftmax && c.Loss != LossGBCE {
		errs = append(errs, fmt.Errorf("training.sasrec.loss must be %s or %s, is %q", LossSoftmax, LossGBCE, c.Loss))
	}
	if err := c.Activation.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("training.sasrec.%w", err))
	}
	return errors.Join(errs...)
}
