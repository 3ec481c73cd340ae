package nightly

import (
	"errors"
	"fmt"
	"time"
)

// Config decides how a nightly run judges and keeps releases.
type Config struct {
	// HoldoutQuantile is where event time is cut for the evaluation, between 0 and 1: 0.9 is protocol gt-90.
	HoldoutQuantile float64 `koanf:"holdout_quantile"`
	// PopularityHalfLife is the half-life of the decayed popularity that models are measured beside and that serving
	// falls back to.
	PopularityHalfLife time.Duration `koanf:"popularity_half_life"`
	// MaxLoss is how much of the incumbent's NDCG@10 a candidate may lose and still be promoted, as a share: what the
	// noise of an evaluation may take away.
	MaxLoss float64 `koanf:"max_loss"`
	// KeepReleases is how many releases stay in the registry; the current one and its rollback target always do.
	KeepReleases int `koanf:"keep_releases"`
	// KeepSnapshots is how many feature snapshots stay in the lake.
	KeepSnapshots int `koanf:"keep_snapshots"`
	// LeaseTTL is how long a dead run keeps others out.
	LeaseTTL time.Duration `koanf:"lease_ttl"`
	// Index is who makes a release's search indexes: marquee, or coder for coder/hnsw, which version 0.6.1 of is refused
	// at publishing for finding too few beyond some hundred titles.
	Index string `koanf:"index"`
	// Ranker is what the ranker over all sources (training.ranker) may be learnt from: slates, what profiles were shown and clicked or
	// not, where enough of that is known; always, from plays where it is not; off, never. It is released where it does better than the
	// factors alone in the evaluation. From plays alone it learns what viewers were shown along with what they like: in the
	// simulator, whose tastes are known, it then foretold plays better and served viewers worse.
	Ranker string `koanf:"ranker"`
	// Towers: the night trains two towers as well (training.twotower), and releases them where popularity is no better.
	Towers bool `koanf:"towers"`
	// WarmStart: what is released is trained from the vectors of the release in use, where both have a title. What is evaluated
	// is not, since that release knows the events it is judged by.
	WarmStart bool `koanf:"warm_start"`
}

// The values of Config.Index.
const (
	indexMarquee = "marquee"
	indexCoder   = "coder"
)

// The values of Config.Ranker.
const (
	RankerOff    = "off"
	RankerSlates = "slates"
	RankerAlways = "always"
)

// DefaultConfig returns what suits a nightly schedule.
func DefaultConfig() Config {
	return Config{
		HoldoutQuantile: 0.9, PopularityHalfLife: 30 * 24 * time.Hour, MaxLoss: 0.02,
		KeepReleases: 7, KeepSnapshots: 7, LeaseTTL: 30 * time.Second, Index: indexMarquee, Ranker: RankerSlates, Towers: true, WarmStart: true,
	}
}

// Validate reports every field out of its range.
func (c Config) Validate() error {
	var errs []error
	bad := func(field, want string, got any) {
		errs = append(errs, fmt.Errorf("training.nightly.%s must be %s, is %v", field, want, got))
	}
	if !(c.HoldoutQuantile > 0 && c.HoldoutQuantile < 1) {
		bad("holdout_quantile", "between 0 and 1", c.HoldoutQuantile)
	}
	if c.PopularityHalfLife < time.Hour {
		bad("popularity_half_life", "at least 1h", c.PopularityHalfLife)
	}
	if !(c.MaxLoss >= 0 && c.MaxLoss < 1) {
		bad("max_loss", "at least 0 and below 1", c.MaxLoss)
	}
	if c.KeepReleases < 2 || c.KeepReleases > 10000 {
		bad("keep_releases", "between 2 and 10000", c.KeepReleases)
	}
	if c.KeepSnapshots < 2 || c.KeepSnapshots > 10000 {
		bad("keep_snapshots", "between 2 and 10000", c.KeepSnapshots)
	}
	if c.LeaseTTL < time.Second || c.LeaseTTL > time.Hour {
		bad("lease_ttl", "between 1s and 1h", c.LeaseTTL)
	}
	if c.Index != indexMarquee && c.Index != indexCoder {
		bad("index", "marquee or coder", c.Index)
	}
	if c.Ranker != RankerOff && c.Ranker != RankerSlates && c.Ranker != RankerAlways {
		bad("ranker", "off, slates or always", c.Ranker)
	}
	return errors.Join(errs...)
}
