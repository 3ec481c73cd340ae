package rank

import (
	"context"
	"fmt"
	"math"
	"slices"

	"marquee/serving/retrieve"
	"marquee/training/model"
	"marquee/training/model/ranking"
)

// Memory is the working memory of one request's ranking, to be used again but not by two at once.
type Memory struct {
	rows     []uint32
	at       []int // places of rows among the candidates
	history  []ranking.Watch
	scores   [][]float32
	features []float32
	order    []float32
	outcomes []float32
	scratch  ranking.Scratch
	// placed holds what the ranker says of each candidate, by its place; NaN of those it was not asked about.
	placed []float32
	top    float32
	sorter Sorter
}

// topScores is how many of a profile's best scores are its top scores.
const topScores = 20

// ask asks the release's ranker for the candidates that the release knows, and reports whether it answered: it is asked only for a
// profile that could be folded in, by a release that has one. The error says why it could not be asked; what Rank then goes by
// is the release's vectors.
func (m *Memory) ask(ctx context.Context, q *retrieve.Query) (bool, error) {
	m.placed = m.placed[:0]
	if q.Picture.Ranking() == nil || len(q.Vector) == 0 {
		return false, nil
	}
	if _, err := q.Picture.Bundle.Ranks(); err != nil {
		return false, err
	}
	if err := m.describe(q, q.Candidates); err != nil {
		return false, err
	}
	m.order = sized(m.order, len(m.rows))
	// To watch the request's end costs the runtime more than a fraction of a millisecond could save.
	if err := q.Picture.Bundle.Order(context.WithoutCancel(ctx), m.order, m.features); err != nil {
		return false, fmt.Errorf("rank %d candidates: %w", len(m.rows), err)
	}
	m.placed = sized(m.placed, len(q.Candidates))
	for i := range m.placed {
		m.placed[i] = nan
	}
	for i, at := range m.at {
		m.placed[at] = m.order[i]
	}
	slices.Sort(m.order)
	m.top = 0
	best := m.order[max(0, len(m.order)-topScores):]
	for _, s := range best {
		m.top += s / float32(len(best))
	}
	return true, nil
}

// Outcomes are how likely each of the titles is played, and how much of a whole watch that is then, two numbers a title; NaN where the
// release cannot say.
func (m *Memory) Outcomes(ctx context.Context, q *retrieve.Query, items []retrieve.Candidate) ([]float32, error) {
	out := make([]float32, 2*len(items))
	for i := range out {
		out[i] = nan
	}
	if q.Picture.Ranking() == nil || len(q.Vector) == 0 {
		return out, nil
	}
	if err := m.describe(q, items); err != nil {
		return out, err
	}
	m.outcomes = sized(m.outcomes, 2*len(m.rows))
	if err := q.Picture.Bundle.Outcomes(ctx, m.outcomes, m.features); err != nil {
		return out, fmt.Errorf("foretell what becomes of %d titles: %w", len(m.rows), err)
	}
	for i, at := range m.at {
		copy(out[2*at:], m.outcomes[2*i:2*i+2])
	}
	return out, nil
}

// describe computes the features of the candidates that the release knows.
func (m *Memory) describe(q *retrieve.Query, candidates []retrieve.Candidate) error {
	m.rows, m.at, m.history = m.rows[:0], m.at[:0], m.history[:0]
	for i := range candidates {
		if row := candidates[i].Row; q.Picture.InModel(row) {
			m.rows, m.at = append(m.rows, row), append(m.at, i)
		}
	}
	for i := range q.Past {
		if p := &q.Past[i]; q.Picture.InModel(p.Row) {
			m.history = append(m.history, ranking.Watch{Row: p.Row, Strength: p.Strength, At: p.LastAt})
		}
	}
	bundle, sources := q.Picture.Bundle, model.RankerSources()
	if m.scores == nil {
		m.scores = make([][]float32, len(sources))
	}
	for i, source := range sources {
		m.scores[i] = sized(m.scores[i], len(m.rows))
		for n, row := range m.rows {
			popular, decayed := bundle.Popularity(row)
			switch source {
			case model.SourceALS:
				m.scores[i][n] = bundle.Score(row, q.Vector)
			case model.SourceKNN:
				m.scores[i][n] = q.NearScore(row)
			case model.SourcePopular:
				m.scores[i][n] = popular
			case model.SourceTrending:
				m.scores[i][n] = decayed
			}
		}
	}
	table := q.Picture.Ranking()
	m.features = sized(m.features, len(m.rows)*table.Width())
	if err := table.Rows(m.features, q.Now, m.history, m.rows, m.scores, &m.scratch); err != nil {
		return fmt.Errorf("describe %d candidates: %w", len(m.rows), err)
	}
	return nil
}

var nan = float32(math.NaN())

func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
