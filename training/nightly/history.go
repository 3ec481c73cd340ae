package nightly

import (
	"context"
	"errors"

	"marquee/features/snapshot"
	"marquee/internal/lake"
	"marquee/training/dataset"
	"marquee/training/ranker"
)

// Window is a stretch of history: what was known at its begin, and what came until its end.
type Window struct {
	// Split is of the two; nil for a window that has no end yet.
	Split *dataset.Split
	// Known is the snapshot as of the begin.
	Known Snapshot

	interactions *dataset.Interactions
}

// History goes back through windows, one before the other.
type History struct {
	Features FeatureBuilder
	Lake     *lake.Lake
	// Quantile is the share of the events up to its end that came before a window, above 0 and below 1.
	Quantile float64

	built []string // the snapshots that were built for it alone
}

// Now is the window that begins with a snapshot.
func (h *History) Now(ctx context.Context, known Snapshot) (*Window, error) {
	x, err := dataset.Load(ctx, h.Lake, known.ID)
	if err != nil {
		return nil, err
	}
	return &Window{Known: known, interactions: x}, nil
}

// Between is the window from one snapshot to another.
func (h *History) Between(ctx context.Context, known, until Snapshot) (*Window, error) {
	w, err := h.Now(ctx, known)
	if err != nil {
		return nil, err
	}
	whole, err := dataset.Load(ctx, h.Lake, until.ID)
	if err != nil {
		return nil, err
	}
	w.Split, err = dataset.SplitAt(whole, w.interactions, dataset.MinTrain)
	return w, err
}

// minWindow is how many pairs must have been known before a window for another one before it to be looked for.
const minWindow = 1000

// Before is the window that ends where w begins; nil when there was too little by then.
func (h *History) Before(ctx context.Context, w *Window) (*Window, error) {
	if w.interactions.Len() < minWindow {
		return nil, nil
	}
	cut, err := h.Features.EventTime(ctx, w.Known.AsOf, h.Quantile)
	if err != nil {
		return nil, err
	}
	if !cut.Before(w.Known.AsOf) {
		return nil, nil
	}
	s, err := h.Features.BuildInteractions(ctx, cut)
	if err != nil {
		return nil, err
	}
	if s.New {
		h.built = append(h.built, s.ID)
	}
	before, err := h.Now(ctx, s)
	if err != nil {
		return nil, err
	}
	before.Split, err = dataset.SplitAt(w.interactions, before.interactions, dataset.MinTrain)
	return before, err
}

// Slates are what was shown until a snapshot, nil where there are fewer than so many clicks on it or the snapshot does not say.
func (h *History) Slates(ctx context.Context, until *Window, clicks int) (*dataset.Slates, error) {
	s, err := dataset.LoadSlates(ctx, h.Lake, until.Known.ID, until.interactions.Profiles, until.interactions.Titles)
	if errors.Is(err, snapshot.ErrNotFound) || err == nil && s.Clicks() < clicks {
		return nil, nil
	}
	return s, err
}

// Forget removes the snapshots that were built to go back: nobody asks for them again, and they would push out those of other nights.
func (h *History) Forget(ctx context.Context) error {
	built := h.built
	h.built = nil
	return h.Features.RemoveSnapshots(ctx, built...)
}

// Episode is what a window teaches a ranker: what was shown in it, where that is known, else what was played.
func (w *Window) Episode(m *ranker.Moment, shown *dataset.Slates) *ranker.Episode {
	if shown == nil {
		return &ranker.Episode{Moment: m, Outcomes: ranker.Outcomes(w.Split)}
	}
	x := w.Split.Train
	return &ranker.Episode{Moment: m, Slates: ranker.Slates(shown.Under(x.Profiles, x.Titles), w.Split.CutAt, w.Split.Until)}
}
