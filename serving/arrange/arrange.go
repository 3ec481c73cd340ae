// Package arrange makes answers of ranked candidates: one list, or the rows of a home page in which no title stands twice.
package arrange

import (
	"fmt"

	"marquee/serving/rank"
	"marquee/serving/retrieve"
	"marquee/serving/view"
)

// Config shapes answers.
type Config struct {
	// ColdShare is the share of a list that titles unknown to the release may take, where the profile has scores.
	ColdShare float64 `koanf:"cold_share"`
	// MinRow is the least number of titles of a row; shorter ones are dropped, continue_watching aside.
	MinRow int `koanf:"min_row"`
	// GenreRows is how many rows of genres a page has at most.
	GenreRows int `koanf:"genre_rows"`
	// BecauseRows is how many rows of titles like one that was watched a page has at most.
	BecauseRows int `koanf:"because_rows"`
	// Diversity is how much the titles of a list should differ, where a request does not say: 0, by score alone, to 1.
	Diversity float64 `koanf:"diversity"`
	// Exploration is the chance of each place of a list, or of top_picks, to go to a candidate drawn by lot, where a request does not
	// say: 0 to 1. Without some of it a service learns from what it shows that what it shows is liked, and nothing else. The served
	// log has each title's chance.
	Exploration float64 `koanf:"exploration"`
	// ExplorePool is how many of the best candidates are drawn from.
	ExplorePool int `koanf:"explore_pool"`
	// ExploreFrom is the first place that is given away so, from 0.
	ExploreFrom int `koanf:"explore_from"`
}

// DefaultConfig gives a tenth of a list to titles too new for the release.
func DefaultConfig() Config {
	return Config{ColdShare: .1, MinRow: 3, GenreRows: 6, BecauseRows: 2, ExplorePool: 200}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	if !(c.ColdShare >= 0 && c.ColdShare <= 1) {
		return fmt.Errorf("serving.arrange.cold_share must be between 0 and 1, is %g", c.ColdShare)
	}
	if !(c.Diversity >= 0 && c.Diversity <= 1) {
		return fmt.Errorf("serving.arrange.diversity must be between 0 and 1, is %g", c.Diversity)
	}
	if !(c.Exploration >= 0 && c.Exploration <= 1) {
		return fmt.Errorf("serving.arrange.exploration must be between 0 and 1, is %g", c.Exploration)
	}
	for _, f := range []struct {
		name      string
		v, lo, hi int
	}{
		{"min_row", c.MinRow, 1, 100}, {"genre_rows", c.GenreRows, 0, 50}, {"because_rows", c.BecauseRows, 0, 10},
		{"explore_pool", c.ExplorePool, 1, 100_000}, {"explore_from", c.ExploreFrom, 0, 500},
	} {
		if f.v < f.lo || f.v > f.hi {
			return fmt.Errorf("serving.arrange.%s must be between %d and %d, is %d", f.name, f.lo, f.hi, f.v)
		}
	}
	return nil
}

// List appends to dst the best count of the query's ranked candidates that are open still, and closes them. Where titles that the
// release knows are too few, the others fill it up beyond their share: they come last. With diversity, the order is not that of scores;
// with exploration, some stand where the lot has put them, the same for the same seed.
func List(dst []retrieve.Candidate, q *retrieve.Query, count int, cfg Config, seed uint64) []retrieve.Candidate {
	cold := count
	if len(q.Vector) > 0 {
		cold = int(cfg.ColdShare*float64(count) + .5)
	}
	diversify(q, count, float32(cfg.Diversity))
	if cfg.Exploration > 0 {
		explore(q, count, cold, cfg, seed)
	}
	full := len(dst) + count
	dst = take(dst, q, full, cold)
	return take(dst, q, full, count)
}

// take appends open candidates until dst has full, at most cold of them unknown to the release.
func take(dst []retrieve.Candidate, q *retrieve.Query, full, cold int) []retrieve.Candidate {
	for _, c := range q.Candidates {
		if len(dst) >= full {
			break
		}
		if !q.Open.Has(c.Row) {
			continue
		}
		if !q.Picture.InModel(c.Row) {
			if cold == 0 {
				continue
			}
			cold--
		}
		q.Open.Clear(c.Row)
		dst = append(dst, c)
	}
	return dst
}

// Row is one shelf: Items[From:To] of its page.
type Row struct {
	Kind     string
	From, To int
	// Subject is the row of the title the shelf is about, view.None when it is not about one; Genre the genre, or -1.
	Subject uint32
	Genre   int
	// Popular says that top_picks holds what is popular, for want of anything known of the profile.
	Popular bool
}

// The kinds of rows, by the names the contract gives them.
const (
	ContinueWatching  = "continue_watching"
	TopPicks          = "top_picks"
	BecauseYouWatched = "because_you_watched"
	Trending          = "trending"
	New               = "new"
	Genre             = "genre"
)

// Page is a home page in the making. It is reused.
type Page struct {
	Rows  []Row
	Items []retrieve.Candidate
	// Failed is the first search that failed: the rows it was for are missing.
	Failed error

	pool   []retrieve.Candidate
	genres []uint16
	sorter rank.Sorter
}

// Settings are what a page is asked for.
type Settings struct {
	Rows, RowSize int
	// NewFor is how long a title is new, in microseconds.
	NewFor int64
	Rank   rank.Config
	// Seed is what exploration draws from.
	Seed uint64
}

// Build arranges the page of a query whose candidates are ranked. It takes titles out of q.Open as it places them.
func (p *Page) Build(q *retrieve.Query, s Settings, cfg Config) {
	p.Rows, p.Items, p.Failed = p.Rows[:0], p.Items[:0], nil
	// What the release thinks of the whole catalogue is needed again by the rows of genres.
	p.pool = append(p.pool[:0], q.Candidates...)
	p.continueWatching(q, s)
	p.topPicks(q, s, cfg)
	subjects := p.subjects(q, cfg)
	p.because(q, s, cfg, subjects, 0)
	p.source(q, s, cfg, Trending, func() { q.FromTrending(s.RowSize) })
	p.genre(q, s, cfg, 0)
	p.because(q, s, cfg, subjects, 1)
	p.source(q, s, cfg, New, func() { q.FromNew(s.RowSize, s.NewFor, false) })
	for i := 2; i < cfg.BecauseRows; i++ {
		p.because(q, s, cfg, subjects, i)
	}
	for i := 1; i < cfg.GenreRows; i++ {
		p.genre(q, s, cfg, i)
	}
}

func (p *Page) full(s Settings) bool { return len(p.Rows) >= s.Rows }

// place appends a row of the best of q.Candidates, unless they are too few, and closes them.
func (p *Page) place(q *retrieve.Query, s Settings, cfg Config, row Row) {
	n := min(len(q.Candidates), s.RowSize)
	if n < cfg.MinRow {
		return
	}
	row.From, row.To = len(p.Items), len(p.Items)+n
	p.Items = append(p.Items, q.Candidates[:n]...)
	for _, c := range q.Candidates[:n] {
		q.Open.Clear(c.Row)
	}
	p.Rows = append(p.Rows, row)
}

// continueWatching holds what was begun and not finished, and series with a next episode, the latest first. It is the
// one row whose titles may stand in another, and goes by what may be shown at all: of course it was seen.
func (p *Page) continueWatching(q *retrieve.Query, s Settings) {
	if p.full(s) {
		return
	}
	from := len(p.Items)
	for i := range q.Past {
		past := &q.Past[i]
		if len(p.Items)-from == s.RowSize {
			break
		}
		if q.Eligible.Has(past.Row) && goesOn(q, past) && q.Wanted(past.Row) {
			p.Items = append(p.Items, retrieve.Candidate{Row: past.Row, Source: retrieve.ContinueWatching, Subject: view.None, Score: 1 - past.Completed})
		}
	}
	if len(p.Items) > from {
		p.Rows = append(p.Rows, Row{Kind: ContinueWatching, From: from, To: len(p.Items), Subject: view.None, Genre: -1})
	}
}

func goesOn(q *retrieve.Query, past *retrieve.Past) bool {
	if past.InProgress() {
		return true
	}
	last := q.Picture.LastPlayable(past.Row)
	return past.Watched && !past.Disliked && past.Finished() && q.Picture.IsSeries(past.Row) && past.Playable != last
}

func (p *Page) topPicks(q *retrieve.Query, s Settings, cfg Config) {
	if p.full(s) {
		return
	}
	row := Row{Kind: TopPicks, From: len(p.Items), Subject: view.None, Genre: -1, Popular: len(q.Vector) == 0 && len(q.Affinity) == 0}
	p.Items = List(p.Items, q, s.RowSize, cfg, s.Seed)
	if row.To = len(p.Items); row.To-row.From < cfg.MinRow {
		for _, c := range p.Items[row.From:] {
			q.Open.Set(c.Row)
		}
		p.Items = p.Items[:row.From]
		return
	}
	p.Rows = append(p.Rows, row)
}

// source makes a row of what one source finds, in the source's own order.
func (p *Page) source(q *retrieve.Query, s Settings, cfg Config, kind string, find func()) {
	if p.full(s) {
		return
	}
	q.Reset()
	find()
	p.place(q, s, cfg, Row{Kind: kind, Subject: view.None, Genre: -1})
}

// subjectStrength is the least strength of a watch that a row is made about: most of a film.
const subjectStrength = .6

// subjects picks the titles finished last that the profile made something of: what is in progress has its own row.
func (p *Page) subjects(q *retrieve.Query, cfg Config) [maxSubjects]uint32 {
	var out [maxSubjects]uint32
	n := 0
	for i := range out {
		out[i] = view.None
	}
	for i := range q.Past {
		past := &q.Past[i]
		if n == min(cfg.BecauseRows, maxSubjects) {
			break
		}
		// The heading names the title, so it must be one that may be shown.
		if past.Strength >= subjectStrength && past.Watched && !past.InProgress() && q.Eligible.Has(past.Row) {
			out[n] = past.Row
			n++
		}
	}
	return out
}

const maxSubjects = 10

func (p *Page) because(q *retrieve.Query, s Settings, cfg Config, subjects [maxSubjects]uint32, i int) {
	if p.full(s) || subjects[i] == view.None {
		return
	}
	q.Reset()
	known, err := q.FromSimilar(subjects[i], s.RowSize)
	if err != nil {
		p.fail(err)
		return
	}
	if !known {
		q.FromContent(subjects[i], s.RowSize)
	}
	p.place(q, s, cfg, Row{Kind: BecauseYouWatched, Subject: subjects[i], Genre: -1})
}

func (p *Page) fail(err error) {
	if p.Failed == nil {
		p.Failed = err
	}
}
