// Package rank puts candidates in order: by what the release's ranker says, or without one by the vectors' score for the profile,
// raised for what trends, lowered for what resembles what the profile turned down, with titles that no release knows yet placed
// by their genres.
package rank

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"marquee/serving/retrieve"
)

// Config weighs the parts of a score.
type Config struct {
	// TrendingBoost is the share by which the score of the most trending title is raised, that of others in proportion.
	TrendingBoost float64 `koanf:"trending_boost"`
	// DislikePenalty is the share by which the score of a title is lowered that equals a disliked one, others in
	// proportion to their similarity.
	DislikePenalty float64 `koanf:"dislike_penalty"`
	// ColdDiscount is what a title unknown to the release scores when its genres are the profile's favourites, as a share of
	// the profile's top scores.
	ColdDiscount float64 `koanf:"cold_discount"`
	// TowerWeight is how much a release's towers say in the order of titles beside its vectors: 1 as much as they, 0 nothing. A release with
	// a ranker does not ask.
	TowerWeight float64 `koanf:"tower_weight"`
}

// DefaultConfig lets the release decide but for ties, and halves the score of a disliked title's twin.
func DefaultConfig() Config {
	return Config{TrendingBoost: .05, DislikePenalty: .5, ColdDiscount: .9, TowerWeight: 1}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	for _, f := range []struct {
		name   string
		v, max float64
	}{{"trending_boost", c.TrendingBoost, 10}, {"dislike_penalty", c.DislikePenalty, 1}, {"cold_discount", c.ColdDiscount, 1}, {"tower_weight", c.TowerWeight, 100}} {
		if !(f.v >= 0 && f.v <= f.max) {
			errs = append(errs, fmt.Errorf("serving.rank.%s must be between 0 and %g, is %g", f.name, f.max, f.v))
		}
	}
	return errors.Join(errs...)
}

// maxDisliked bounds how many disliked titles a candidate is compared with: the latest ones.
const maxDisliked = 8

// Rank scores the query's candidates and sorts them, the best first. Equal scores stand in the order of their rows. Where the release's
// ranker could not be asked, its vectors decide, and the error says why.
func Rank(ctx context.Context, q *retrieve.Query, cfg Config, m *Memory) error {
	var err error
	q.Ranked, err = m.ask(ctx, q)
	top := q.TopScore
	if q.Ranked {
		top = m.top
	}
	score(q, q.Candidates, m.placed, top, cfg)
	m.sorter.Sort(q.Candidates)
	return err
}

// Fill scores candidates from number own on, which came after Rank, and sorts all. The ranker says of a title how it stands among those
// it was asked of, so where it was, the others follow behind, in the order of the vectors.
func Fill(q *retrieve.Query, own int, cfg Config, m *Sorter) {
	late := q.Candidates[own:]
	score(q, late, nil, q.TopScore, cfg)
	if q.Ranked && own > 0 {
		bar, best := q.Candidates[0].Score, float32(0)
		for i := range q.Candidates[:own] {
			bar = min(bar, q.Candidates[i].Score)
		}
		for i := range late {
			best = max(best, late[i].Score)
		}
		for i := range late {
			if best > 0 {
				late[i].Score *= max(bar, 0) / best
			}
		}
	}
	m.Sort(q.Candidates)
}

// Sorter is the memory of sorting candidates, to be used again but not by two at once.
type Sorter struct {
	keys  []uint64
	moved []retrieve.Candidate
}

// Sort puts the best first: equal scores in the order of their rows, and what has none last.
func (m *Sorter) Sort(candidates []retrieve.Candidate) {
	m.keys, m.moved = m.keys[:0], append(m.moved[:0], candidates...)
	for i := range candidates {
		m.keys = append(m.keys, uint64(falling(candidates[i].Score))<<32|uint64(i))
	}
	slices.Sort(m.keys)
	for to, key := range m.keys {
		c := m.moved[uint32(key)]
		for ; to > 0 && c.Row < candidates[to-1].Row && m.keys[to-1]>>32 == key>>32; to-- {
			candidates[to] = candidates[to-1]
		}
		candidates[to] = c
	}
}

// falling maps scores to integers in the opposite order, NaN to the last; both zeros are one.
func falling(x float32) uint32 {
	b := math.Float32bits(x + 0)
	switch {
	case x != x:
		return math.MaxUint32
	case b>>31 != 0:
		return b
	}
	return 1<<31 - 1 - b
}

// score sets the candidates' scores for the profile: placed are the ranker's, by candidate, where it was asked; top is the mean of the
// profile's highest.
func score(q *retrieve.Query, candidates []retrieve.Candidate, placed []float32, top float32, cfg Config) {
	var rows [maxDisliked]uint32
	disliked := turnedDown(q, rows[:0])
	for i := range candidates {
		c := &candidates[i]
		if len(placed) > 0 && placed[i] == placed[i] {
			c.Score = placed[i]
		} else {
			c.Score = base(q, c, top, cfg)
		}
		if c.Score <= 0 {
			continue
		}
		c.Score *= 1 + float32(cfg.TrendingBoost)*q.TrendScore(c.Row)
		c.Score *= 1 - float32(cfg.DislikePenalty)*nearest(q, c.Row, disliked)
		c.Score *= q.Boost(c.Row)
	}
}

// Parts are what a candidate's score is made of: their product is the score, where Base is above 0; otherwise Base is.
type Parts struct {
	Base, Trending, Dislike, Boost float32
}

// PartsOf takes a scored candidate's score apart.
func PartsOf(q *retrieve.Query, c *retrieve.Candidate, cfg Config) Parts {
	var rows [maxDisliked]uint32
	p := Parts{
		Trending: 1 + float32(cfg.TrendingBoost)*q.TrendScore(c.Row),
		Dislike:  1 - float32(cfg.DislikePenalty)*nearest(q, c.Row, turnedDown(q, rows[:0])),
		Boost:    q.Boost(c.Row),
	}
	p.Base = c.Score
	if product := p.Trending * p.Dislike * p.Boost; c.Score > 0 && product > 0 {
		p.Base /= product
	}
	return p
}

// base is a candidate's score before anything raises or lowers it.
func base(q *retrieve.Query, c *retrieve.Candidate, top float32, cfg Config) float32 {
	switch {
	case len(q.Vector) > 0 && q.Picture.InModel(c.Row):
		return known(q, c.Row, float32(cfg.TowerWeight))
	case len(q.Vector) > 0:
		if like, ok := q.TowerLiking(c.Row); ok {
			return top * float32(cfg.ColdDiscount) * like
		}
		return top * float32(cfg.ColdDiscount) * Liking(q, c.Row)
	case len(q.Affinity) > 0:
		// Something is known, but nothing the release could fold in: what is popular among the genres watched.
		return c.Score * (.25 + .75*Liking(q, c.Row))
	}
	return c.Score
}

// known is the score of a title that the release knows: by its vectors, or the mean of that and, weighed, what the towers say, either as
// a multiple of the profile's highest.
func known(q *retrieve.Query, row uint32, weight float32) float32 {
	score := q.Picture.Bundle.Score(row, q.Vector)
	if weight == 0 || !(q.TopScore > 0) {
		return score
	}
	if tower, ok := q.TowerScore(row); ok {
		return (score + weight*q.TopScore*tower) / (1 + weight)
	}
	return score
}

// Liking is how well a title's genres meet the profile's, 1 when each of them is its favourite.
func Liking(q *retrieve.Query, row uint32) float32 {
	genres := q.Picture.Genres(row)
	if len(genres) == 0 || len(q.Affinity) == 0 {
		return 0
	}
	var sum float32
	for _, g := range genres {
		sum += q.Affinity[g]
	}
	return sum / float32(len(genres)) / slices.Max(q.Affinity)
}

// turnedDown appends the latest disliked titles that the release knows.
func turnedDown(q *retrieve.Query, rows []uint32) []uint32 {
	if q.Picture.Bundle == nil {
		return rows
	}
	for i := range q.Past {
		if p := &q.Past[i]; p.Disliked && q.Picture.InModel(p.Row) {
			if rows = append(rows, p.Row); len(rows) == maxDisliked {
				break
			}
		}
	}
	return rows
}

// nearest is the similarity to the most similar of rows, at least 0.
func nearest(q *retrieve.Query, row uint32, rows []uint32) float32 {
	var most float32
	if len(rows) > 0 && q.Picture.InModel(row) {
		for _, other := range rows {
			most = max(most, q.Picture.Cosine(row, other))
		}
	}
	return most
}
