package ranker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"marquee/training/gbdt"
)

// Episode is a moment with what came of it.
type Episode struct {
	Moment   *Moment
	Outcomes []Outcome
}

// Report says what a ranker was trained on and how well it does on the profiles kept apart.
type Report struct {
	Profiles int `json:"profiles"`
	Examples int `json:"examples"`
	Played   int `json:"played"`
	// Negatives says what the examples that were not played are.
	Negatives string `json:"negatives"`
	// NDCG is that of the candidates' order, at Config.At, on the profiles kept apart.
	NDCG float64 `json:"ndcg"`
	// CalibrationError is the expected calibration error of a play's probability on them, as trained and after calibration.
	CalibrationError       float64 `json:"calibration_error"`
	CalibrationErrorBefore float64 `json:"calibration_error_before"`
	// Importance is by how much that NDCG falls when a feature is dealt out anew, by feature, the most important first.
	Importance []Importance `json:"importance"`
}

// Importance is that of one feature, as gbdt.Model.Importance says.
type Importance struct {
	Feature string  `json:"feature"`
	Loss    float64 `json:"loss"`
}

// deals is in how many deals importance is taken.
const deals = 2

// Examples are what one episode teaches. They are made one episode at a time, so that the models of a moment need not outlive it.
type Examples struct{ train, held examples }

// Examples are made of the candidates that the moment's sources offer to some of the profiles; see Config.Profiles. A profile none of
// whose plays was offered teaches no order and is left out.
func (e *Episode) Examples(ctx context.Context, cfg Config) (*Examples, error) {
	if err := errors.Join(cfg.Validate(), e.Moment.validate()); err != nil {
		return nil, err
	}
	drawn := draw(e.Outcomes, cfg)
	offers := make([]offer, len(drawn))
	if err := e.Moment.each(ctx, len(offers), cfg.Candidates, func(d *desk, i int) (err error) {
		offers[i], err = d.offer(drawn[i].Profile)
		return err
	}); err != nil {
		return nil, err
	}
	x := &Examples{}
	for i, o := range offers {
		out := drawn[i]
		if len(out.Finished) != len(out.Played) {
			return nil, fmt.Errorf("%w: profile %q played %d titles and finished %d", ErrData, out.ID, len(out.Played), len(out.Finished))
		}
		if !slices.ContainsFunc(out.Played, func(t uint32) bool { _, in := slices.BinarySearch(o.titles, t); return in }) {
			continue
		}
		side := &x.train
		if lot(out.ID, cfg) < cfg.Validation {
			side = &x.held
		}
		side.add(o, out, e.Moment.Table.Width())
	}
	return x, nil
}

// draw takes as many outcomes as are wanted by lot, in their order.
func draw(all []Outcome, cfg Config) []Outcome {
	if len(all) <= cfg.Profiles {
		return all
	}
	lots := make([]float64, len(all))
	for i, o := range all {
		lots[i] = lot("drawn/"+o.ID, cfg)
	}
	bar := slices.Sorted(slices.Values(lots))[cfg.Profiles-1]
	var out []Outcome
	for i, o := range all {
		if lots[i] <= bar {
			out = append(out, o)
		}
	}
	return out
}

// Train makes a ranker of examples of moments that have the same sources, with features of these names. Some profiles are kept apart:
// they calibrate the probabilities and are what the report is of. Where there is too little to learn from, the error wraps ErrData.
func Train(ctx context.Context, names []string, of []*Examples, cfg Config) (*Model, *Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, nil, err
	}
	var train, held examples
	for _, x := range of {
		for _, w := range []int{x.train.play.X.Cols, x.held.play.X.Cols} {
			if w != 0 && w != len(names) {
				return nil, nil, fmt.Errorf("%w: %d features have %d names", ErrData, w, len(names))
			}
		}
		train.append(x.train)
		held.append(x.held)
	}
	if len(train.play.Groups) == 0 || len(held.play.Groups) == 0 {
		return nil, nil, fmt.Errorf("%w: %d profiles to learn from and %d to keep apart played what a source offered", ErrData, len(train.play.Groups), len(held.play.Groups))
	}
	m := &Model{Features: names, Candidates: cfg.Candidates}
	for _, h := range []struct {
		what      string
		head      *Head
		of, apart gbdt.Examples
		objective gbdt.Objective
	}{
		{"in what order titles are played", &m.Order, train.play, held.play, gbdt.LambdaRank(cfg.At)},
		{"what is played", &m.Play, train.play, held.play, gbdt.Logistic()},
		{"how far it is watched", &m.Finish, train.finish, held.finish, gbdt.Logistic()},
	} {
		trees, err := gbdt.Train(ctx, h.of, h.objective, cfg.Trees, gbdt.Options{})
		if err != nil {
			return nil, nil, fmt.Errorf("learn %s: %w", h.what, err)
		}
		*h.head = Head{Trees: trees, Calibration: calibrate(trees.Scores(h.apart.X, cfg.Trees.Workers), h.apart.Label)}
	}
	report, err := m.report(train, held, cfg)
	return m, report, err
}

func (m *Model) report(train, held examples, cfg Config) (*Report, error) {
	r := &Report{
		Profiles: len(train.play.Groups) + len(held.play.Groups), Examples: train.play.X.Rows + held.play.X.Rows,
		Played: train.finish.X.Rows + held.finish.X.Rows, Negatives: "retrieved: offered by the sources and not played",
	}
	raw := m.Play.Trees.Scores(held.play.X, cfg.Trees.Workers)
	before, after := make([]float32, len(raw)), make([]float32, len(raw))
	for i, x := range raw {
		before[i], after[i] = float32(same().probability(x)), float32(m.Play.Calibration.probability(x))
	}
	r.CalibrationErrorBefore, r.CalibrationError = calibrationError(before, held.play.Label), calibrationError(after, held.play.Label)
	objective := gbdt.LambdaRank(cfg.At)
	losses, err := m.Order.Trees.Importance(held.play, objective, deals, cfg.Trees.Seed)
	if err != nil {
		return nil, err
	}
	for f, l := range losses {
		r.Importance = append(r.Importance, Importance{m.Features[f], l})
	}
	slices.SortStableFunc(r.Importance, func(a, b Importance) int { return cmp.Compare(b.Loss, a.Loss) })
	r.NDCG = 1 - m.Order.Trees.Loss(held.play, objective)
	return r, nil
}

// examples are one side of the profiles: every candidate, and those that were played.
type examples struct{ play, finish gbdt.Examples }

func (x *examples) add(o offer, out Outcome, width int) {
	x.play.X.Cols, x.finish.X.Cols = width, width
	x.play.X.Values = append(x.play.X.Values, o.features...)
	x.play.X.Rows += len(o.titles)
	x.play.Groups = append(x.play.Groups, len(o.titles))
	for i, t := range o.titles {
		at, played := slices.BinarySearch(out.Played, t)
		if !played {
			x.play.Label = append(x.play.Label, 0)
			continue
		}
		x.play.Label = append(x.play.Label, 1)
		x.finish.X.Values = append(x.finish.X.Values, o.features[i*width:(i+1)*width]...)
		x.finish.X.Rows++
		x.finish.Label = append(x.finish.Label, out.Finished[at])
	}
}

// lot is a number of 0 to 1 that hangs on an id alone, so that a profile is on the same side in every episode.
func lot(id string, cfg Config) float64 {
	h := sha256.Sum256(fmt.Appendf(nil, "%d/%s", cfg.Trees.Seed, id))
	return float64(binary.BigEndian.Uint64(h[:8])>>11) / (1 << 53)
}

func (x *examples) append(more examples) {
	for to, from := range map[*gbdt.Examples]*gbdt.Examples{&x.play: &more.play, &x.finish: &more.finish} {
		if from.X.Rows == 0 {
			continue
		}
		to.X.Cols = from.X.Cols
		to.X.Rows += from.X.Rows
		to.X.Values = append(to.X.Values, from.X.Values...)
		to.Label = append(to.Label, from.Label...)
		to.Groups = append(to.Groups, from.Groups...)
	}
}
