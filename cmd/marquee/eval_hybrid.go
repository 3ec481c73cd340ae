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
	var episodes []ranker.Episode
	end := time.UnixMicro(s.CutAt)
	cfg := h.e.settings.Training.Ranker
	cfg.Trees.Seed = seed
	for range cfg.Windows {
		split, err := h.window(ctx, end)
		if err != nil {
			return nil, err
		}
		moment, err := h.moment(ctx, split, titles, seed)
		if err != nil {
			return nil, err
		}
		episodes = append(episodes, ranker.Episode{Moment: moment, Outcomes: outcomes(split)})
		end = time.UnixMicro(split.CutAt)
	}
	m, report, err := ranker.Train(ctx, ranking.Names(hybridSources()), episodes, cfg)
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
	whole, err := snapshots{b}.BuildAsOf(ctx, end)
	if err != nil {
		return nil, err
	}
	before, err := snapshots{b}.BuildAsOf(ctx, cut)
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
	m := &ranker.Moment{Seen: s.Train.ByProfile, At: s.Train.LastAt, Strength: s.Train.ByProfile.Values}
	for _, name := range hybridSources() {
		i := slices.IndexFunc(h.known, func(k offlineModel) bool { return k.name == name })
		scorer, err := h.known[i].fit(ctx, s, data, seed)
		if err != nil {
			return nil, fmt.Errorf("fit %s as a source: %w", name, err)
		}
		m.Sources = append(m.Sources, ranker.Source{Name: name, Scorer: scorer})
	}
	columns := rankingTitles(s.Train, inOrder(titles, s.Train.Titles), s.CutAt, h.e.settings.Training.Nightly.PopularityHalfLife)
	if f, ok := m.Sources[0].Scorer.(judge.Factors); ok {
		columns.Factors, columns.Dim = f.Titles, f.Dim
	}
	var err error
	m.Table, err = ranking.NewTable(columns, s.CutAt, len(m.Sources))
	return m, err
}

// rankingTitles are what is known of the titles as of a moment.
func rankingTitles(x *dataset.Interactions, titles []content.Title, asOf int64, halfLife time.Duration) ranking.Titles {
	out := ranking.Titles{
		Popularity: x.Popularity(), Decayed: x.DecayedPopularity(asOf, halfLife), Profiles: x.Profiles.Len(),
		Year: make([]int, len(titles)), FirstAt: make([]int64, len(titles)), Genres: make([][]uint16, len(titles)),
	}
	number := map[string]uint16{}
	for row, t := range titles {
		out.Year[row] = t.Year
		for _, g := range t.Genres {
			if _, known := number[g]; !known {
				number[g] = uint16(len(number))
			}
			out.Genres[row] = append(out.Genres[row], number[g])
		}
	}
	out.GenreCount = len(number)
	for i, t := range x.ByProfile.Indices {
		if out.FirstAt[t] == 0 || x.FirstAt[i] < out.FirstAt[t] {
			out.FirstAt[t] = x.FirstAt[i]
		}
	}
	return out
}

// outcomes are what the judged profiles did in a split's window.
func outcomes(s *dataset.Split) []ranker.Outcome {
	var out []ranker.Outcome
	for _, p := range s.Profiles {
		played, strength := s.Test.Row(int(p))
		finished := make([]float32, len(strength))
		for i, v := range strength {
			finished[i] = min(1, max(0, v))
		}
		out = append(out, ranker.Outcome{Profile: p, ID: s.Train.Profiles.ID(p), Played: played, Finished: finished})
	}
	return out
}
