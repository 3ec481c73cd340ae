package retrieve

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"marquee/serving/state"
	"marquee/serving/view"
	"marquee/training/model"
)

// justPlayed is how long a title stays away after a play of it, however short: who closed it a minute ago does not want
// it back at once.
const justPlayed = 24 * time.Hour

// affinityHalf is after how many titles of history a title counts half towards the profile's genres.
const affinityHalf = 50

// LoadProfile puts the profile's history into the picture's rows and takes out of Open what it rules out.
func (q *Query) LoadProfile(store *state.Store, profileID string) {
	q.Known = store.Read(profileID, &q.History)
	for i := range q.History.Entries {
		e := &q.History.Entries[i]
		if row := q.Picture.Row(e.Title); row != view.None {
			q.Past = append(q.Past, Past{Row: row, Entry: *e})
			q.exclude(row, e)
		}
	}
	for _, title := range q.History.Seen {
		if row := q.Picture.Row(title); row != view.None && q.Open.Has(row) {
			q.Open.Clear(row)
			q.Excluded.Seen++
		}
	}
	slices.SortFunc(q.Past, func(a, b Past) int {
		return cmp.Or(cmp.Compare(b.LastAt, a.LastAt), cmp.Compare(a.Row, b.Row))
	})
	q.likeGenres()
}

func (q *Query) exclude(row uint32, e *state.Entry) {
	if !q.Open.Has(row) {
		return
	}
	switch q.verdict(e) {
	case Disliked:
		q.Excluded.Disliked++
	case Seen:
		q.Excluded.Seen++
	case JustPlayed:
		q.Excluded.JustPlayed++
	default:
		return
	}
	q.Open.Clear(row)
}

// Why a profile's history takes a title out.
const (
	Seen       = "seen"
	Disliked   = "disliked"
	JustPlayed = "just_played"
)

// verdict is why a title of the history may not be recommended, "" where it may.
func (q *Query) verdict(e *state.Entry) string {
	switch {
	case e.Disliked:
		return Disliked
	case e.Watched:
		return Seen
	case e.PlayedAt > 0 && q.AgeMicros(e.PlayedAt) < justPlayed.Microseconds():
		return JustPlayed
	}
	return ""
}

// RuledOut is why the loaded history takes a title out, "" where it does not.
func (q *Query) RuledOut(row uint32) string {
	for i := range q.Past {
		if q.Past[i].Row == row {
			if why := q.verdict(&q.Past[i].Entry); why != "" {
				return why
			}
		}
	}
	for _, title := range q.History.Seen {
		if q.Picture.Row(title) == row {
			return Seen
		}
	}
	return ""
}

// ExcludeDisliked takes out of Open what the profile turned down, and nothing else.
func (q *Query) ExcludeDisliked(store *state.Store, profileID string) {
	store.Read(profileID, &q.History)
	for i := range q.History.Entries {
		if e := &q.History.Entries[i]; e.Disliked {
			if row := q.Picture.Row(e.Title); row != view.None {
				q.exclude(row, e)
			}
		}
	}
}

// likeGenres adds up what the profile watched by genre, the latest titles the most.
func (q *Query) likeGenres() {
	q.Affinity = sized(q.Affinity, q.Picture.GenreCount())
	clear(q.Affinity)
	var total float32
	weight := float32(1)
	for i := range q.Past {
		p := &q.Past[i]
		genres := []uint16(nil)
		if p.Strength > 0 && q.Picture.Has(p.Row) {
			genres = q.Picture.Genres(p.Row)
		}
		for _, g := range genres {
			w := min(2, p.Strength) * weight / float32(len(genres))
			q.Affinity[g] += w
			total += w
		}
		weight *= 1 - .693/affinityHalf
	}
	if total == 0 {
		q.Affinity = q.Affinity[:0]
		return
	}
	for g := range q.Affinity {
		q.Affinity[g] /= total
	}
}

// FoldIn solves for the profile's vector. Vector stays empty when there is no release or nothing the release knows was
// watched for good.
func (q *Query) FoldIn() error {
	b := q.Picture.Bundle
	if b == nil {
		return nil
	}
	positive := false
	for i := range q.Past {
		p := &q.Past[i]
		if !q.Picture.InModel(p.Row) {
			continue
		}
		strength := model.Value(p.Strength, p.Abandoned, p.Disliked)
		if strength == 0 {
			continue
		}
		positive = positive || strength > 0
		q.Interactions = append(q.Interactions, model.Interaction{Row: p.Row, Strength: strength})
	}
	if !positive {
		return nil
	}
	if q.scratchDim != b.Dim() {
		q.Scratch, q.scratchDim = b.NewScratch(), b.Dim()
	}
	q.vector = sized(q.vector, b.Dim())
	if err := b.FoldIn(q.vector, q.Interactions, q.Scratch); err != nil {
		return fmt.Errorf("fold %d interactions in: %w", len(q.Interactions), err)
	}
	q.Vector = q.vector
	return nil
}
