// Package retrieve finds the candidates of an answer: it puts a profile's history into the rows of one view, takes what
// must not be shown out, folds the profile into the release, and asks every source for titles that may be shown.
//
// A Query is the working memory of one request. It is reused, and a request allocates next to nothing.
package retrieve

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"marquee/ann"
	"marquee/internal/vec"
	"marquee/serving/expr"
	"marquee/serving/state"
	"marquee/serving/view"
	"marquee/training/model"
	"marquee/training/model/ranking"
)

// Picture is what requests are answered from: one catalogue revision with one release.
type Picture struct {
	*view.View
	// Bundle is nil while there is no release. It has the view's model rows.
	Bundle *model.Bundle
	norms  []float32 // by model row
	// ranking is what the release's ranker is told of its titles; nil where it has none.
	ranking *ranking.Table
	// described are the rows of the titles that the release's content describes, by its rows; nil where it has none.
	described []uint32
	// fresh are what the title tower makes of titles that the release does not know; nil where it has no towers.
	fresh *fresh
	trend atomic.Pointer[trend]
	// masks and raises are what expressions that hang on titles alone say of this picture's.
	masks  *expr.Recent[*expr.Filter, ann.Bitmap]
	raises *expr.Recent[*expr.Boost, []float32]
}

// remembered is how many expressions' values a picture keeps at least: a bit, or a float32, a title each.
const remembered = 64

// NewPicture joins a view and the release it was built with.
func NewPicture(v *view.View, b *model.Bundle) (*Picture, error) { return NewPictureAfter(nil, v, b) }

// NewPictureAfter is NewPicture after another, which may be nil and saves work where it is of the same release.
func NewPictureAfter(before *Picture, v *view.View, b *model.Bundle) (*Picture, error) {
	p := &Picture{
		View: v, Bundle: b, described: describedRows(v, b),
		masks: expr.NewRecent[*expr.Filter, ann.Bitmap](remembered), raises: expr.NewRecent[*expr.Boost, []float32](remembered),
	}
	if b != nil {
		p.norms = make([]float32, b.Len())
		for row := range p.norms {
			f := b.Factors(uint32(row))
			p.norms[row] = float32(math.Sqrt(float64(vec.Dot(f, f))))
		}
		if err := p.readFresh(before); err != nil {
			return nil, err
		}
		if ranks, _ := b.Ranks(); ranks {
			var err error
			if p.ranking, err = rankingTable(v, b); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// rankingTable joins what the release and the catalogue know of the release's titles.
func rankingTable(v *view.View, b *model.Bundle) (*ranking.Table, error) {
	t := b.RankingTitles()
	t.Year, t.Genres, t.GenreCount = make([]int, b.Len()), make([][]uint16, b.Len()), v.GenreCount()
	for row := range uint32(b.Len()) {
		if v.Has(row) {
			t.Year[row], t.Genres[row] = int(v.Title(row).Year), v.Genres(row)
		}
	}
	return ranking.NewTable(t, len(model.RankerSources()))
}

// Ranking is what the release's ranker is told of its titles, by model row; nil where the release has none.
func (p *Picture) Ranking() *ranking.Table { return p.ranking }

// Cosine is the similarity of two titles that the release knows, -1 to 1.
func (p *Picture) Cosine(a, b uint32) float32 {
	if n := p.norms[a] * p.norms[b]; n > 0 {
		return vec.Dot(p.Bundle.Factors(a), p.Bundle.Factors(b)) / n
	}
	return 0
}

// Alike is how much two titles of the catalogue resemble each other, 0 to 1: by who watches them where the release knows both,
// otherwise by content.
func (p *Picture) Alike(a, b uint32) float32 {
	if p.InModel(a) && p.InModel(b) {
		return max(0, p.Cosine(a, b))
	}
	return p.Likeness(a, b)
}

// trend is what the live history says of titles, in the rows of a picture.
type trend struct {
	of      *state.Trend
	rows    []uint32
	score   []float32 // by row, relative to the best
	watched []watched
}

// watched is a title among those watched most of all, with its score relative to the first.
type watched struct {
	row   uint32
	score float32
}

// trending translates the list, once for every new list.
func (p *Picture) trending(list *state.Trend) *trend {
	if t := p.trend.Load(); t != nil && t.of == list {
		return t
	}
	t := &trend{of: list, score: make([]float32, p.Rows())}
	for i, title := range list.Titles {
		if row := p.Row(title); row != view.None {
			t.rows = append(t.rows, row)
			t.score[row] = list.Scores[i]
		}
	}
	// Equal scores in the order of rows: the numbers the state orders by depend on which title it met first.
	slices.SortFunc(t.rows, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(t.score[b], t.score[a]), cmp.Compare(a, b))
	})
	for i, title := range list.Watched {
		if row := p.Row(title); row != view.None {
			t.watched = append(t.watched, watched{row, list.WatchedScores[i]})
		}
	}
	slices.SortFunc(t.watched, func(a, b watched) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.row, b.row))
	})
	p.trend.Store(t)
	return t
}

// Source is what put a title in an answer.
type Source uint8

// The sources, by the names the contract gives them.
const (
	ALS Source = iota
	Similar
	Trending
	Popular
	New
	Genre
	ContinueWatching
	Content
	Near
	Tower
	// Sources is how many there are.
	Sources = iota
)

func (s Source) String() string {
	switch s {
	case ALS:
		return "als"
	case Similar:
		return "similar"
	case Trending:
		return "trending"
	case Popular:
		return "popular"
	case New:
		return "new"
	case Genre:
		return "genre"
	case ContinueWatching:
		return "continue_watching"
	case Content:
		return "content"
	case Near:
		return "knn"
	case Tower:
		return "tower"
	}
	return fmt.Sprintf("source %d", uint8(s))
}

// Candidate is a title that may be in the answer.
type Candidate struct {
	Row    uint32
	Source Source
	// Subject is the row of the title it is similar to; view.None when it is not about one.
	Subject uint32
	Score   float32
	// Propensity is the chance it had of its place given those before it; 0 where nothing was drawn by lot, which makes it 1.
	Propensity float64
}

// Past is one title of the profile's history.
type Past struct {
	Row uint32
	state.Entry
}

// Excluded counts the titles that the history took out, by reason. A title counts once.
type Excluded struct {
	Seen, Disliked, JustPlayed uint32
}

// Query is the working memory of one request. The zero Query is ready for Begin.
type Query struct {
	Picture *Picture
	Now     int64 // µs

	// Eligible are the rows that pass the hard filters, Open those of them that may be recommended: not seen, not
	// disliked, not yet in the answer.
	Eligible, Open ann.Bitmap
	// History is what the state knows; Past is that in the picture's rows, latest first.
	History  state.History
	Past     []Past
	Excluded Excluded
	// Known says that the profile has a history.
	Known bool
	// Affinity is the profile's liking by genre, adding up to 1; empty when nothing is known.
	Affinity []float32
	// Vector is the profile folded in; empty when there is no release or nothing in the history to fold in.
	Vector []float32
	// Interactions are what was folded in.
	Interactions []model.Interaction
	// Scratch is the release's working memory, good for Explain after FoldIn.
	Scratch *model.Scratch
	// TopScore is the mean of the profile's highest scores by the release; 0 without a Vector.
	TopScore float32
	// Ranked says that the release's ranker put the candidates in order.
	Ranked bool
	// Plan is how the index was searched for the profile.
	Plan ann.Plan

	// Candidates are what the sources found, each row once.
	Candidates []Candidate
	// Refused counts the titles that a filter of the caller's took out before the search.
	Refused int

	wish       wish
	near       nearness
	tower      tower
	vector     []float32
	found      []ann.Neighbor
	likeness   []float32 // by row of the release's content
	nearest    []Candidate
	mark       []uint32
	epoch      uint32
	scratchDim int
	trend      *trend
}

// Begin makes the query ready for another request.
func (q *Query) Begin(p *Picture, a view.Audience, trending *state.Trend) {
	q.Picture, q.Now = p, a.Now
	q.Eligible = sized(q.Eligible, (p.Rows()+63)/64)
	q.Open = sized(q.Open, (p.Rows()+63)/64)
	p.Eligible(q.Eligible, a)
	copy(q.Open, q.Eligible)
	q.History.Entries, q.History.Seen, q.History.Events = q.History.Entries[:0], q.History.Seen[:0], 0
	q.Past, q.Excluded, q.Known = q.Past[:0], Excluded{}, false
	q.Affinity, q.Vector, q.Interactions = q.Affinity[:0], q.Vector[:0], q.Interactions[:0]
	q.Plan, q.TopScore = ann.Plan{}, 0
	q.wish.forget()
	q.Refused, q.Ranked = 0, false
	q.near.forget()
	q.tower.forget()
	q.trend = p.trending(trending)
	q.Reset()
}

// End lets go of what belongs to the release.
func (q *Query) End() {
	q.Picture, q.trend = nil, nil
	q.wish.forget()
}

// Reset forgets the candidates.
func (q *Query) Reset() {
	q.Candidates = q.Candidates[:0]
	if cap(q.mark) < q.Picture.Rows() {
		q.mark = make([]uint32, q.Picture.Rows())
		q.epoch = 0
	}
	q.mark = q.mark[:q.Picture.Rows()]
	if q.epoch == math.MaxUint32 {
		clear(q.mark[:cap(q.mark)])
		q.epoch = 0
	}
	q.epoch++
}

func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// Add adds a candidate unless its row is one already or may not be recommended, and reports whether it did.
func (q *Query) Add(c Candidate) bool {
	if !q.Open.Has(c.Row) || q.mark[c.Row] == q.epoch {
		return false
	}
	if !q.wantedNow(c.Row) {
		// It is not asked about again.
		q.Open.Clear(c.Row)
		return false
	}
	q.mark[c.Row] = q.epoch
	q.Candidates = append(q.Candidates, c)
	return true
}

// ModelFilter are the open rows of the release, as its indexes take filters.
func (q *Query) ModelFilter() ann.Bitmap { return q.Open[:(q.Picture.ModelRows()+63)/64] }

// TrendScore is how much a title trends, 0 to 1.
func (q *Query) TrendScore(row uint32) float32 { return q.trend.score[row] }

// AgeMicros is how long ago an instant was, 0 when it lies ahead.
func (q *Query) AgeMicros(at int64) int64 { return max(0, q.Now-at) }
