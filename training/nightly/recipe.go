package nightly

import (
	"encoding/json"
	"fmt"

	"marquee/training/als"
	"marquee/training/dataset"
	"marquee/training/model"
	"marquee/training/sparse"
)

// Recipe is everything that decides a release besides its data. It travels in the release's manifest, so that an
// incumbent can be trained again on the very split its challenger is judged by.
type Recipe struct {
	ALS als.Config `json:"als"`
}

// hyperparameters is the recipe as a manifest carries it.
func (r Recipe) hyperparameters() (map[string]any, error) {
	b, err := json.Marshal(r)
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
func recipeOf(hyperparameters map[string]any) (Recipe, bool, error) {
	if hyperparameters["als"] == nil {
		return Recipe{}, false, nil
	}
	b, err := json.Marshal(hyperparameters)
	if err != nil {
		return Recipe{}, false, fmt.Errorf("read the release's recipe: %w", err)
	}
	var r Recipe
	if err := json.Unmarshal(b, &r); err != nil {
		return Recipe{}, false, fmt.Errorf("read the release's recipe: %w", err)
	}
	return r, true, nil
}

// comparable is the recipe without what does not decide the result.
func (r Recipe) comparable() Recipe {
	r.ALS.Workers, r.ALS.TrackLoss = 0, false
	return r
}

// matrix is what ALS trains on: strengths, with what was abandoned or disliked held against the title.
func matrix(x *dataset.Interactions) *sparse.CSR {
	m := *x.ByProfile
	m.Values = make([]float32, len(x.ByProfile.Values))
	for i, v := range x.ByProfile.Values {
		m.Values[i] = model.Value(v, x.Flags[i]&dataset.Abandoned != 0, x.Flags[i]&dataset.Disliked != 0)
	}
	return &m
}
