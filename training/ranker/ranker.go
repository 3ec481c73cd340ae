// Package ranker trains the model that puts the candidates of all sources in one order: boosted trees over the features of
// training/model/ranking, that say in what order to show titles, how likely a profile is to play one, and how much of a whole
// watch that will be.
//
// Examples are made of moments: what sources trained on everything up to a moment would have offered, with the features as of
// then, labelled by what the profile did afterwards. No score comes from a model that has seen the label. Where it is known what was
// shown, examples are what was shown and clicked or not, and a click model tells wishes from places. Where it is not, the candidates
// that were not played are the negatives: they are what the sources retrieve, not random titles, since those are what the ranker
// will have to tell apart; but what was played is then also what happened to be shown.
package ranker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"marquee/eval/metric/judge"
	"marquee/internal/sparse"
	"marquee/training/gbdt"
	"marquee/training/model/ranking"
)

// ErrData is wrapped by every error about what the ranker is to be trained on.
var ErrData = errors.New("cannot train a ranker")

// Source is a model that offers candidates: a score for every title.
type Source struct {
	Name   string
	Scorer judge.Scorer
}

// Moment is the world as it was known at one instant.
type Moment struct {
	// Now is when: microseconds since the Unix epoch.
	Now int64
	// Table is the catalogue as of the moment, for as many sources.
	Table   *ranking.Table
	Sources []Source
	// Seen is profiles x titles: what each profile had met, which is never offered.
	Seen *sparse.CSR
	// At is when it last did, parallel to Seen's entries: microseconds since the Unix epoch.
	At []int64
	// Strength is how much, parallel to Seen's entries, 0 or more.
	Strength []float32
}

// Outcome is what one profile did after a moment.
type Outcome struct {
	Profile uint32 // row of Seen
	// ID decides whether the profile teaches or is kept apart, the same in every episode.
	ID string
	// Played are the titles it met for the first time, ascending, and Finished is parallel: how much of a whole watch it was, 0 to 1.
	Played   []uint32
	Finished []float32
}

// Config is what decides a ranker besides the moments.
type Config struct {
	Trees gbdt.Config `koanf:"trees"`
	// Windows is how many windows of history, one before the other and each a tenth of the events up to its end, are learnt from, 1 to
	// 100: the more, the more profiles, but the older what they teach.
	Windows int `koanf:"windows"`
	// Profiles is how many profiles of a window are learnt from, chosen by lot, 1 to 1,000,000.
	Profiles int `koanf:"profiles"`
	// Candidates is how many each source offers, 1 to 10,000.
	Candidates int `koanf:"candidates"`
	// At is the length of the lists whose NDCG the order is trained for, 1 to 1,000.
	At int `koanf:"at"`
	// Clicks is how many there must be on what was shown for it to be learnt from, 1 to 1,000,000,000.
	Clicks int `koanf:"clicks"`
	// Validation is the share of profiles that are kept apart, to calibrate and to report on: above 0 and below 1.
	Validation float64 `koanf:"validation"`
}

// DefaultConfig returns small trees: a request's candidates must be ranked within a fraction of a millisecond, and with larger
// ones some hundred profiles teach more chance than taste.
func DefaultConfig() Config {
	c := Config{Trees: gbdt.DefaultConfig(), Windows: 8, Profiles: 1000, Candidates: 100, At: 10, Clicks: 2000, Validation: 0.1}
	t := &c.Trees
	t.Rounds, t.LearningRate, t.Leaves, t.MinLeaf, t.FeatureShare, t.RowShare, t.Patience = 150, 0.06, 8, 300, 0.5, 0.5, 0
	return c
}

// Validate reports every field out of its range.
func (c Config) Validate() error {
	var errs []error
	if c.Windows < 1 || c.Windows > 100 {
		errs = append(errs, fmt.Errorf("windows must be between 1 and 100, is %d", c.Windows))
	}
	if c.Profiles < 1 || c.Profiles > 1_000_000 {
		errs = append(errs, fmt.Errorf("profiles must be between 1 and 1000000, is %d", c.Profiles))
	}
	if c.Candidates < 1 || c.Candidates > 10_000 {
		errs = append(errs, fmt.Errorf("candidates must be between 1 and 10000, is %d", c.Candidates))
	}
	if c.At < 1 || c.At > 1000 {
		errs = append(errs, fmt.Errorf("at must be between 1 and 1000, is %d", c.At))
	}
	if c.Clicks < 1 || c.Clicks > 1_000_000_000 {
		errs = append(errs, fmt.Errorf("clicks must be between 1 and 1000000000, is %d", c.Clicks))
	}
	if !(c.Validation > 0 && c.Validation < 1) {
		errs = append(errs, fmt.Errorf("validation must be above 0 and below 1, is %g", c.Validation))
	}
	if err := c.Trees.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("trees: %w", err))
	}
	return errors.Join(errs...)
}

// offer is one profile's candidates with their features.
type offer struct {
	titles   []uint32
	features []float32
}

// desk is the working memory of one goroutine.
type desk struct {
	m       *Moment
	n       int
	scores  [][]float32 // by source, of every title
	of      [][]float32 // by source, of the candidates
	offered []bool
	history []ranking.Watch
	scratch ranking.Scratch
}

func newDesk(m *Moment, candidates int) *desk {
	d := &desk{m: m, n: candidates, offered: make([]bool, m.Table.Len()), of: make([][]float32, len(m.Sources))}
	for range m.Sources {
		d.scores = append(d.scores, make([]float32, m.Table.Len()))
	}
	return d
}

// offer collects what the sources put first for a profile among what it has not met, and those of more that it has not met either.
func (d *desk) offer(profile uint32, more ...uint32) (offer, error) {
	for i, s := range d.m.Sources {
		if err := s.Scorer.Score([]uint32{profile}, d.scores[i]); err != nil {
			return offer{}, fmt.Errorf("ask %s for candidates: %w", s.Name, err)
		}
		for t, x := range d.scores[i] {
			if math.IsInf(float64(x), 0) { // how a source says that it knows nothing
				d.scores[i][t] = float32(math.NaN())
			}
		}
	}
	lo, hi := d.m.Seen.Indptr[profile], d.m.Seen.Indptr[profile+1]
	d.history = d.history[:0]
	clear(d.offered)
	for i := lo; i < hi; i++ {
		t := d.m.Seen.Indices[i]
		d.offered[t] = true
		d.history = append(d.history, ranking.Watch{Row: t, Strength: d.m.Strength[i], At: d.m.At[i]})
	}
	var o offer
	for i := range d.scores {
		for _, t := range best(d.scores[i], d.n, func(t uint32) bool { return d.m.Seen.Has(int(profile), t) }) {
			if !d.offered[t] {
				d.offered[t] = true
				o.titles = append(o.titles, t)
			}
		}
	}
	for _, t := range more {
		if !d.offered[t] {
			d.offered[t] = true
			o.titles = append(o.titles, t)
		}
	}
	slices.Sort(o.titles)
	for i := range d.of {
		d.of[i] = d.of[i][:0]
		for _, t := range o.titles {
			d.of[i] = append(d.of[i], d.scores[i][t])
		}
	}
	o.features = make([]float32, len(o.titles)*d.m.Table.Width())
	return o, d.m.Table.Rows(o.features, d.m.Now, d.history, o.titles, d.of, &d.scratch)
}

// best are the n titles of the highest scores that are not left out, in no order; of equal scores the lower title. What has no
// score is not offered.
func best(scores []float32, n int, out func(uint32) bool) []uint32 {
	heap := make([]uint32, 0, n)
	worse := func(a, b uint32) bool { return scores[a] < scores[b] || scores[a] == scores[b] && a > b }
	down := func(i int) {
		for {
			least := i
			for c := 2*i + 1; c <= 2*i+2 && c < len(heap); c++ {
				if worse(heap[c], heap[least]) {
					least = c
				}
			}
			if least == i {
				return
			}
			heap[i], heap[least] = heap[least], heap[i]
			i = least
		}
	}
	for t, s := range scores {
		row := uint32(t)
		if s != s || len(heap) == n && !worse(heap[0], row) || out(row) {
			continue
		}
		if len(heap) < n {
			heap = append(heap, row)
			for i := len(heap) - 1; i > 0 && worse(heap[i], heap[(i-1)/2]); i = (i - 1) / 2 {
				heap[i], heap[(i-1)/2] = heap[(i-1)/2], heap[i]
			}
			continue
		}
		heap[0] = row
		down(0)
	}
	return heap
}

func (m *Moment) validate() error {
	n := m.Seen.NNZ()
	switch {
	case len(m.Sources) == 0:
		return fmt.Errorf("%w: no source offers candidates", ErrData)
	case m.Table.Len() != m.Seen.Cols:
		return fmt.Errorf("%w: the table has %d titles, the histories %d", ErrData, m.Table.Len(), m.Seen.Cols)
	case len(m.At) != n || len(m.Strength) != n:
		return fmt.Errorf("%w: %d entries of histories have %d times and %d strengths", ErrData, n, len(m.At), len(m.Strength))
	}
	return nil
}

// each calls f with a desk of its goroutine for every index below n, and returns the first error.
func (m *Moment) each(ctx context.Context, n, candidates int, f func(d *desk, i int) error) error {
	workers := min(runtime.GOMAXPROCS(0), n)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			d := newDesk(m, candidates)
			for i := n * w / workers; i < n*(w+1)/workers && errs[w] == nil; i++ {
				if errs[w] = ctx.Err(); errs[w] == nil {
					errs[w] = f(d, i)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Head is one thing a ranker says of a candidate.
type Head struct {
	Trees       *gbdt.Model
	Calibration Calibration
}

// Model is a trained ranker.
type Model struct {
	// Features are the names of what it is told, in order, as ranking.Names gives them.
	Features []string
	// Candidates is how many each source offered it.
	Candidates int
	// Order says in what order to show candidates; Play how likely they are played, or, learnt from what was shown, clicked or played once
	// noticed; Finish how much of a whole watch a play is, 0 to 1.
	Order, Play, Finish Head
	// Clicks has the chances that places are noticed, where the model was learnt from what was shown, else nil.
	Clicks *gbdt.Clicks
}

// Scorer ranks a moment's candidates with the model: what no source offers is scored below everything, in the order of the first source.
func (m *Model) Scorer(at *Moment) (judge.Scorer, error) {
	if err := at.validate(); err != nil {
		return nil, err
	}
	if at.Table.Width() != len(m.Features) {
		return nil, fmt.Errorf("%w: the ranker knows %d features, the moment has %d", ErrData, len(m.Features), at.Table.Width())
	}
	desks := sync.Pool{New: func() any { return newDesk(at, m.Candidates) }}
	return judge.Func(func(profile uint32, scores []float32) error {
		d := desks.Get().(*desk)
		defer desks.Put(d)
		o, err := d.offer(profile)
		if err != nil {
			return err
		}
		for t, s := range d.scores[0] {
			scores[t] = -math.MaxFloat32 / 2
			if s > 0 { // squeezed below all odds, order kept
				scores[t] = -1e6 / (1 + s)
			}
		}
		width := len(m.Features)
		for i, t := range o.titles {
			scores[t] = m.Order.Trees.Raw(o.features[i*width : (i+1)*width])
		}
		return nil
	}), nil
}
