package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"marquee/eval/benchmark"
	"marquee/eval/metric/judge"
	"marquee/training/dataset"
	"marquee/training/model/content"
	"marquee/training/model/ranking"
	"marquee/training/nightly"
	"marquee/training/ranker"
)

// hybridSources are the models whose candidates the hybrid ranks; the first also orders what none of them offers.
func hybridSources() []string {
	return []string{"als", "knn", "userknn", "ease", "popular", "popular_decayed"}
}

// hybrid is the ranker over all sources, trained on windows before the cut: in each, sources that know nothing of the window offer
// candidates, and what was made of what was shown in it, or what was played, tells them apart.
type hybrid struct {
	e     *engines
	known []offlineModel
	// plays: it learns from what was played alone, whatever is known of what was shown.
	plays bool
}

func (h hybrid) fit(ctx context.Context, s *dataset.Split, _ *benchmark.Benchmark, seed uint64) (_ judge.Scorer, err error) {
	titles, err := catalogueTitles(ctx, h.e.warehouse.Conn())
	if err != nil {
		return nil, err
	}
	cfg := h.e.settings.Training.Ranker
	cfg.Trees.Seed = seed
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("training.ranker: %w", err)
	}
	past := &nightly.History{Features: snapshots{h.e.builder()}, Lake: h.e.lake, Quantile: 0.9}
	defer func() { err = errors.Join(err, past.Forget(context.WithoutCancel(ctx))) }()
	end, err := past.Now(ctx, nightly.Snapshot{ID: s.Train.Snapshot, AsOf: time.UnixMicro(s.CutAt).UTC()})
	if err != nil {
		return nil, err
	}
	var shown *dataset.Slates
	if !h.plays {
		if shown, err = past.Slates(ctx, end, cfg.Clicks); err != nil {
			return nil, err
		}
	}
	var examples []*ranker.Examples
	for range cfg.Windows {
		w, err := past.Before(ctx, end)
		if err != nil {
			return nil, err
		}
		if w == nil {
			break
		}
		moment, err := h.moment(ctx, w.Split, titles, seed, shown)
		if err != nil {
			return nil, err
		}
		x, err := w.Episode(moment, shown).Examples(ctx, cfg)
		if err != nil {
			return nil, err
		}
		examples, end = append(examples, x), w
	}
	m, report, err := ranker.Train(ctx, ranking.Names(hybridSources()), examples, cfg)
	if err != nil {
		return nil, err
	}
	h.e.log.Info("ranker trained", "profiles", report.Profiles, "examples", report.Examples, "played", report.Played, "negatives", report.Negatives,
		"ndcg", report.NDCG, "calibration_error", report.CalibrationError, "examination", report.Examination, "most_important", report.Importance[:5])
	now, err := h.moment(ctx, s, titles, seed, shown)
	if err != nil {
		return nil, err
	}
	return m.Scorer(now)
}

// moment fits every source to what was known at a split's cut.
func (h hybrid) moment(ctx context.Context, s *dataset.Split, titles []content.Title, seed uint64, shown *dataset.Slates) (*ranker.Moment, error) {
	data := offlineBenchmark(s, "")
	var sources []ranker.Source
	for _, name := range hybridSources() {
		i := slices.IndexFunc(h.known, func(k offlineModel) bool { return k.name == name })
		scorer, err := h.known[i].fit(ctx, s, data, seed)
		if err != nil {
			return nil, fmt.Errorf("fit %s as a source: %w", name, err)
		}
		sources = append(sources, ranker.Source{Name: name, Scorer: scorer})
	}
	columns := ranker.Titles(s.Train, ranker.Described(s.Train.Titles, titles), s.CutAt, h.e.settings.Training.Nightly.PopularityHalfLife)
	if f, ok := sources[0].Scorer.(judge.Factors); ok {
		columns.Factors, columns.Dim = f.Titles, f.Dim
	}
	return ranker.NewMoment(s, columns, sources, shown)
}
