package retrieve

import (
	"cmp"
	"slices"

	"marquee/catalog/changes"
	"marquee/serving/view"
	"marquee/training/model"
	"marquee/training/model/content"
)

// minContent is the least likeness by content at which a title is like another. A shared language alone is less.
const minContent = .15

// FromContent adds the count titles most like a title by what the catalogue says of it. It is for titles that nobody has
// watched. A release knows the titles that were in the catalogue when it was made; without one, genres, language and year are
// compared.
func (q *Query) FromContent(subject uint32, count int) {
	if q.Picture.described == nil {
		q.fromGenres(subject, count)
		return
	}
	m := q.Picture.Bundle.Content()
	vector := vectorOf(m, q.Picture.Title(subject))
	q.likeness = sized(q.likeness, m.Len())
	clear(q.likeness)
	m.Add(q.likeness, 1, vector)
	q.nearest = q.nearest[:0]
	for i, like := range q.likeness {
		if like < minContent {
			continue
		}
		if row := q.Picture.described[i]; row != view.None && row != subject && q.Open.Has(row) {
			q.keep(Candidate{Row: row, Source: Content, Subject: subject, Score: min(like, 1)}, count)
		}
	}
	for _, c := range q.nearest {
		q.Add(c)
	}
}

// keep holds the best count candidates by content in order: the most alike, of equal ones the more popular.
func (q *Query) keep(c Candidate, count int) {
	before := func(a, b Candidate) int {
		pa, _ := q.Picture.Popularity(a.Row)
		pb, _ := q.Picture.Popularity(b.Row)
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(pb, pa), cmp.Compare(a.Row, b.Row))
	}
	full := len(q.nearest) >= count
	if full && (count == 0 || before(c, q.nearest[count-1]) >= 0) {
		return
	}
	if full {
		q.nearest = q.nearest[:count-1]
	}
	at, _ := slices.BinarySearchFunc(q.nearest, c, before)
	q.nearest = slices.Insert(q.nearest, at, c)
}

// described is what serving knows of a title that came after the release.
func described(t *changes.Title) content.Title {
	return content.Title{
		ID: t.ID, Name: t.Name, Genres: t.Genres, Language: t.Language, Year: int(t.Year), Maturity: int(max(t.MaturityAge, -1)),
	}
}

// describedRows are the view's rows of the titles that a release describes; nil where it describes none.
func describedRows(v *view.View, b *model.Bundle) []uint32 {
	if b == nil || b.Content() == nil {
		return nil
	}
	rows := make([]uint32, b.Content().Len())
	for i := range rows {
		rows[i] = v.Find(b.Content().TitleID(uint32(i)))
		if rows[i] != view.None && !v.Has(rows[i]) {
			rows[i] = view.None
		}
	}
	return rows
}

// fromGenres is FromContent without a release's content. Only titles that share a genre qualify.
func (q *Query) fromGenres(subject uint32, count int) {
	first := len(q.Candidates)
	for _, g := range q.Picture.Genres(subject) {
		for _, row := range q.Picture.OfGenre(g) {
			if row != subject {
				q.Add(Candidate{Row: row, Source: Genre, Subject: subject, Score: q.Picture.Likeness(subject, row)})
			}
		}
	}
	found := q.Candidates[first:]
	slices.SortFunc(found, func(a, b Candidate) int {
		pa, _ := q.Picture.Popularity(a.Row)
		pb, _ := q.Picture.Popularity(b.Row)
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(pb, pa), cmp.Compare(a.Row, b.Row))
	})
	q.Candidates = q.Candidates[:first+min(count, len(found))]
}

// Likeness compares two titles of the catalogue by content, 0 to 1: the overlap of their genres (Jaccard) for the most part,
// a shared language and the nearness of their years for the rest.
func (p *Picture) Likeness(a, b uint32) float32 {
	ga, gb := p.Genres(a), p.Genres(b)
	shared := 0
	for _, g := range ga {
		if slices.Contains(gb, g) {
			shared++
		}
	}
	if shared == 0 {
		return 0
	}
	like := .8 * float32(shared) / float32(len(ga)+len(gb)-shared)
	ta, tb := p.Title(a), p.Title(b)
	if ta.Language != "" && ta.Language == tb.Language {
		like += .1
	}
	if ta.Year > 0 && tb.Year > 0 {
		like += .1 / (1 + abs(float32(ta.Year-tb.Year))/10)
	}
	return like
}

func abs(v float32) float32 { return max(v, -v) }
