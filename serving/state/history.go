package state

import (
	"slices"
)

// Entry is one title of a profile's history.
type Entry struct {
	// Title and Playable are numbers of the process's id table; Playable is what was played last.
	Title, Playable uint32
	// LastAt is the latest event about the title, microseconds since the Unix epoch.
	LastAt int64
	// PlayedAt is the latest event of a play; 0 when the title was never played.
	PlayedAt int64
	// Strength is the watch strength as features/online defines it: 1 is one full watch, 0 disliked or abandoned, at most
	// 10.
	Strength float32
	// Completed is how much of what was played last lies behind the viewer, 0 to 1; 0 when unknown.
	Completed float32
	// Watched says that some play of it was not abandoned.
	Watched bool
	// Abandoned says that it was played and every play was abandoned.
	Abandoned bool
	// Disliked says that the last word on it was dislike or not_interested.
	Disliked bool
	Liked    bool
	Listed   bool
}

// InProgress says that a viewer would want to go on where they left: begun for good and not over.
func (e *Entry) InProgress() bool {
	return e.Watched && !e.Disliked && e.Completed >= minProgress && e.Completed < maxProgress
}

// Finished says that what was played last was seen to its end.
func (e *Entry) Finished() bool { return e.Completed >= maxProgress }

// Below minProgress a play has hardly begun; from maxProgress on what is left is credits.
const (
	minProgress = 0.02
	maxProgress = 0.95
)

// History is a copy of a profile's history, for one request.
type History struct {
	// Entries are ordered by LastAt, latest first; entries of the same instant are in no particular order.
	Entries []Entry
	// Seen are titles watched or disliked so long ago that nothing else is known of them any more.
	Seen []uint32
	// Events is how many events the history is built on.
	Events uint32
}

// Read copies the profile's history into h, reusing its memory, and reports whether the profile is known.
func (s *Store) Read(profileID string, h *History) bool {
	h.Entries, h.Seen, h.Events = h.Entries[:0], h.Seen[:0], 0
	sh := s.shard(profileID)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	p := sh.profiles[profileID]
	if p == nil {
		return false
	}
	h.Events = p.events
	h.Seen = append(h.Seen, p.seen...)
	h.Entries = slices.Grow(h.Entries, len(p.titles))
	for i := len(p.titles) - 1; i >= 0; i-- {
		h.Entries = append(h.Entries, p.titles[i].entry())
	}
	return true
}

func (t *title) entry() Entry {
	e := Entry{
		Title: t.id, Playable: t.playable, LastAt: t.lastAt, PlayedAt: t.playedAt,
		Watched:   t.kept > 0,
		Abandoned: t.plays > 0 && t.kept == 0,
		Disliked:  t.state&disliked != 0,
		Liked:     t.state&liked != 0,
		Listed:    t.state&listed != 0,
		Strength:  titleStrength(t),
	}
	if t.durationMS > 0 {
		e.Completed = min(1, float32(t.positionMS)/float32(t.durationMS))
	}
	return e
}
