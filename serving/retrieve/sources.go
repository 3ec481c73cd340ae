package retrieve

import (
	"fmt"

	"marquee/ann"
	"marquee/serving/view"
)

// FromModel adds the count titles that the release scores highest for the profile.
func (q *Query) FromModel(count int) error {
	if len(q.Vector) == 0 {
		return nil
	}
	var err error
	q.found, q.Plan, err = q.Picture.Bundle.Retrieve().Search(q.Vector, count, q.options(count), q.found)
	if err != nil {
		return fmt.Errorf("search for the profile: %w", err)
	}
	top := q.found[:min(len(q.found), topScores)]
	for _, n := range top {
		q.TopScore += n.Score / float32(len(top))
	}
	for _, n := range q.found {
		q.Add(Candidate{Row: n.ID, Source: ALS, Subject: view.None, Score: n.Score})
	}
	return nil
}

// minRerank is the least number of candidates compared again in float32.
const minRerank = 60

// options search among the open rows. Candidates are many and ranked again, so where an index searches in int8 it is
// enough to compare in float32 as many as are asked for: what int8 misplaces is at the far end.
func (q *Query) options(count int) ann.SearchOptions {
	return ann.SearchOptions{Filter: q.ModelFilter(), Rerank: max(minRerank, count)}
}

// topScores is how many of a profile's best scores are its top scores.
const topScores = 20

// FromSimilar adds the count titles nearest to a title. Its score is their cosine. It says false when the release does not
// know the title, or nothing of it: all who began it left.
func (q *Query) FromSimilar(subject uint32, count int) (bool, error) {
	if q.Picture.Bundle == nil || !q.Picture.InModel(subject) || q.Picture.norms[subject] == 0 {
		return false, nil
	}
	// One more than asked for: the title itself is the nearest of all, where it may be shown.
	var err error
	q.found, _, err = q.Picture.Bundle.Similar().Search(q.Picture.Bundle.Factors(subject), count+1, q.options(count+1), q.found)
	if err != nil {
		return false, fmt.Errorf("search for titles like %s: %w", q.Picture.Bundle.TitleID(subject), err)
	}
	added := 0
	for _, n := range q.found {
		if n.ID != subject && added < count && q.Add(Candidate{Row: n.ID, Source: Similar, Subject: subject, Score: n.Score}) {
			added++
		}
	}
	return true, nil
}

// FromTrending adds up to count titles that trend: in the live stream first, then, should the stream be young or quiet, at
// the release's as_of.
func (q *Query) FromTrending(count int) {
	for _, row := range q.trend.rows {
		if count <= 0 {
			return
		}
		if q.Add(Candidate{Row: row, Source: Trending, Subject: view.None, Score: q.trend.score[row]}) {
			count--
		}
	}
	recent := q.Picture.Recent()
	if len(recent) == 0 {
		return
	}
	_, best := q.Picture.Popularity(recent[0])
	for _, row := range recent {
		if count <= 0 {
			return
		}
		_, decayed := q.Picture.Popularity(row)
		if q.Add(Candidate{Row: row, Source: Trending, Subject: view.None, Score: decayed / best}) {
			count--
		}
	}
}

// FromPopular adds up to count titles in order of all-time popularity: the release's, or without one that of the live
// history; then those nobody has watched.
func (q *Query) FromPopular(count int) {
	popular := q.Picture.Popular()
	if len(popular) == 0 {
		return
	}
	best, _ := q.Picture.Popularity(popular[0])
	if best == 0 {
		for _, w := range q.trend.watched {
			if count > 0 && q.Add(Candidate{Row: w.row, Source: Popular, Subject: view.None, Score: w.score}) {
				count--
			}
		}
	}
	for i, row := range popular {
		if count <= 0 {
			return
		}
		// Titles nobody has watched keep the order they stand in.
		c := Candidate{Row: row, Source: Popular, Subject: view.None, Score: unwatched / float32(1+i)}
		if allTime, _ := q.Picture.Popularity(row); allTime > 0 {
			c.Score = max(c.Score, allTime/best)
		}
		if q.Add(c) {
			count--
		}
	}
}

// unwatched is the score of the first of the titles nobody has watched.
const unwatched = 1e-6

// FromNew adds up to count titles that entered the service no longer than maxAge microseconds ago, the latest first. Its
// score falls from 1 now to 0 at maxAge. With coldOnly, titles the release knows are left out: others find those.
func (q *Query) FromNew(count int, maxAge int64, coldOnly bool) {
	for _, row := range q.Picture.Newest() {
		added := q.Picture.AddedAt(row)
		if added > q.Now {
			continue
		}
		if age := q.Now - added; count <= 0 || age > maxAge {
			return
		} else if coldOnly && q.Picture.InModel(row) {
			continue
		} else if q.Add(Candidate{Row: row, Source: New, Subject: view.None, Score: 1 - float32(age)/float32(maxAge)}) {
			count--
		}
	}
}

// FromGenre adds up to count of a genre's titles, the most watched first.
func (q *Query) FromGenre(g uint16, count int) {
	for _, row := range q.Picture.OfGenre(g) {
		if count <= 0 {
			return
		}
		if q.Add(Candidate{Row: row, Source: Genre, Subject: view.None}) {
			count--
		}
	}
}
