package nightly

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"marquee/training/dataset"
	"marquee/training/model"
	"marquee/training/model/content"
	"marquee/training/onnx"
	"marquee/training/registry"
	"marquee/training/twotower"
)

// Only what is released begins from the release before it. What is evaluated never does: that release knows the very events it would be
// judged by.

// A warm start takes fewer epochs: as many would be wasted by ALS, which after one from the release of a tenth of the events less had a
// lower loss than after eight from chance (MovieLens 1M), and harm the towers, which learn by heart what they are shown night after
// night: after twelve nights of 15 epochs NDCG@10 had gone from .266 to .255, of 3 epochs it stayed at .264. So much of the titles must
// have been carried over for it.
const (
	warmALS    = 2
	warmTowers = 5
	warmShare  = .9
)

// epochs is how many of n a start makes, where a warm one makes one of every so many.
func (w *WarmStart) epochs(n, every, carried, titles int) int {
	if w == nil || !w.Warm || float64(carried) < warmShare*float64(titles) {
		return n
	}
	return (n + every - 1) / every
}

// Beginning says what the training of a release began from.
type Beginning struct {
	// Warm: from the release From, of which the vectors of Titles titles were taken over, by the towers those of Towers.
	Warm   bool   `json:"warm"`
	From   string `json:"from,omitempty"`
	Titles int    `json:"titles"`
	Towers int    `json:"towers,omitempty"`
	// Reason says why from chance, where it was, and what else could not be taken over.
	Reason string `json:"reason,omitempty"`
}

// WarmStart is what training begins from.
type WarmStart struct {
	Beginning
	// factors are titles x dim, zero of what the release did not know; towers the parameters of the towers by name. Nil begins from chance.
	factors []float32
	towers  map[string][]float32
}

// cold is a start from chance.
func cold(format string, args ...any) *WarmStart {
	return &WarmStart{Beginning: Beginning{Reason: fmt.Sprintf(format, args...)}}
}

// warmStart reads what the incumbent has for the titles of x. One that cannot be read is no reason to fail.
func (p *Pipeline) warmStart(ctx context.Context, incumbent string, x *dataset.Interactions, described *content.Model) (_ *WarmStart, err error) {
	switch {
	case !p.Config.WarmStart:
		return cold("training.nightly.warm_start is false"), nil
	case incumbent == "":
		return cold("there is no release before it"), nil
	}
	dir, err := p.Registry.FetchDir(ctx, incumbent, filepath.Join(p.Staging, "nightly", "before"))
	var before *model.Bundle
	if err == nil {
		before, err = model.Open(dir)
	}
	if errors.Is(err, registry.ErrUnknown) || errors.Is(err, model.ErrCorrupt) || errors.Is(err, model.ErrVersion) || errors.Is(err, os.ErrNotExist) {
		p.Log.Warn("the release before cannot be begun from", "release", incumbent, "error", err)
		return cold("the release before cannot be read"), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the release to begin from: %w", err)
	}
	defer func() { err = errors.Join(err, before.Release()) }()
	if have, want := before.Dim(), p.Recipe.ALS.Dim; have != want {
		return cold("the release before has vectors of %d numbers, this one of %d", have, want), nil
	}
	w := &WarmStart{Beginning: Beginning{Warm: true, From: incumbent}}
	w.takeFactors(before, x)
	if p.Recipe.Towers.Epochs > 0 {
		if err := w.takeTowers(before, dir, x, described, p.Recipe.Towers); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// takeFactors takes the vectors of the titles that both have.
func (w *WarmStart) takeFactors(before *model.Bundle, x *dataset.Interactions) {
	d := before.Dim()
	w.factors = make([]float32, x.Titles.Len()*d)
	for t := range x.Titles.Len() {
		if row, ok := before.Row(x.Titles.ID(uint32(t))); ok {
			copy(w.factors[t*d:(t+1)*d], before.Factors(row))
			w.Titles++
		}
	}
}

// takeTowers takes the towers' parameters, where those before are of the same kind.
func (w *WarmStart) takeTowers(before *model.Bundle, dir string, x *dataset.Interactions, described *content.Model, cfg twotower.Config) error {
	info := before.Manifest().Towers
	switch {
	case info == nil:
		w.Reason = "the release before has no towers, these begin from chance"
		return nil
	case cfg.Neighbours > 0:
		w.Reason = "towers with neighbours begin from chance: in a release a title's own vector and its neighbours' are one"
		return nil
	case len(before.Manifest().Imported) > 0:
		w.Reason = "the towers of the release before were made elsewhere, these begin from chance"
		return nil
	}
	weights := map[string]onnx.Tensor{}
	for _, name := range []string{model.TitleTowerFile, model.UserTowerFile} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("read the towers to begin from: %w", err)
		}
		some, err := onnx.Weights(data)
		if err != nil {
			return fmt.Errorf("read the towers to begin from: %s: %w", name, err)
		}
		for k, v := range some {
			weights[k] = v
		}
	}
	params, ok := sameTowers(weights, cfg)
	table, okTitles := weights["titles"]
	if !ok || !okTitles || len(table.Floats) != (before.Len()+1)*cfg.Dim {
		w.Reason = "the towers of the release before are of another shape, these begin from chance"
		return nil
	}
	d := cfg.Dim
	titles := make([]float32, x.Titles.Len()*d)
	for t := range x.Titles.Len() {
		if row, ok := before.Row(x.Titles.ID(uint32(t))); ok {
			copy(titles[t*d:(t+1)*d], table.Floats[int(row)*d:])
			w.Towers++
		}
	}
	params["titles"] = titles
	if terms := termsOf(before.Content(), described, weights["terms_table"].Floats, d); terms != nil {
		params["terms"] = terms
	}
	w.towers = params
	return nil
}

// sameTowers are the parameters besides the tables, and whether they are those of the configuration.
func sameTowers(weights map[string]onnx.Tensor, c twotower.Config) (map[string][]float32, bool) {
	if c.Neighbours > 0 { // a title's row is exported with its neighbours' in it
		return nil, false
	}
	want := map[string]int{"project.weight": c.Dim * c.Dim}
	if c.Pooling == twotower.PoolAttention {
		want["query"], want["recency_bias"] = c.Dim, c.RecencyBuckets
	}
	if c.Hidden > 0 {
		want["wide.weight"], want["wide.bias"], want["close.weight"], want["close.bias"] = c.Dim*c.Hidden, c.Hidden, c.Hidden*c.Dim, c.Dim
	}
	out := map[string][]float32{}
	for _, name := range []string{"project.weight", "query", "recency_bias", "wide.weight", "wide.bias", "close.weight", "close.bias"} {
		if have := weights[name].Floats; len(have) != want[name] {
			return nil, false
		} else if have != nil {
			if name == "recency_bias" {
				name = "recency"
			}
			out[name] = have
		}
	}
	return out, true
}

// termsOf is the table of terms in the numbers of described; nil where either has none.
func termsOf(before, described *content.Model, table []float32, d int) []float32 {
	if before == nil || described == nil {
		return nil
	}
	old, terms := before.Table().Terms, described.Table().Terms
	if len(table) != (len(old)+1)*d {
		return nil
	}
	at := make(map[string]int, len(old))
	for i, t := range old {
		at[t] = i
	}
	out := make([]float32, len(terms)*d)
	for i, t := range terms {
		if j, ok := at[t]; ok {
			copy(out[i*d:(i+1)*d], table[j*d:(j+1)*d])
		}
	}
	return out
}
