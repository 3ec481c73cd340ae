package simulator

import (
	"encoding/binary"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"

	ingestv1 "marquee/ingest/v1"
)

// Looks are how many titles a viewer happens to see before choosing one, the first noticed most.
const looks = 24

// examination is the chance that a viewer notices the title at a position, the known position bias of this world.
func examination(position int) float64 { return 1 / math.Pow(float64(position+1), 0.5) }

// History yields viewer v's watch events in the order they happened: what the viewer would do in a service that shows
// titles by exposure alone. It is the same at every call.
func (w *World) History(v int) iter.Seq[*ingestv1.WatchEvent] {
	return func(yield func(*ingestv1.WatchEvent) bool) {
		r := w.rng(streamHistory, v)
		s := session{w: w, v: v, r: r, seen: map[int]bool{}, yield: yield}
		for _, at := range w.sessionTimes(r, v) {
			if !s.run(at) {
				return
			}
		}
	}
}

// sessionTimes are the starts of v's sessions, ascending: days at random, hours around the viewer's habit.
func (w *World) sessionTimes(r *rand.Rand, v int) []time.Time {
	span := w.cfg.End.Sub(w.cfg.Start)
	times := make([]time.Time, 0, w.viewers[v].sessions)
	for range w.viewers[v].sessions {
		at := w.cfg.Start.Add(time.Duration(r.Float64() * float64(span)))
		midnight := at.Truncate(24 * time.Hour)
		hour := w.viewers[v].hour + r.NormFloat64()*1.5
		if habit := midnight.Add(time.Duration(hour * float64(time.Hour))); habit.After(w.cfg.Start) && habit.Before(w.cfg.End) {
			at = habit
		}
		times = append(times, at)
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// session is a viewer at work.
type session struct {
	w     *World
	v     int
	r     *rand.Rand
	seen  map[int]bool
	busy  time.Time // until when the last play lasted
	plays int
	yield func(*ingestv1.WatchEvent) bool
}

// run makes one session that begins at or after at; it returns false when the consumer has had enough.
func (s *session) run(at time.Time) bool {
	if at.Before(s.busy) {
		at = s.busy.Add(time.Minute)
	}
	id := s.id(at).String()
	for range 1 + s.r.IntN(3) {
		t, ok := s.choose()
		if !ok || at.After(s.w.cfg.End) {
			return true
		}
		var more bool
		if at, more = s.play(id, t, at); !more {
			return false
		}
		at = at.Add(time.Duration(1+s.r.IntN(5)) * time.Minute)
	}
	return true
}

// choose looks at titles drawn by exposure and takes one by the logit of liking it, noticed with the position's chance.
func (s *session) choose() (int, bool) {
	best, bestScore := -1, math.Inf(-1)
	viewer := &s.w.viewers[s.v]
	for position := range looks {
		x := s.r.Float64()
		t, _ := slices.BinarySearch(s.w.exposure, x)
		t = min(t, len(s.w.titles)-1)
		if s.r.Float64() > examination(position) || s.seen[t] {
			continue
		}
		// Gumbel noise makes the maximum a draw from the softmax of the affinities.
		gumbel := -math.Log(-math.Log(1 - s.r.Float64()))
		if score := float64(s.w.affinity(viewer, &s.w.titles[t])) + gumbel; score > bestScore {
			best, bestScore = t, score
		}
	}
	return best, best >= 0
}

// play watches title t from at on and returns when it ended.
func (s *session) play(sessionID string, t int, at time.Time) (time.Time, bool) {
	s.seen[t] = true
	s.plays++
	viewer, title := &s.w.viewers[s.v], &s.w.titles[t]
	logit := float64(s.w.affinity(viewer, title)+viewer.patience) + s.r.NormFloat64()*0.7
	watched := int64(float64(title.runtime) * s.fraction(logit))
	end := at.Add(time.Duration(watched) * time.Millisecond)
	play := s.id(at).String()
	base := func(kind ingestv1.EventType, when time.Time, watchedMS int64) *ingestv1.WatchEvent {
		return &ingestv1.WatchEvent{
			EventId: s.id(when).String(), SchemaVersion: 1, ProfileId: ProfileID(s.v), TitleId: TitleID(t), PlayableId: TitleID(t),
			PlayId: play, Type: kind, OccurredAt: when.UnixMicro(), SessionId: sessionID,
			DeviceClass: ingestv1.DeviceClass_DEVICE_CLASS_TV, Country: viewer.country, Surface: "home",
			PositionMs: watchedMS, WatchedMs: watchedMS, DurationMs: title.runtime,
		}
	}
	events := []*ingestv1.WatchEvent{base(ingestv1.EventType_EVENT_TYPE_PLAY_START, at, 0)}
	if half := watched / 2; half > 5*time.Minute.Milliseconds() {
		events = append(events, base(ingestv1.EventType_EVENT_TYPE_PROGRESS, at.Add(time.Duration(half)*time.Millisecond), half))
	}
	events = append(events, base(ingestv1.EventType_EVENT_TYPE_PLAY_END, end, watched))
	if x := s.r.Float64(); logit > 2.5 && x < 0.15 {
		events = append(events, base(ingestv1.EventType_EVENT_TYPE_LIKE, end.Add(time.Second), 0))
	} else if logit < -2 && x < 0.1 {
		events = append(events, base(ingestv1.EventType_EVENT_TYPE_DISLIKE, end.Add(time.Second), 0))
	}
	for _, e := range events {
		if e.Type == ingestv1.EventType_EVENT_TYPE_LIKE || e.Type == ingestv1.EventType_EVENT_TYPE_DISLIKE {
			e.PlayId, e.PositionMs = "", 0
		}
		if !s.yield(e) {
			return end, false
		}
	}
	s.busy = end
	return end, true
}

// fraction is how much of the title is watched: all of it with the logit's chance, else a part that grows with it.
func (s *session) fraction(logit float64) float64 {
	p := 1 / (1 + math.Exp(-logit))
	if s.r.Float64() < p {
		return 0.9 + 0.1*s.r.Float64()
	}
	return math.Min(0.9, s.r.Float64()*(0.1+p))
}

// id is a UUIDv7 of the simulated moment, from the viewer's own stream of randomness.
func (s *session) id(at time.Time) uuid.UUID {
	var u uuid.UUID
	binary.BigEndian.PutUint64(u[:8], uint64(at.UnixMilli())<<16|s.r.Uint64()&0x0fff|0x7000)
	binary.BigEndian.PutUint64(u[8:], s.r.Uint64()&^(3<<62)|1<<63)
	return u
}
