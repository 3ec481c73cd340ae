// Package twotower trains two towers: one makes a vector of a viewer, the other of a title, and a title is worth the product of the two. The
// viewer's tower reads who they are (attributes, where wanted their number), what they watched (strength and recency, pooled by mean or
// attention) and the context; the title's reads its number and what the catalogue says of it, so that a new title has a vector.
//
// Losses are the cosine contrastive loss of SimpleX (Mao et al., SimpleX: A Simple and Strong Baseline for Collaborative Filtering, 2021), whose
// aggregation of the history this follows, and the sampled softmax with correction for popularity over mixed negatives (Yi et al., Sampling-
// Bias-Corrected Neural Modeling, 2019; Yang et al., Mixed Negative Sampling, 2020).
//
// Training is deterministic: the same data, configuration and kind of processor give the same parameters to the bit, whatever the number
// of workers and wherever it was interrupted and resumed.
package twotower

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrData is wrapped by every error about the data given.
var ErrData = errors.New("cannot train on this data")

// Losses, poolings and starts.
const (
	LossCosine  = "cosine_contrastive"
	LossSoftmax = "softmax"

	PoolMean      = "mean"
	PoolAttention = "attention"

	StartNormal   = "normal"
	StartSpectral = "spectral"
)

// Config is what decides a model besides the data.
type Config struct {
	// Dim is the length of vectors.
	Dim int `koanf:"dim"`
	// UserIDs gives every user an embedding of its own, of the weight Gate beside the history's 1-Gate. Without, users are what they
	// watched, and a new one needs no training.
	UserIDs bool    `koanf:"user_ids"`
	Gate    float64 `koanf:"gate"`
	// Pooling is mean or attention. A mean is divided by the sum of weights to the power of HistoryPower: 1 is a true mean, 0 a sum.
	Pooling      string  `koanf:"pooling"`
	HistoryPower float64 `koanf:"history_power"`
	// Neighbours is the number of titles most watched together with a title whose embeddings (of a table of their own), weighted by how much they
	// are, are part of its vector; 0 leaves that out. New titles have none.
	Neighbours int `koanf:"neighbours"`
	// MaxHistory is the number of titles of a history that are read: the last ones where it is Ordered, otherwise any.
	MaxHistory int `koanf:"max_history"`
	// Ordered says that histories are in order of time: an example reads only what came before it. Otherwise it reads all but its own title.
	Ordered bool `koanf:"ordered"`
	// RecencyBuckets is the number of ages told apart by attention, doubling from one day on.
	RecencyBuckets int `koanf:"recency_buckets"`
	// Hidden, where above 0, is the width of a residual layer on top of the user's tower.
	Hidden int `koanf:"hidden"`
	// Loss is cosine_contrastive or softmax. Of the former are Margin and NegativeWeight; Temperature divides the cosines of the latter, which takes the
	// batch's titles for negatives as well.
	Loss           string  `koanf:"loss"`
	Margin         float64 `koanf:"margin"`
	NegativeWeight float64 `koanf:"negative_weight"`
	Temperature    float64 `koanf:"temperature"`
	// Negatives is the number of titles sampled uniformly for each batch; as many as there are titles means each of them once where
	// examples are sets.
	Negatives int `koanf:"negatives"`
	// SetShare, where above 0, makes an example of a user instead of a watch: up to that share of the history, drawn anew each time, is
	// to be predicted from the rest, all of it by one vector, contexts not read. Of the softmax, where the order is not known.
	SetShare float64 `koanf:"set_share"`
	// PopularityPower gives a title's vector the length (1 + its watches)^PopularityPower instead of 1 once trained: a cosine alone cannot
	// say that of two titles as near the more watched is likelier, and training under such lengths ranked worse.
	PopularityPower float64 `koanf:"popularity_power"`
	// Dropout is the share of the user vector's numbers dropped in training.
	Dropout float64 `koanf:"dropout"`
	// Start is normal or spectral: embeddings from the leading singular vectors of the normalised matrix of histories.
	Start string `koanf:"start"`
	// Batch is the number of examples of a step. Rate is Adam's; it falls to FinalRate times itself over the epochs, along a cosine. Decay
	// is the L2 regularisation of what a step touches.
	Batch     int     `koanf:"batch"`
	Rate      float64 `koanf:"rate"`
	FinalRate float64 `koanf:"final_rate"`
	Decay     float64 `koanf:"decay"`
	// Epochs bounds the epochs. After Patience validations without a new best, one every ValidateEvery epochs, training ends. Validation holds a
	// tenth of the titles of ValidationUsers users out (the last, where Ordered); 0 trains on all and for all epochs.
	Epochs          int `koanf:"epochs"`
	Patience        int `koanf:"patience"`
	ValidateEvery   int `koanf:"validate_every"`
	ValidationUsers int `koanf:"validation_users"`
	// Seed decides the start, the order, the samples and who validates.
	Seed uint64 `koanf:"seed"`
	// Workers is the number of goroutines; 0 means one a processor. It does not affect the result.
	Workers int `koanf:"workers"`
}

// DefaultConfig suits some ten thousand titles and users known by what they watched.
func DefaultConfig() Config {
	return Config{
		Dim: 64, Gate: 0.5, Pooling: PoolMean, HistoryPower: 0.5, MaxHistory: 200, RecencyBuckets: 12,
		Loss: LossCosine, Margin: 0.7, NegativeWeight: 150, Temperature: 0.1, Negatives: 1000, Dropout: 0.1, Start: StartSpectral,
		Batch: 1024, Rate: 1e-3, FinalRate: 0.1, Epochs: 30, Patience: 3, ValidateEvery: 2, ValidationUsers: 3000, Seed: 1,
	}
}

// Validate reports every field out of its range.
func (c Config) Validate() error {
	var errs []error
	between := func(name string, v, least, most int) {
		if v < least || v > most {
			errs = append(errs, fmt.Errorf("training.twotower.%s must be between %d and %d, is %d", name, least, most, v))
		}
	}
	between("dim", c.Dim, 1, 4096)
	between("neighbours", c.Neighbours, 0, 10000)
	between("max_history", c.MaxHistory, 1, 1<<20)
	between("recency_buckets", c.RecencyBuckets, 1, 64)
	between("hidden", c.Hidden, 0, 16384)
	between("negatives", c.Negatives, 0, 1<<20)
	between("batch", c.Batch, 1, 1<<20)
	between("epochs", c.Epochs, 1, 100000)
	between("patience", c.Patience, 0, 100000)
	between("validate_every", c.ValidateEvery, 1, 100000)
	between("validation_users", c.ValidationUsers, 0, 1<<30)
	between("workers", c.Workers, 0, 4096)
	within := func(name string, v, least, most float64) {
		if !(v >= least && v <= most) {
			errs = append(errs, fmt.Errorf("training.twotower.%s must be between %g and %g, is %g", name, least, most, v))
		}
	}
	within("gate", c.Gate, 0, 1)
	within("history_power", c.HistoryPower, 0, 1)
	within("margin", c.Margin, -1, 1)
	within("negative_weight", c.NegativeWeight, 0, 1e9)
	within("temperature", c.Temperature, 1e-3, 1e3)
	within("popularity_power", c.PopularityPower, 0, 1)
	within("set_share", c.SetShare, 0, 1)
	within("dropout", c.Dropout, 0, 0.95)
	within("final_rate", c.FinalRate, 0, 1)
	within("decay", c.Decay, 0, 1)
	if !(c.Rate > 0) || math.IsInf(c.Rate, 0) {
		errs = append(errs, fmt.Errorf("training.twotower.rate must be above 0, is %g", c.Rate))
	}
	if c.Loss == LossCosine && c.Negatives == 0 {
		errs = append(errs, errors.New("training.twotower.negatives must be 1 or more with the cosine contrastive loss, is 0"))
	}
	if c.SetShare > 0 && (c.Loss != LossSoftmax || c.Ordered) {
		errs = append(errs, errors.New("training.twotower.set_share must be 0 but with the softmax loss and without ordered"))
	}
	one := func(name, v string, of ...string) {
		if !slices.Contains(of, v) {
			errs = append(errs, fmt.Errorf("training.twotower.%s must be one of %v, is %q", name, of, v))
		}
	}
	one("loss", c.Loss, LossCosine, LossSoftmax)
	one("pooling", c.Pooling, PoolMean, PoolAttention)
	one("start", c.Start, StartNormal, StartSpectral)
	return errors.Join(errs...)
}
