package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"marquee/eval/benchmark"
	"marquee/eval/metric/judge"
	"marquee/training/dataset"
	"marquee/training/model/content"
	"marquee/training/model/ranking"
	"marquee/training/ranker"
)

// hybridSources are the models whose candidates the hybrid ranks; the first also orders what none of them offers.
func hybridSources() []string {
	return []string{"als", "knn", "userknn", "ease", "popular", "popular_decayed"}
}

// hybrid is the ranker over all sources, trained on windows before the cut: in each, sources that know nothing of the window offer
// candidates, and what was played in it tells them apart.
type hybrid struct {
	e     *engines
	known []offlineModel
}

func (h hybrid) fit(ctx context.Context, s *dataset.Split, b *benchmark.Benchmark, seed uint64) (judge.Scorer, error) {
	titles, err := catalogueTitles(ctx, h.e.warehouse.Conn())
	if err != nil {
		return nil, err
	}
	var examples []*ranker.Examples
	end := time.UnixMicro(s.CutAt)
	cfg := h.e.settings.Training.Ranker
	cfg.Trees.Seed = seed
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("training.ranker: %w", err)
	}
	for range cfg.Windows {
		split, err := h.window(ctx, end)
		if err != nil {
			return nil, err
		}
		moment, err := h.moment(ctx, split, titles, seed)
		if err != nil {
			return nil, err
		}
		x, err := (&ranker.Episode{Moment: moment, Outcomes: ranker.Outcomes(split)}).Examples(ctx, cfg)
		if err != nil {
			return nil, err
		}
		examples = append(examples, x)
		end = time.UnixMicro(split.CutAt)
	}
	m, report, err := ranker.Train(ctx, ranking.Names(hybridSources()), examples, cfg)
	if err != nil {
		return nil, err
	}
	h.e.log.Info("ranker trained", "profiles", report.Profiles, "examples", report.Examples, "played", report.Played, "negatives", report.Negatives,
		"ndcg", report.NDCG, "calibration_error", report.CalibrationError, "most_important", report.Importance[:5])
	now, err := h.moment(ctx, s, titles, seed)
	if err != nil {
		return nil, err
	}
	return m.Scorer(now)
}

// window is the last tenth of the events up to end, cut off from what came before.
func (h hybrid) window(ctx context.Context, end time.Time) (*dataset.Split, error) {
	b := h.e.builder()
	cut, err := b.EventTime(ctx, end, 0.9)
	if err != nil {
		return nil, err
	}
	whole, err := snapshots{b}.BuildInteractions(ctx, end)
	if err != nil {
		return nil, err
	}
	before, err := snapshots{b}.BuildInteractions(ctx, cut)
	if err != nil {
		return nil, err
	}
	x, err := dataset.Load(ctx, h.e.lake, whole.ID)
	if err != nil {
		return nil, err
	}
	t, err := dataset.Load(ctx, h.e.lake, before.ID)
	if err != nil {
		return nil, err
	}
	return dataset.SplitAt(x, t, dataset.MinTrain)
}

// moment fits every source to what was known at a split's cut.
func (h hybrid) moment(ctx context.Context, s *dataset.Split, titles []content.Title, seed uint64) (*ranker.Moment, error) {
	data := offlineBenchmark(s, "")
	m := &ranker.Moment{Now: s.CutAt, Seen: s.Train.ByProfile, At: s.Train.LastAt, Strength: s.Train.ByProfile.Values}
	for _, name := range hybridSources() {
		i := slices.IndexFunc(h.known, func(k offlineModel) bool { return k.name == name })
		scorer, err := h.known[i].fit(ctx, s, data, seed)
		if err != nil {
			return nil, fmt.Errorf("fit %s as a source: %w", name, err)
		}
		m.Sources = append(m.Sources, ranker.Source{Name: name, Scorer: scorer})
	}
	columns := ranker.Titles(s.Train, ranker.Described(s.Train.Titles, titles), s.CutAt, h.e.settings.Training.Nightly.PopularityHalfLife)
	if f, ok := m.Sources[0].Scorer.(judge.Factors); ok {
		columns.Factors, columns.Dim = f.Titles, f.Dim
	}
	var err error
	m.Table, err = ranking.NewTable(columns, len(m.Sources))
	return m, err
}
