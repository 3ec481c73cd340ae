// Package knn recommends by neighbourhood: titles watched by the same profiles, or what the profiles most alike watch. Every
// other model has to beat these (Ferrari Dacrema, Cremonesi and Jannach, Are we really making much progress?, 2019).
package knn

import (
	"errors"
	"fmt"
	"math"
)

// ErrData is wrapped by every error about the interactions a model is to be made of.
var ErrData = errors.New("cannot train on this data")

// Config is what decides a model besides the data. A row is a title for item-kNN and a profile for user-kNN, and its entries
// are the profiles or titles it met.
type Config struct {
	// Neighbours is how many of a row's nearest rows are kept, 1 or more.
	Neighbours int `koanf:"neighbours"`
	// Shrinkage is added to the similarity's denominator, so that a similarity few entries speak for is small. 0 or more.
	Shrinkage float64 `koanf:"shrinkage"`
	// Asymmetry is the exponent of the row's own norm in the denominator; the other's is 1-Asymmetry. 0.5 is the
	// cosine; less makes large rows less alike to everything (Aiolli 2013). 0 to 1.
	Asymmetry float64 `koanf:"asymmetry"`
	// Activity makes a profile that watches much (for user-kNN: a title that is watched much) count less: its strengths are
	// multiplied by their number to the power of -Activity. 0 counts all alike, 0.5 scales equal strengths to length 1
	// (Karypis 2001). 0 to 1.
	Activity float64 `koanf:"activity"`
	// BM25 weighs an entry by K1 and B of Okapi BM25 (Robertson and Zaragoza 2009) before it is compared, rows being documents and
	// what they met terms: a profile that watches everything says little. With K1 = 0 entries are taken as they are.
	K1 float64 `koanf:"k1"`
	B  float64 `koanf:"b"`
	// Workers is the number of goroutines; 0 means one a processor. It does not affect the result.
	Workers int `koanf:"workers"`
}

// DefaultConfig returns the cosine with 100 neighbours and a little shrinkage.
func DefaultConfig() Config { return Config{Neighbours: 100, Shrinkage: 10, Asymmetry: 0.5, B: 0.5} }

// DefaultUserConfig returns the same for user-kNN, with popular titles counting less.
func DefaultUserConfig() Config {
	return Config{Neighbours: 100, Shrinkage: 10, Asymmetry: 0.5, Activity: 0.5, B: 0.5}
}

// Validate reports every field out of its range.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Neighbours >= 1, "neighbours must be 1 or more, is %d", c.Neighbours)
	check(c.Shrinkage >= 0 && !math.IsInf(c.Shrinkage, 1), "shrinkage must be 0 or more, is %g", c.Shrinkage)
	check(c.Asymmetry >= 0 && c.Asymmetry <= 1, "asymmetry must be between 0 and 1, is %g", c.Asymmetry)
	check(c.Activity >= 0 && c.Activity <= 1, "activity must be between 0 and 1, is %g", c.Activity)
	check(c.K1 >= 0 && !math.IsInf(c.K1, 1), "k1 must be 0 or more, is %g", c.K1)
	check(c.B >= 0 && c.B <= 1, "b must be between 0 and 1, is %g", c.B)
	check(c.Workers >= 0, "workers must be 0 or more, is %d", c.Workers)
	return errors.Join(errs...)
}
