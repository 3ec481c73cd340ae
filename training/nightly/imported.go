package nightly

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"marquee/eval/metric/judge"
	"marquee/training/dataset"
	"marquee/training/model"
)

// ErrWorse is a model that popularity beats.
var ErrWorse = errors.New("popularity does better")

// JudgeImported measures the towers of a release, one of which was made elsewhere, by the events of x after the cut: the gate that a night's
// own towers pass. Where it was trained, the model may have seen those events, which nobody here can tell. Errors wrap ErrWorse where popularity does
// better.
func JudgeImported(ctx context.Context, b *model.Bundle, x *dataset.Interactions, cfg Config) (map[string]map[string]float64, *TowersVerdict, error) {
	s, err := dataset.SplitGlobalTime(x, cfg.HoldoutQuantile, dataset.MinTrain)
	if err != nil {
		return nil, nil, err
	}
	h := holdout(s)
	e := &evaluation{CutAt: time.UnixMicro(s.CutAt), Users: len(h.Users), Metrics: map[string]map[string]float64{}, Towers: &TowersVerdict{}}
	popular, err := e.measure(ctx, modelPopular, h, judge.Constant(s.Train.Popularity()))
	if err != nil {
		return nil, nil, err
	}
	scorer, err := bundleScorer(ctx, b, s, h)
	if err != nil {
		return nil, nil, err
	}
	result, err := e.measure(ctx, modelTowers, h, scorer)
	if err != nil {
		return nil, nil, err
	}
	against, err := compare(result, popular, modelPopular)
	if err != nil {
		return nil, nil, err
	}
	if e.Towers.decide(against, nil); !e.Towers.Released {
		return nil, e.Towers, fmt.Errorf("%w: %s", ErrWorse, strings.TrimPrefix(e.Towers.Reason, noTowers))
	}
	return map[string]map[string]float64{modelTowers: result.Metrics}, e.Towers, nil
}

// judgedTogether is how many viewers the user's tower is asked of at a time.
const judgedTogether = 256

// bundleScorer scores the judged users by the release's towers, of what they had watched by the cut.
func bundleScorer(ctx context.Context, b *model.Bundle, s *dataset.Split, h *judge.Holdout) (judge.Scorer, error) {
	d, n := b.TowerDim(), s.Train.Titles.Len()
	f := judge.Factors{Dim: d, Users: make([]float32, s.Train.Profiles.Len()*d), Titles: make([]float32, n*d)}
	rows := make([]int64, n)
	for t := range n {
		rows[t] = -1
		if row, ok := b.Row(s.Train.Titles.ID(uint32(t))); ok {
			rows[t] = int64(row)
			copy(f.Titles[t*d:(t+1)*d], b.TowerVector(row))
		}
	}
	scratch := &model.TowerScratch{}
	vectors := make([]float32, judgedTogether*d)
	for lo := 0; lo < len(h.Users); lo += judgedTogether {
		users := h.Users[lo:min(lo+judgedTogether, len(h.Users))]
		var histories [][]model.Watch
		for _, u := range users {
			var w []model.Watch
			known := latest(watchedForGood(s.Train, int(u)), b.Manifest().Towers.MaxHistory)
			for i, t := range known.Titles {
				if rows[t] >= 0 {
					w = append(w, model.Watch{Row: uint32(rows[t]), Strength: known.Strength[i], Days: known.Age[i]})
				}
			}
			histories = append(histories, w)
		}
		got := vectors[:len(users)*d]
		if err := b.UserTower(ctx, got, scratch, histories...); err != nil {
			return nil, err
		}
		for i, u := range users {
			copy(f.Users[int(u)*d:(int(u)+1)*d], got[i*d:])
		}
	}
	return f, nil
}
