package serving

import (
	"context"
	"time"

	"marquee/serving/retrieve"
	"marquee/serving/view"
)

// Sources are asked one after the other: each works on memory alone, and none waits for anything, so that a goroutine apiece would cost
// more than most of them take. What they share is a deadline. The release's own candidates come first, and what is popular stands in
// when they are few; of these there is always one. The others are left out once the time for sources is over.

// sourcesUntil is when sources are late: after the configured time, or at a time from which the request's deadline can still be kept.
func (w *work) sourcesUntil(ctx context.Context, began time.Time) time.Time {
	until := began.Add(w.s.cfg.SourceTimeout)
	if deadline, ok := ctx.Deadline(); ok {
		if half := began.Add(time.Until(deadline) / 2); half.Before(until) {
			return half
		}
	}
	return until
}

// source asks one source, unless it is late already: then it is left out, counted and reported. The zero time is never over.
func (w *work) source(s retrieve.Source, late time.Time, find func()) {
	began := time.Now()
	if !late.IsZero() && !began.Before(late) {
		w.s.metrics.late[s].Inc()
		w.degrade(SourceLate + s.String())
		return
	}
	before := len(w.q.Candidates)
	find()
	w.times = append(w.times, stageTime{stage: s.String(), took: time.Since(began), source: true, found: uint32(len(w.q.Candidates) - before)})
}

// coldSubjects is of how many liked or listed titles a profile without a vector is shown others like them.
const coldSubjects = 3

// cold finds what may suit a profile that the release can make nothing of: titles by their content like those it watched or listed, and
// what its genres have.
func (w *work) cold(late time.Time) {
	q := &w.q
	if len(q.Past) == 0 {
		return
	}
	w.source(retrieve.Content, late, func() {
		subjects := 0
		for i := range q.Past {
			p := &q.Past[i]
			if subjects == coldSubjects {
				return
			}
			if p.Disliked || p.Abandoned || !(p.Watched || p.Liked || p.Listed) || p.Row == view.None || !q.Picture.Has(p.Row) {
				continue
			}
			subjects++
			q.FromContent(p.Row, similarCandidates)
		}
	})
}
