package nightly

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"marquee/internal/sparse"
	"marquee/training/als"
	"marquee/training/dataset"
	"marquee/training/model"
	"marquee/training/ranker"
	"marquee/training/twotower"
)

// Recipe is everything that decides a release besides its data. It travels in the release's manifest, so that an
// incumbent can be trained again on the very split its challenger is judged by.
type Recipe struct {
	ALS als.Config `json:"als"`
	// Ranker is that of the ranker over all sources; the zero Config is of none.
	Ranker ranker.Config `json:"ranker"`
	// Towers is that of the two towers; the zero Config is of none.
	Towers twotower.Config `json:"towers,omitzero"`
}

// Validate reports everything that is out of its range.
func (r Recipe) Validate() error {
	errs := []error{r.ALS.Validate()}
	if r.Ranker != (ranker.Config{}) {
		if err := r.Ranker.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("training.ranker: %w", err))
		}
	}
	if t := r.Towers; t != (twotower.Config{}) {
		errs = append(errs, t.Validate())
		if t.UserIDs {
			errs = append(errs, errors.New("training.twotower.user_ids must be false: a release holds titles, never profiles"))
		}
		if t.Ordered {
			errs = append(errs, errors.New("training.twotower.ordered must be false: nights read histories as sets"))
		}
	}
	return errors.Join(errs...)
}

// hyperparameters is the recipe as a manifest carries it.
func (r Recipe) hyperparameters() (map[string]any, error) {
	b, err := json.Marshal(r.comparable())
	if err != nil {
		return nil, fmt.Errorf("encode the recipe: %w", err)
	}
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("encode the recipe: %w", err)
	}
	return out, nil
}

// recipeOf reads a recipe back from a manifest. A release made by hand carries none.
func recipeOf(m model.Manifest) (Recipe, error) {
	fields, ok := m.Hyperparameters["als"].(map[string]any)
	if !ok {
		return Recipe{}, errors.New("the release's hyperparameters have no als")
	}
	fields = maps.Clone(fields)
	// As a float64 a seed loses its last digits, and may exceed what it was; the manifest has it in full.
	delete(fields, "Seed")
	b, err := json.Marshal(fields)
	if err != nil {
		return Recipe{}, fmt.Errorf("read the release's recipe: %w", err)
	}
	var r Recipe
	if err := json.Unmarshal(b, &r.ALS); err != nil {
		return Recipe{}, fmt.Errorf("read the release's recipe: %w", err)
	}
	r.ALS.Seed = m.Seed
	return r, nil
}

// comparable is the recipe without what does not decide the result.
func (r Recipe) comparable() Recipe {
	r.ALS.Workers, r.ALS.TrackLoss, r.Ranker.Trees.Workers = 0, false, 0
	r.Towers.Workers = 0
	return r
}

// Matrix is what ALS trains on: strengths, with what was abandoned or disliked held against the title.
func Matrix(x *dataset.Interactions) *sparse.CSR {
	m := *x.ByProfile
	m.Values = make([]float32, len(x.ByProfile.Values))
	for i, v := range x.ByProfile.Values {
		m.Values[i] = model.Value(v, x.Flags[i]&dataset.Abandoned != 0, x.Flags[i]&dataset.Disliked != 0)
	}
	return &m
}
