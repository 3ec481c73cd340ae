package nightly

import (
	"fmt"

	"marquee/internal/vec"
	"marquee/training/als"
)

// constant scores titles alike for everybody: popularity.
type constant []float32

func (c constant) Score(_ uint32, scores []float32) error {
	if len(c) != len(scores) {
		return fmt.Errorf("%d popularities for %d titles", len(c), len(scores))
	}
	copy(scores, c)
	return nil
}

// factors scores by the product of a user's and a title's vector.
type factors struct{ model *als.Model }

func (f factors) Score(user uint32, scores []float32) error {
	d := f.model.Dim
	vec.Gemv(scores, f.model.Items, f.model.Users[int(user)*d:int(user+1)*d])
	return nil
}
