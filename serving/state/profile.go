package state

import (
	"hash/fnv"
	"math"
	"slices"

	ingestv1 "marquee/ingest/v1"
)

// openPlays is how many plays of a profile are held open to heartbeats: far more than anybody has running.
const openPlays = 32

// profile is one profile's history. Its shard's lock guards it.
type profile struct {
	titles   []title    // by lastAt, oldest first
	plays    []play     // the latest openPlays, in no order
	feedback []feedback // titles with a like, dislike or list entry
	seen     []uint32   // titles that fell out of titles, oldest first
	events   uint32
}

// title is what a profile has to do with one title: 56 bytes.
type title struct {
	lastPlay   uint64 // hash of the play that was reported on last
	id         uint32
	playable   uint32 // what was played last
	lastAt     int64  // µs
	playedAt   int64  // µs, the latest event of a play; 0 when never played
	strength   int32  // 10000ths, its plays' added up
	positionMS uint32 // where the latest play stands
	durationMS uint32 // how long what was played is; 0 when unknown
	plays      uint16 // saturating
	kept       uint16 // of them not abandoned
	clicked    bool
	state      feedbackState
}

type feedbackState uint8

const (
	liked feedbackState = 1 << iota
	disliked
	listed
)

// play is one play that may still be reported on.
type play struct {
	hash       uint64
	lastAt     int64
	id         uint32
	watchedMS  uint32
	durationMS uint32
	strength   int32
	autoplay   bool
	abandoned  bool
}

// feedback is what was said last of a title, and when.
type feedback struct {
	id              uint32
	word, list      ingestv1.EventType
	wordAt, listAt  int64
	wordID, listIDs [2]uint64
}

// contribution is what a play adds to trending: a strength at an instant.
type contribution struct {
	strength int32
	at       int64
}

// apply takes the event into the profile and returns what its play added to trending before and adds now.
func (p *profile) apply(e *Event, id, playable uint32) (before, after contribution) {
	p.events++
	t := p.touch(id, e.At)
	switch {
	case e.isPlay():
		return p.applyPlay(t, e, playable)
	case e.Type == ingestv1.EventType_EVENT_TYPE_CLICK:
		t.clicked = true
	default:
		p.applyFeedback(t, e)
	}
	return contribution{}, contribution{}
}

// touch finds or makes the title's entry and puts it in its place by time. The pointer is good until the next touch.
func (p *profile) touch(id uint32, at int64) *title {
	i := slices.IndexFunc(p.titles, func(t title) bool { return t.id == id })
	if i >= 0 && at <= p.titles[i].lastAt {
		return &p.titles[i]
	}
	entry := title{id: id}
	if i >= 0 {
		entry = p.titles[i]
		p.titles = slices.Delete(p.titles, i, i+1)
	}
	entry.lastAt = at
	// Events come mostly in order of time, so the place is searched from the end.
	j := len(p.titles)
	for j > 0 && p.titles[j-1].lastAt > at {
		j--
	}
	p.titles = slices.Insert(p.titles, j, entry)
	return &p.titles[j]
}

func (p *profile) applyPlay(t *title, e *Event, playable uint32) (before, after contribution) {
	pl, known := p.play(t.id, e.PlayID, e.At)
	if known {
		before = contribution{pl.strength, pl.lastAt}
		t.strength -= pl.strength
		if !pl.abandoned && t.kept > 0 {
			t.kept--
		}
	} else if t.plays < math.MaxUint16 {
		t.plays++
	}
	pl.lastAt = max(pl.lastAt, e.At)
	pl.watchedMS = max(pl.watchedMS, uint32(e.WatchedMS))
	pl.durationMS = max(pl.durationMS, uint32(e.DurationMS))
	pl.autoplay = pl.autoplay || e.Autoplay
	pl.strength, pl.abandoned = playStrength(pl)
	t.strength = addSaturating(t.strength, pl.strength)
	if !pl.abandoned && t.kept < math.MaxUint16 {
		t.kept++
	}
	// Of two reports of one instant the one further on holds, so that their order does not matter.
	if position := uint32(e.PositionMS); e.At > t.playedAt || e.At == t.playedAt && position >= t.positionMS {
		t.playedAt, t.playable, t.positionMS, t.lastPlay = e.At, playable, position, pl.hash
	}
	if t.lastPlay == pl.hash {
		t.durationMS = pl.durationMS
	}
	return before, contribution{pl.strength, pl.lastAt}
}

func addSaturating(a, b int32) int32 {
	if s := int64(a) + int64(b); s < math.MaxInt32 {
		return int32(s)
	}
	return math.MaxInt32
}

// play finds the open play or opens it, in place of the one that was quiet longest when all places are taken.
func (p *profile) play(id uint32, playID string, at int64) (*play, bool) {
	h := fnv.New64a()
	h.Write([]byte(playID))
	hash := h.Sum64()
	oldest := 0
	for i := range p.plays {
		if p.plays[i].hash == hash && p.plays[i].id == id {
			return &p.plays[i], true
		}
		if p.plays[i].lastAt < p.plays[oldest].lastAt {
			oldest = i
		}
	}
	fresh := play{hash: hash, id: id, lastAt: at, abandoned: true}
	if len(p.plays) < openPlays {
		p.plays = append(p.plays, fresh)
		return &p.plays[len(p.plays)-1], false
	}
	p.plays[oldest] = fresh
	return &p.plays[oldest], false
}

// applyFeedback keeps the latest word on a title: of like, dislike and not_interested the last one said holds, of
// list_add and list_remove likewise.
func (p *profile) applyFeedback(t *title, e *Event) {
	i := slices.IndexFunc(p.feedback, func(f feedback) bool { return f.id == t.id })
	if i < 0 {
		p.feedback = append(p.feedback, feedback{id: t.id})
		i = len(p.feedback) - 1
	}
	f := &p.feedback[i]
	switch e.Type {
	case ingestv1.EventType_EVENT_TYPE_LIKE, ingestv1.EventType_EVENT_TYPE_DISLIKE, ingestv1.EventType_EVENT_TYPE_NOT_INTERESTED:
		if later(e, f.wordAt, f.wordID, f.word) {
			f.word, f.wordAt, f.wordID = e.Type, e.At, e.Order
		}
	case ingestv1.EventType_EVENT_TYPE_LIST_ADD, ingestv1.EventType_EVENT_TYPE_LIST_REMOVE:
		if later(e, f.listAt, f.listIDs, f.list) {
			f.list, f.listAt, f.listIDs = e.Type, e.At, e.Order
		}
	}
	t.state = f.state()
}

// later orders by (time, event_id, type), as the feature SQL does.
func later(e *Event, at int64, id [2]uint64, typ ingestv1.EventType) bool {
	if e.At != at {
		return e.At > at
	}
	if c := slices.Compare(e.Order[:], id[:]); c != 0 {
		return c > 0
	}
	return e.Type >= typ
}

func (f *feedback) state() feedbackState {
	var s feedbackState
	switch f.word {
	case ingestv1.EventType_EVENT_TYPE_LIKE:
		s |= liked
	case ingestv1.EventType_EVENT_TYPE_DISLIKE, ingestv1.EventType_EVENT_TYPE_NOT_INTERESTED:
		s |= disliked
	}
	if f.list == ingestv1.EventType_EVENT_TYPE_LIST_ADD {
		s |= listed
	}
	return s
}

// bound drops the oldest titles beyond the limit, those without a like, dislike or list entry first: forgetting a play
// costs an old signal, forgetting a dislike would show the title again.
func (p *profile) bound(cfg Config) {
	for len(p.titles) > cfg.MaxTitles {
		i := slices.IndexFunc(p.titles, func(t title) bool { return t.state == 0 })
		if i < 0 {
			i = 0
		}
		gone := p.titles[i]
		p.titles = slices.Delete(p.titles, i, i+1)
		p.feedback = slices.DeleteFunc(p.feedback, func(f feedback) bool { return f.id == gone.id })
		if (gone.kept > 0 || gone.state&disliked != 0) && !slices.Contains(p.seen, gone.id) {
			p.seen = append(p.seen, gone.id)
		}
	}
	if n := len(p.seen) - cfg.MaxSeen; n > 0 {
		p.seen = slices.Delete(p.seen, 0, n)
	}
}
