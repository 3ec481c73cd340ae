// Package foldin solves one row of an implicit-feedback factorization exactly: given the other side's factors and a
// row's interactions, the vector that minimises the regularised weighted square loss. Training runs it over every user and
// every title; serving runs it on a profile's history, so that a profile's vector is never stored and never stale.
//
// The loss of row x over the other side's factors y_j is
//
//	sum_{j seen} w_j (t_j - x.y_j)^2  +  a0 sum_j (x.y_j)^2  +  l (n + a0 J)^nu |x|^2
//
// with n interactions and J rows on the other side: Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback
// Datasets" (ICDM 2008), in the form of Rendle, Krichene, Zhang and Koren, "Revisiting the Performance of iALS on Item
// Recommendation Benchmarks" (RecSys 2022, arXiv 2110.14037), whose regularisation is scaled by frequency. A strength v
// means w = alpha |v| and a target t of 1, or of 0 where v is negative: a title begun and abandoned.
package foldin

import (
	"errors"
	"fmt"
	"math"
)

// Params are the parameters of the loss. They travel in a release, since a profile must be folded in with the very loss
// that its titles were trained on.
type Params struct {
	// Alpha is the weight of an interaction of strength 1, above 0.
	Alpha float64 `json:"alpha"`
	// Unobserved is a0, the weight of the target 0 at every cell, 0 or above.
	Unobserved float64 `json:"unobserved_weight"`
	// Lambda is the regularisation l, 0 or above. At 0 a row with few interactions may have no unique solution.
	Lambda float64 `json:"regularization"`
	// Nu is the exponent of frequency scaling, in [0, 2]: 0 regularises every row alike, 1 in proportion to its weight.
	Nu float64 `json:"regularization_exponent"`
	// Replace selects the 2008 paper's form, in which a seen cell's confidence a0+w stands in place of the unobserved
	// weight and its target is 1 throughout; otherwise the target 0 with weight a0 is kept beside it.
	Replace bool `json:"replace_unobserved"`
}

// Validate reports every parameter out of its range.
func (p Params) Validate() error {
	var errs []error
	check := func(name string, v, lo, hi float64, open bool) {
		if !(v >= lo && v <= hi) || (open && v == lo) {
			bracket := "["
			if open {
				bracket = "("
			}
			errs = append(errs, fmt.Errorf("%s must be in %s%g, %g], is %g", name, bracket, lo, hi, v))
		}
	}
	check("alpha", p.Alpha, 0, 1e9, true)
	check("unobserved_weight", p.Unobserved, 0, 1e9, false)
	check("regularization", p.Lambda, 0, 1e9, false)
	check("regularization_exponent", p.Nu, 0, 2, false)
	return errors.Join(errs...)
}

// Reg returns the regularisation of a row with n interactions where the other side has others rows.
func (p Params) Reg(n, others int) float64 {
	return p.Lambda * math.Pow(float64(n)+p.Unobserved*float64(others), p.Nu)
}

// Cell returns the weight w of an interaction and its pull on the right-hand side (w times target, plus a0 in the
// 2008 form).
func (p Params) Cell(strength float32) (w, pull float64) {
	if strength <= 0 {
		return -p.Alpha * float64(strength), 0
	}
	w = p.Alpha * float64(strength)
	if p.Replace {
		return w, w + p.Unobserved
	}
	return w, w
}
