package arrange

import (
	"cmp"
	"math"
	"slices"

	"marquee/serving/rank"
	"marquee/serving/retrieve"
	"marquee/serving/view"
)

// genreExtra is how many of a genre's most watched titles stand beside the profile's own candidates.
const genreExtra = 60

// genre makes the row of the profile's i-th genre: of its candidates and the genre's most watched titles, those it
// would like best.
func (p *Page) genre(q *retrieve.Query, s Settings, cfg Config, i int) {
	if p.full(s) {
		return
	}
	if i == 0 {
		p.rankGenres(q, cfg.GenreRows)
	}
	if i >= len(p.genres) {
		return
	}
	g := p.genres[i]
	q.Reset()
	for _, c := range p.pool {
		if len(q.Candidates) == 2*s.RowSize {
			break
		}
		if slices.Contains(q.Picture.Genres(c.Row), g) {
			c.Source, c.Subject = retrieve.Genre, view.None
			q.Add(c)
		}
	}
	own := len(q.Candidates)
	q.FromGenre(g, max(genreExtra, s.RowSize))
	if len(q.Vector) > 0 {
		rank.Fill(q, own, s.Rank, &p.sorter) // the profile's own candidates are scored already
	}
	p.place(q, s, cfg, Row{Kind: Genre, Subject: view.None, Genre: int(g)})
}

// rankGenres orders the genres by what the profile watches and by how much more it does so than everybody. Genres it has
// not watched, and all of them for a profile nobody knows, follow by how much they are watched.
func (p *Page) rankGenres(q *retrieve.Query, count int) {
	p.genres = p.genres[:0]
	for g := range uint16(q.Picture.GenreCount()) {
		p.genres = append(p.genres, g)
	}
	own := func(g uint16) float64 {
		if len(q.Affinity) == 0 {
			return 0
		}
		return float64(q.Affinity[g]) * math.Sqrt(float64(q.Affinity[g]/max(q.Picture.GenreShare(g), 1e-9)))
	}
	slices.SortFunc(p.genres, func(a, b uint16) int {
		return cmp.Or(cmp.Compare(own(b), own(a)), cmp.Compare(q.Picture.GenreShare(b), q.Picture.GenreShare(a)),
			cmp.Compare(q.Picture.GenreName(a), q.Picture.GenreName(b)))
	})
	p.genres = p.genres[:min(count, len(p.genres))]
}
