package nightly

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"marquee/eval/metric/judge"
	"marquee/internal/sparse"
	"marquee/training/dataset"
	"marquee/training/model"
	"marquee/training/model/content"
	"marquee/training/nn"
	"marquee/training/twotower"
)

// DefaultTowers are two towers that are cheap to train: an example is a viewer whose history is parted in two, and the titles are compared
// by cosine with as many sampled ones. The numbers were chosen on MovieLens 1M, on the tenth of its events before the tenth it is
// measured by.
func DefaultTowers() twotower.Config {
	c := twotower.DefaultConfig()
	c.Loss, c.SetShare, c.Start = twotower.LossSoftmax, 0.8, twotower.StartNormal
	c.Temperature, c.PopularityPower = 0.07, 0.15
	c.Batch, c.Rate, c.Epochs, c.ValidationUsers = 256, 3e-3, 15, 0
	return c
}

// TowersVerdict is what the evaluation found of the towers.
type TowersVerdict struct {
	// Released: the release will have them.
	Released bool `json:"released"`
	// Against holds them against popularity, BesideALS against the vectors of ALS.
	Against   *Comparison `json:"against,omitempty"`
	BesideALS *Comparison `json:"beside_als,omitempty"`
	// Seconds is how long the evaluation's towers took to train, by the clock.
	Seconds float64 `json:"seconds"`
	// Reason says why the release has towers or has none.
	Reason string `json:"reason"`
}

// pair is two towers that were trained, and whom and what they know.
type pair struct {
	model *twotower.Model
	data  *twotower.Data
	x     *dataset.Interactions
	cfg   twotower.Config
}

// trainTowers trains them on x. start, where given, are parameters to begin from.
func (p *Pipeline) trainTowers(ctx context.Context, step string, x *dataset.Interactions, described *content.Model, cfg twotower.Config,
	start map[string][]float32,
) (*pair, error) {
	return fitTowers(ctx, x, described, cfg, start, func(n nn.Progress) {
		if !n.Done {
			return
		}
		p.Log.Info("towers' epoch", "step", step, "epoch", n.Epoch, "of", n.Epochs, "loss", n.Loss, "left", n.Left.Round(time.Second))
		if p.Progress != nil {
			p.Progress(step, int64(n.Epoch), int64(n.Epochs))
		}
	})
}

func fitTowers(ctx context.Context, x *dataset.Interactions, described *content.Model, cfg twotower.Config, start map[string][]float32,
	progress func(nn.Progress)) (*pair, error) {
	data := towersData(x, described)
	m, err := twotower.Train(ctx, data, cfg, twotower.Options{Progress: progress, Warm: start})
	if err != nil {
		return nil, fmt.Errorf("train the towers: %w", err)
	}
	out := &pair{model: m, data: data, x: x, cfg: cfg}
	out.forgetUnwatched()
	return out, nil
}

// forgetUnwatched takes the numbers of titles that nobody watched for good out of the title tower: what they came to is chance, and
// such a title is what the catalogue says of it.
func (p *pair) forgetUnwatched() {
	watched := make([]bool, p.data.Titles)
	for i := range p.data.Histories {
		for _, t := range p.data.Histories[i].Titles {
			watched[t] = true
		}
	}
	for _, param := range p.model.Params() {
		if param.Name != "titles" {
			continue
		}
		for t, yes := range watched {
			if !yes {
				clear(param.Row(t))
			}
		}
	}
}

// towersData is what the towers are trained on: what was watched for good, and what the catalogue says of titles.
func towersData(x *dataset.Interactions, described *content.Model) *twotower.Data {
	d := &twotower.Data{Titles: x.Titles.Len(), Histories: make([]twotower.History, x.Profiles.Len())}
	for profile := range d.Histories {
		d.Histories[profile] = watchedForGood(x, profile)
	}
	if described == nil {
		return d
	}
	d.Content = &sparse.CSR{Rows: d.Titles, Cols: len(described.Table().Terms), Indptr: make([]int64, 1, d.Titles+1)}
	for t := range d.Titles {
		if row, ok := described.Row(x.Titles.ID(uint32(t))); ok {
			v := described.Vector(row)
			d.Content.Indices, d.Content.Values = append(d.Content.Indices, v.Terms...), append(d.Content.Values, v.Weights...)
		}
		d.Content.Indptr = append(d.Content.Indptr, int64(len(d.Content.Indices)))
	}
	return d
}

// microsADay is a day in microseconds.
const microsADay = 24 * 3600 * 1e6

// watchedForGood is a profile's history as the towers read it: what speaks for it, as strongly as ALS takes it. Serving reads live histories
// by the same rule.
func watchedForGood(x *dataset.Interactions, profile int) twotower.History {
	var h twotower.History
	titles, strength := x.ByProfile.Row(profile)
	from := int(x.ByProfile.Indptr[profile])
	for i, t := range titles {
		flags := x.Flags[from+i]
		if v := model.Value(strength[i], flags&dataset.Abandoned != 0, flags&dataset.Disliked != 0); v > 0 {
			h.Titles, h.Strength = append(h.Titles, t), append(h.Strength, v)
			h.Age = append(h.Age, float32(float64(max(0, x.AsOf-x.LastAt[from+i]))/microsADay))
		}
	}
	return h
}

// latest keeps the n latest of a history.
func latest(h twotower.History, n int) twotower.History {
	if len(h.Titles) <= n {
		return h
	}
	order := make([]int, len(h.Titles))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(h.Age[a], h.Age[b]), cmp.Compare(h.Titles[a], h.Titles[b]))
	})
	var out twotower.History
	for _, i := range order[:n] {
		out.Titles, out.Strength, out.Age = append(out.Titles, h.Titles[i]), append(out.Strength, h.Strength[i]), append(out.Age, h.Age[i])
	}
	return out
}

// vectorsOf are the vectors of some profiles, Dim values each.
func (p *pair) vectorsOf(profiles []uint32) ([]float32, error) {
	users := make([]twotower.User, len(profiles))
	for i, u := range profiles {
		users[i] = twotower.User{Number: int(u), History: latest(p.data.Histories[u], p.cfg.MaxHistory), Context: -1}
	}
	return p.model.UserVectors(users)
}

// judgeTowers trains towers on the split's train side and measures them beside popularity and ALS.
func (p *Pipeline) judgeTowers(ctx context.Context, e *evaluation, s *dataset.Split, h *judge.Holdout, popular, als *Result) error {
	described, err := p.described(ctx)
	if err != nil {
		return err
	}
	e.Towers = &TowersVerdict{}
	began := time.Now()
	pair, err := p.trainTowers(ctx, "evaluate towers", s.Train, described, p.Recipe.Towers, nil)
	if errors.Is(err, twotower.ErrData) {
		e.Towers.Reason = noTowers + err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	e.Towers.Seconds = time.Since(began).Seconds()
	vectors, err := pair.vectorsOf(h.Users)
	if err != nil {
		return err
	}
	d := pair.cfg.Dim
	users := make([]float32, s.Train.Profiles.Len()*d)
	for i, u := range h.Users {
		copy(users[int(u)*d:(int(u)+1)*d], vectors[i*d:])
	}
	result, err := e.measure(ctx, modelTowers, h, judge.Factors{Dim: d, Users: users, Titles: pair.model.TitleVectors()})
	if err != nil {
		return err
	}
	against, err1 := compare(result, popular, modelPopular)
	beside, err2 := compare(result, als, modelALS)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	e.Towers.decide(against, &beside)
	return nil
}

// noTowers begins the reason why a release has none.
const noTowers = "no towers: "

// decide is the towers' gate: popularity must not be better.
func (v *TowersVerdict) decide(against Comparison, beside *Comparison) {
	v.Against, v.BesideALS = &against, beside
	d := against.Difference
	v.Released = d.Mean >= 0
	v.Reason = fmt.Sprintf("NDCG@10 %+.4f against popularity, %g%% interval %+.4f to %+.4f", d.Mean, 100*d.Level, d.Low, d.High)
	if !v.Released {
		v.Reason = noTowers + v.Reason
	}
}

// described is what the catalogue says of titles; nil without one.
func (p *Pipeline) described(ctx context.Context) (*content.Model, error) {
	if p.Catalogue == nil {
		return nil, nil
	}
	titles, err := p.Catalogue.Titles(ctx)
	if err != nil {
		return nil, err
	}
	return Describe(titles)
}

// Describe makes the model of what a catalogue says of its titles; nil of none.
func Describe(titles []content.Title) (*content.Model, error) {
	if len(titles) == 0 {
		return nil, nil
	}
	return content.Build(titles, content.DefaultWeights())
}

// released are the towers as a release carries them.
func (p *pair) released() (*model.Towers, error) {
	c := p.cfg
	out := &model.Towers{Dim: c.Dim, MaxHistory: c.MaxHistory, Vectors: p.model.TitleVectors()}
	if c.Pooling == twotower.PoolAttention {
		out.RecencyBuckets = c.RecencyBuckets
	}
	var err error
	if out.User, err = p.model.ExportUserTower(); err != nil {
		return nil, err
	}
	if out.Title, err = p.model.ExportTitleTower(); err != nil {
		return nil, err
	}
	var some []uint32
	step := max(1, len(p.data.Histories)/maxProbes)
	for u := 0; u < len(p.data.Histories) && len(some) < maxProbes; u += step {
		if len(p.data.Histories[u].Titles) > 0 {
			some = append(some, uint32(u))
		}
	}
	if out.Probes, err = p.vectorsOf(some); err != nil {
		return nil, err
	}
	var losses []float64
	for _, e := range p.model.Epochs {
		losses = append(losses, e.Loss)
	}
	if out.Report, err = json.Marshal(map[string]any{"losses": losses}); err != nil {
		return nil, fmt.Errorf("report on the towers: %w", err)
	}
	return out, nil
}
