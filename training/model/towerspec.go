package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"marquee/internal/ort"
)

// Spec is what an ONNX model must take and give to have a role in a release. Dimensions that are free, -1 here, must be free in the
// model too: how many are asked for at once changes from one call to the next.
type Spec struct {
	Role   string
	Inputs []ort.Port
	// Optional names the inputs that the model may do without.
	Optional []string
	Output   ort.Port
}

// UserTowerSpec is that of a user's tower beside titles' vectors of length dim: "history" and "strength", and "recency" where it wants
// that, viewers x titles, filled up with -1 and 0; it gives "vector", viewers x dim. A title goes by its row in the release.
func UserTowerSpec(dim int) Spec {
	list := []int64{-1, -1}
	return Spec{
		Role:     UserTowerRole,
		Inputs:   []ort.Port{{Name: "history", Type: ort.Int64, Shape: list}, {Name: "strength", Type: ort.Float, Shape: list}, {Name: "recency", Type: ort.Int64, Shape: list}},
		Optional: []string{"recency"},
		Output:   ort.Port{Name: "vector", Type: ort.Float, Shape: []int64{-1, int64(dim)}},
	}
}

// TitleTowerSpec is that of a title tower that makes vectors of length dim: "title", titles, the row in the release or -1 of a new one, and
// "terms" and "term_weights", titles x terms, filled up with -1 and 0, where it reads content; it gives "vector", titles x dim.
func TitleTowerSpec(dim int) Spec {
	list := []int64{-1, -1}
	return Spec{
		Role:     TitleTowerRole,
		Inputs:   []ort.Port{{Name: "title", Type: ort.Int64, Shape: []int64{-1}}, {Name: "terms", Type: ort.Int64, Shape: list}, {Name: "term_weights", Type: ort.Float, Shape: list}},
		Optional: []string{"terms", "term_weights"},
		Output:   ort.Port{Name: "vector", Type: ort.Float, Shape: []int64{-1, int64(dim)}},
	}
}

// RankerSpec is what an ONNX model must take and give to be the ranker of a release of so many features: "features", candidates x
// features, NaN for what is not known; it gives "scores", candidates x 1.
func RankerSpec(features int) Spec {
	return Spec{
		Role:   RankerRole,
		Inputs: []ort.Port{{Name: "features", Type: ort.Float, Shape: []int64{-1, int64(features)}}},
		Output: ort.Port{Name: "scores", Type: ort.Float, Shape: []int64{-1, 1}},
	}
}

// Open loads a model and checks it. Errors say what the model has and what would be right, all of it at once.
func (t Spec) Open(model []byte) (*ort.Session, error) {
	s, err := ort.Open(model, ort.Options{})
	if err != nil {
		return nil, err
	}
	if err := t.check(s.Inputs(), s.Outputs()); err != nil {
		return nil, errors.Join(fmt.Errorf("it is no %s: %w", t.Role, err), s.Close())
	}
	return s, nil
}

// check holds a model's ports against the role's.
func (t Spec) check(in, out []ort.Port) error {
	var errs []error
	named := func(ports []ort.Port, name string) *ort.Port {
		if i := slices.IndexFunc(ports, func(p ort.Port) bool { return p.Name == name }); i >= 0 {
			return &ports[i]
		}
		return nil
	}
	for _, want := range t.Inputs {
		switch have := named(in, want.Name); {
		case have == nil && !slices.Contains(t.Optional, want.Name):
			errs = append(errs, fmt.Errorf("it has no input %s", describePort(want)))
		case have != nil && !samePort(*have, want):
			errs = append(errs, fmt.Errorf("its input %s must be %s", describePort(*have), describePort(want)))
		}
	}
	for _, have := range in {
		if named(t.Inputs, have.Name) == nil {
			errs = append(errs, fmt.Errorf("nothing is known to give its input %s; there are %s", describePort(have), t.inputNames()))
		}
	}
	if (named(in, "terms") == nil) != (named(in, "term_weights") == nil) {
		errs = append(errs, errors.New("it has one of the inputs terms and term_weights, and must have both or none"))
	}
	if len(out) != 1 || out[0].Name != t.Output.Name || !samePort(out[0], t.Output) {
		var have []string
		for _, p := range out {
			have = append(have, describePort(p))
		}
		errs = append(errs, fmt.Errorf("its output is %s, it must be %s alone", strings.Join(have, " and "), describePort(t.Output)))
	}
	return errors.Join(errs...)
}

func (t Spec) inputNames() string {
	var names []string
	for _, p := range t.Inputs {
		names = append(names, describePort(p))
	}
	return strings.Join(names, ", ")
}

func samePort(a, b ort.Port) bool { return a.Type == b.Type && slices.Equal(a.Shape, b.Shape) }

// describePort is a port in words: its name, type and shape, free dimensions as "any".
func describePort(p ort.Port) string {
	dims := make([]string, len(p.Shape))
	for i, d := range p.Shape {
		if dims[i] = fmt.Sprint(d); d < 0 {
			dims[i] = "any"
		}
	}
	return fmt.Sprintf("%q of %s [%s]", p.Name, p.Type, strings.Join(dims, " x "))
}
