package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gonum.org/v1/gonum/stat"

	"marquee/eval/metric"
	"marquee/eval/metric/judge"
	"marquee/eval/report"
	"marquee/eval/simulator"
	"marquee/eval/simulator/logfile"
	"marquee/training/dataset"
)

type evalValueCommand struct {
	Log    string   `required:"" type:"existingdir" help:"Folder that the imported log was simulated into: its world says what viewers truly want." placeholder:"DIR"`
	AsOf   asOf     `help:"An RFC 3339 instant, or max-event for the time of the last event; the wall clock when not given." placeholder:"T"`
	Cut    float64  `default:"0.9" help:"Share of the events, in order of time, that come before the cut, at which models are trained and slates shown."`
	Models []string `name:"model" default:"popular,knn,als,hybrid" help:"Models to measure; the first are held against the last." placeholder:"NAME"`
	Format string   `default:"text" enum:"text,markdown,latex" help:"Table format: text, markdown or latex."`
	JSON   bool     `help:"Print JSON."`
}

// worth is what the slates of a model are worth to viewers, in the mean of their slates of simulator.SlateSize titles not seen before.
type worth struct {
	Model string `json:"model"`
	// Clicks is the expected number of titles clicked, Minutes the expected time watched.
	Clicks  float64 `json:"clicks"`
	Minutes float64 `json:"minutes"`
	// Less is the last model's clicks less this one's, with its paired-bootstrap interval; nil for the last.
	Less *metric.Interval `json:"last_less_this,omitempty"`

	clicks []float64
}

type worths struct {
	CutAt   time.Time `json:"cut_at"`
	Viewers int       `json:"viewers"`
	// Best are the clicks that could be had.
	Best   float64 `json:"best_clicks"`
	Models []worth `json:"models"`
}

// Run trains models on what came before the cut of a simulated log, and says what the slates they would show are truly worth.
func (v evalValueCommand) Run(c *console) (err error) {
	world, err := logfile.ReadWorld(v.Log)
	if err != nil {
		return err
	}
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	offline := evalOfflineCommand{AsOf: v.AsOf, Cut: v.Cut, Models: v.Models}
	models, err := offline.models(e)
	if err != nil {
		return err
	}
	split, err := offline.split(c, e)
	if err != nil {
		return err
	}
	out := &worths{CutAt: time.UnixMicro(split.CutAt).UTC(), Viewers: len(split.Profiles)}
	for _, m := range models {
		e.log.Info("measuring", "model", m.name)
		w, err := measureWorth(c.ctx, world, split, m)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		out.Models = append(out.Models, *w)
	}
	last := out.Models[len(out.Models)-1]
	for i := range out.Models[:len(out.Models)-1] {
		d, err := metric.PairedBootstrap(last.clicks, out.Models[i].clicks, 2000, 0.95, 1)
		if err != nil {
			return fmt.Errorf("hold %s against %s: %w", last.Model, out.Models[i].Model, err)
		}
		out.Models[i].Less = &d
	}
	if out.Best, err = bestWorth(world, split); err != nil {
		return err
	}
	if v.JSON {
		return printJSON(c.stdout, out)
	}
	return printTables(c, v.Format, out.table())
}

func (w *worths) table() report.Table {
	last := w.Models[len(w.Models)-1].Model
	t := report.Table{
		Title:  fmt.Sprintf("slates of %d by true tastes, at %s: %d viewers", simulator.SlateSize, w.CutAt.Format(time.RFC3339), w.Viewers),
		Header: []string{"model", "clicks", "minutes watched", last + " less this", "95% interval"},
		Notes:  []string{fmt.Sprintf("the best that can be had: %.4f clicks", w.Best)},
	}
	for _, m := range w.Models {
		row := []string{m.Model, fmt.Sprintf("%.4f", m.Clicks), fmt.Sprintf("%.2f", m.Minutes), "", ""}
		if m.Less != nil {
			row[3], row[4] = fmt.Sprintf("%+.4f", m.Less.Mean), fmt.Sprintf("%+.4f to %+.4f", m.Less.Low, m.Less.High)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// measureWorth fits a model to the split's train side and values what it would show next.
func measureWorth(ctx context.Context, world *simulator.World, s *dataset.Split, m offlineModel) (*worth, error) {
	data := offlineBenchmark(s, "")
	scorer, err := m.fit(ctx, s, data, 1)
	if err != nil {
		return nil, err
	}
	judged, err := judge.Judge(ctx, data.Holdout, scorer, judge.Options{Cutoffs: []int{simulator.SlateSize}, Ties: metric.Worst})
	if err != nil {
		return nil, err
	}
	w := &worth{Model: m.name}
	minutes := make([]float64, len(judged.Users))
	for i, u := range judged.Users {
		viewer, err := world.Viewer(s.Train.Profiles.ID(u))
		if err != nil {
			return nil, err
		}
		titles, err := worldTitles(world, s.Train.Titles, judged.List(i))
		if err != nil {
			return nil, err
		}
		value := world.SlateValue(viewer, time.UnixMicro(s.CutAt), titles)
		w.clicks = append(w.clicks, value.Clicks)
		minutes[i] = value.Watched.Minutes()
	}
	w.Clicks, w.Minutes = stat.Mean(w.clicks, nil), stat.Mean(minutes, nil)
	return w, nil
}

// bestWorth is the mean of the clicks on the best slates of titles that the viewers had not met.
func bestWorth(world *simulator.World, s *dataset.Split) (float64, error) {
	sum, at := 0.0, time.UnixMicro(s.CutAt)
	for _, u := range s.Profiles {
		viewer, err := world.Viewer(s.Train.Profiles.ID(u))
		if err != nil {
			return 0, err
		}
		met, _ := s.Train.ByProfile.Row(int(u))
		titles, err := worldTitles(world, s.Train.Titles, met)
		if err != nil {
			return 0, err
		}
		seen := map[int]bool{}
		for _, t := range titles {
			seen[t] = true
		}
		sum += world.SlateValue(viewer, at, world.Best(viewer, at, seen)).Clicks
	}
	return sum / float64(max(1, len(s.Profiles))), nil
}

// worldTitles are the world's numbers of rows of a vocabulary.
func worldTitles(world *simulator.World, titles *dataset.Vocabulary, rows []uint32) ([]int, error) {
	out := make([]int, len(rows))
	for i, row := range rows {
		var err error
		if out[i], err = world.Title(titles.ID(row)); err != nil {
			return nil, err
		}
	}
	return out, nil
}
