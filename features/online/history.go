package online

import (
	"cmp"
	"slices"
	"strings"

	ingestv1 "marquee/ingest/v1"
)

// Play is one play of a title.
type Play struct {
	ID         string
	FirstAt    int64
	LastAt     int64
	WatchedMS  int64
	DurationMS int64
	Autoplay   bool
}

// Strength returns the play's strength and whether it was abandoned.
func (p *Play) Strength() (int32, bool) {
	return PlayStrength(p.WatchedMS, p.DurationMS, p.Autoplay)
}

// Title is what one profile did with one title. The zero value is ready to use. Events may come in any order, and an
// event more than once: the result is the same. It is not safe for concurrent use.
type Title struct {
	Plays    []Play // in order of ID
	first    int64
	last     mark
	feedback mark
	list     mark
	clicked  bool
}

// Apply adds an event, which must be AboutTitle.
func (t *Title) Apply(e *Event) {
	m := e.mark()
	if t.last == (mark{}) || e.At < t.first {
		t.first = e.At
	}
	t.last = latest(t.last, m)
	switch e.Type {
	case ingestv1.EventType_EVENT_TYPE_PLAY_START, ingestv1.EventType_EVENT_TYPE_PROGRESS, ingestv1.EventType_EVENT_TYPE_PLAY_END:
		t.applyPlay(e)
	case ingestv1.EventType_EVENT_TYPE_LIKE, ingestv1.EventType_EVENT_TYPE_DISLIKE, ingestv1.EventType_EVENT_TYPE_NOT_INTERESTED:
		t.feedback = latest(t.feedback, m)
	case ingestv1.EventType_EVENT_TYPE_LIST_ADD, ingestv1.EventType_EVENT_TYPE_LIST_REMOVE:
		t.list = latest(t.list, m)
	case ingestv1.EventType_EVENT_TYPE_CLICK:
		t.clicked = true
	}
}

func (t *Title) applyPlay(e *Event) {
	i, found := slices.BinarySearchFunc(t.Plays, e.PlayID, func(p Play, id string) int { return strings.Compare(p.ID, id) })
	if !found {
		t.Plays = slices.Insert(t.Plays, i, Play{ID: e.PlayID, FirstAt: e.At, LastAt: e.At, WatchedMS: e.WatchedMS, DurationMS: e.DurationMS})
	}
	p := &t.Plays[i]
	p.FirstAt = min(p.FirstAt, e.At)
	p.LastAt = max(p.LastAt, e.At)
	p.WatchedMS = max(p.WatchedMS, e.WatchedMS)
	p.DurationMS = max(p.DurationMS, e.DurationMS)
	p.Autoplay = p.Autoplay || e.Autoplay
}

// Interaction is a row of the set interactions, but for the profile.
type Interaction struct {
	TitleID   string
	Strength  int32 // 10000ths, 0 to MaxStrength
	Plays     uint32
	WatchedMS int64
	FirstAt   int64
	LastAt    int64
	LastType  ingestv1.EventType
	Abandoned bool // it was played, and every play was abandoned
	Disliked  bool // the last word on it was dislike or not_interested: never recommend it
	Liked     bool
	Listed    bool
}

// Interaction sums the title up.
func (t *Title) Interaction(titleID string) Interaction {
	r := Interaction{
		TitleID: titleID, Plays: uint32(len(t.Plays)), FirstAt: t.first, LastAt: t.last.at, LastType: t.last.typ,
		Disliked: t.feedback.typ == ingestv1.EventType_EVENT_TYPE_DISLIKE || t.feedback.typ == ingestv1.EventType_EVENT_TYPE_NOT_INTERESTED,
		Liked:    t.feedback.typ == ingestv1.EventType_EVENT_TYPE_LIKE,
		Listed:   t.list.typ == ingestv1.EventType_EVENT_TYPE_LIST_ADD,
	}
	var strength int64
	r.Abandoned = len(t.Plays) > 0
	for i := range t.Plays {
		s, abandoned := t.Plays[i].Strength()
		strength += int64(s)
		r.WatchedMS += t.Plays[i].WatchedMS
		r.Abandoned = r.Abandoned && abandoned
	}
	if r.Liked {
		strength += likeBonus
	}
	if r.Listed {
		strength += listBonus
	}
	if t.clicked && len(t.Plays) == 0 {
		strength += clickBonus
	}
	if !r.Disliked {
		r.Strength = int32(min(MaxStrength, strength))
	}
	return r
}

// History is what one profile did, title by title. The zero value is not ready: use NewHistory. It is not safe for
// concurrent use.
type History struct {
	Titles map[string]*Title
}

// NewHistory returns the history of the given events, if any.
func NewHistory(events ...Event) *History {
	h := &History{Titles: map[string]*Title{}}
	for i := range events {
		h.Apply(&events[i])
	}
	return h
}

// Apply adds an event; those not about a title are passed over. Events may come in any order and more than once. Only of
// an event sent again under an implausible clock, whose effective time is the time received, the first copy must come
// alone: see Dedup.
func (h *History) Apply(e *Event) {
	if !e.AboutTitle() {
		return
	}
	t := h.Titles[e.TitleID]
	if t == nil {
		t = &Title{}
		h.Titles[e.TitleID] = t
	}
	t.Apply(e)
}

// Interactions returns the profile's rows of the set interactions, by title.
func (h *History) Interactions() []Interaction {
	out := make([]Interaction, 0, len(h.Titles))
	for id, t := range h.Titles {
		out = append(out, t.Interaction(id))
	}
	slices.SortFunc(out, func(a, b Interaction) int { return strings.Compare(a.TitleID, b.TitleID) })
	return out
}

// Entry is one entry of a profile's sequence: plays of one title in a row.
type Entry struct {
	TitleID  string
	Strength int32 // of the plays together, 10000ths, 0 to MaxStrength
	At       int64 // when the last of the plays began
}

// Sequence returns the profile's row of the set sequences: the latest MaxSequence entries, oldest first, and how many
// there are in all.
func (h *History) Sequence() (entries []Entry, length int) {
	type play struct {
		title string
		*Play
	}
	var plays []play
	for id, t := range h.Titles {
		for i := range t.Plays {
			plays = append(plays, play{id, &t.Plays[i]})
		}
	}
	slices.SortFunc(plays, func(a, b play) int {
		return cmp.Or(cmp.Compare(a.FirstAt, b.FirstAt), strings.Compare(a.title, b.title), strings.Compare(a.ID, b.ID))
	})
	for _, p := range plays {
		s, _ := p.Strength()
		if n := len(entries); n > 0 && entries[n-1].TitleID == p.title {
			last := &entries[n-1]
			last.Strength = min(MaxStrength, last.Strength+s)
			last.At = p.FirstAt
			continue
		}
		entries = append(entries, Entry{TitleID: p.title, Strength: s, At: p.FirstAt})
	}
	return entries[max(0, len(entries)-MaxSequence):], len(entries)
}
