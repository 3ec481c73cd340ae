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

// Episode is a moment with what came of it: what was shown, where that is known, or else what was played.
type Episode struct {
	Moment   *Moment
	Outcomes []Outcome
	Slates   []Slate
}

// Report says what a ranker was trained on and how well it does on the profiles kept apart.
type Report struct {
	Profiles int `json:"profiles"`
	Slates   int `json:"slates,omitempty"`
	Examples int `json:"examples"`
	Played   int `json:"played"`
	// Negatives says what the examples that were not played are.
	Negatives string `json:"negatives"`
	// NDCG is that of the candidates' order, at Config.At, on the profiles kept apart; 0 where it was learnt from what was shown.
	NDCG float64 `json:"ndcg,omitempty"`
	// Examination is the chance that a rank is noticed, relative to the first, where it was learnt from what was shown.
	Examination []float64 `json:"examination,omitempty"`
	// CalibrationError is the expected calibration error of a play's probability on them, or of a click's, as trained and after
	// calibration.
	CalibrationError       float64 `json:"calibration_error"`
	CalibrationErrorBefore float64 `json:"calibration_error_before"`
	// Importance is by how much the loss on them, 1 - NDCG or the negative log-likelihood of clicks, grows when a feature is dealt out
	// anew, by feature, the most important first.
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
type Examples struct {
	train, held examples
	shown       bool // they are of what was shown
}

// side is that of a profile's examples.
func (x *Examples) side(id string, cfg Config) *examples {
	if lot(id, cfg) < cfg.Validation {
		return &x.held
	}
	return &x.train
}

// Examples are made of what was shown to some of the profiles, or, where that is not known, of the candidates that the moment's sources
// offer them; see Config.Profiles. A profile none of whose plays was offered teaches no order and is left out.
func (e *Episode) Examples(ctx context.Context, cfg Config) (*Examples, error) {
	if err := errors.Join(cfg.Validate(), e.Moment.validate()); err != nil {
		return nil, err
	}
	if len(e.Slates) > 0 {
		return e.shown(ctx, cfg)
	}
	drawn := draw(e.Outcomes, func(o Outcome) string { return o.ID }, cfg)
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
		x.side(out.ID, cfg).add(o, out, e.Moment.Table.Width())
	}
	return x, nil
}

// draw takes as many profiles as are wanted by lot, in their order.
func draw[T any](all []T, id func(T) string, cfg Config) []T {
	if len(all) <= cfg.Profiles {
		return all
	}
	lots := make([]float64, len(all))
	for i, o := range all {
		lots[i] = lot("drawn/"+id(o), cfg)
	}
	bar := slices.Sorted(slices.Values(lots))[cfg.Profiles-1]
	var out []T
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
	shown := false
	for i, x := range of {
		if i > 0 && x.shown != shown {
			return nil, nil, fmt.Errorf("%w: of some moments is known what was shown, of others only what was played", ErrData)
		}
		shown = x.shown
		for _, w := range []int{x.train.play.X.Cols, x.held.play.X.Cols} {
			if w != 0 && w != len(names) {
				return nil, nil, fmt.Errorf("%w: %d features have %d names", ErrData, w, len(names))
			}
		}
		train.append(x.train)
		held.append(x.held)
	}
	if len(train.play.Groups) == 0 || len(held.play.Groups) == 0 {
		return nil, nil, fmt.Errorf("%w: %d lists to learn from and %d to keep apart had something that was played", ErrData, len(train.play.Groups), len(held.play.Groups))
	}
	if train.finish.X.Rows == 0 {
		return nil, nil, fmt.Errorf("%w: nothing was played of %d lists; of an answer, plays must carry the request_id", ErrData, len(train.play.Groups))
	}
	m := &Model{Features: names, Candidates: cfg.Candidates}
	learn := m.fromPlays
	if shown {
		learn = m.fromSlates
	}
	if err := learn(ctx, train, held, cfg); err != nil {
		return nil, nil, err
	}
	report, err := m.report(train, held, cfg)
	return m, report, err
}

// fromPlays learns from candidates some of which were played.
func (m *Model) fromPlays(ctx context.Context, train, held examples, cfg Config) (err error) {
	if m.Order, err = head(ctx, "in what order titles are played", train.play, held.play, gbdt.LambdaRank(cfg.At), cfg); err != nil {
		return err
	}
	if m.Play, err = head(ctx, "what is played", train.play, held.play, gbdt.Logistic(), cfg); err != nil {
		return err
	}
	m.Finish, err = head(ctx, "how far it is watched", train.finish, held.finish, gbdt.Logistic(), cfg)
	return err
}

// fromSlates learns from what was shown and clicked or not. What is wanted most is shown first: with chances of being noticed that fall from
// rank to rank, no other order has more clicks to be expected.
func (m *Model) fromSlates(ctx context.Context, train, held examples, cfg Config) (err error) {
	m.Clicks = gbdt.NewClicks()
	if m.Play, err = head(ctx, "what is wanted", train.play, held.play, m.Clicks, cfg); err != nil {
		return err
	}
	m.Order = m.Play
	m.Finish, err = head(ctx, "how far it is watched", train.finish, held.finish, gbdt.Logistic(), cfg)
	return err
}

func head(ctx context.Context, what string, of, apart gbdt.Examples, objective gbdt.Objective, cfg Config) (Head, error) {
	trees, err := gbdt.Train(ctx, of, objective, cfg.Trees, gbdt.Options{})
	if err != nil {
		return Head{}, fmt.Errorf("learn %s: %w", what, err)
	}
	var seen []float32
	if c, ok := objective.(*gbdt.Clicks); ok {
		seen = examined(c, apart)
	}
	return Head{Trees: trees, Calibration: calibrate(trees.Scores(apart.X, cfg.Trees.Workers), apart.Label, seen)}, nil
}

// examined is the chance that each example was noticed.
func examined(c *gbdt.Clicks, e gbdt.Examples) []float32 {
	out := make([]float32, len(e.Positions))
	for i, p := range e.Positions {
		out[i] = float32(c.Examination(p))
	}
	return out
}

func (m *Model) report(train, held examples, cfg Config) (*Report, error) {
	r := &Report{
		Profiles: len(train.play.Groups) + len(held.play.Groups), Examples: train.play.X.Rows + held.play.X.Rows,
		Played: train.finish.X.Rows + held.finish.X.Rows, Negatives: "retrieved: offered by the sources and not played",
	}
	objective := gbdt.LambdaRank(cfg.At)
	var seen []float32
	if m.Clicks != nil {
		objective, seen = m.Clicks, examined(m.Clicks, held.play)
		r.Profiles, r.Slates, r.Examination = distinct(train.ids)+distinct(held.ids), len(train.play.Groups)+len(held.play.Groups), m.Clicks.Ranks
		r.Negatives = "shown and not clicked"
	}
	raw := m.Play.Trees.Scores(held.play.X, cfg.Trees.Workers)
	before, after := make([]float32, len(raw)), make([]float32, len(raw))
	for i, x := range raw {
		e := noticed(seen, i)
		before[i], after[i] = float32(e*same().probability(x)), float32(e*m.Play.Calibration.probability(x))
	}
	r.CalibrationErrorBefore, r.CalibrationError = calibrationError(before, held.play.Label), calibrationError(after, held.play.Label)
	losses, err := m.Order.Trees.Importance(held.play, objective, deals, cfg.Trees.Seed)
	if err != nil {
		return nil, err
	}
	for f, l := range losses {
		r.Importance = append(r.Importance, Importance{m.Features[f], l})
	}
	slices.SortStableFunc(r.Importance, func(a, b Importance) int { return cmp.Compare(b.Loss, a.Loss) })
	if m.Clicks == nil {
		r.NDCG = 1 - m.Order.Trees.Loss(held.play, objective)
	}
	return r, nil
}

func distinct(ids []string) int {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return len(slices.Compact(ids))
}

// examples are one side of the profiles: every candidate, and those that were played.
type examples struct {
	play, finish gbdt.Examples
	ids          []string // of slates, whose each group of play is
}

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
	x.ids = append(x.ids, more.ids...)
	for to, from := range map[*gbdt.Examples]*gbdt.Examples{&x.play: &more.play, &x.finish: &more.finish} {
		if from.X.Rows == 0 {
			continue
		}
		to.X.Cols = from.X.Cols
		to.X.Rows += from.X.Rows
		to.X.Values = append(to.X.Values, from.X.Values...)
		to.Label = append(to.Label, from.Label...)
		to.Groups = append(to.Groups, from.Groups...)
		to.Positions = append(to.Positions, from.Positions...)
	}
}
