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

// Watcher is told what a viewer does, in the order it happens. An error ends the walk.
type Watcher struct {
	// Event is required. The event is the callee's to keep.
	Event func(*ingestv1.WatchEvent) error
	// Slate, where set, is told each slate once the viewer has reacted to it, before the plays that come of it. It is the callee's to keep.
	Slate func(*Slate) error
}

// stopped ends a walk whose consumer has had enough.
type stopped struct{}

func (stopped) Error() string { return "stopped" }

// History yields viewer v's watch events in the order they happened: what the viewer would do in a service that shows
// titles by exposure alone. It is the same at every call.
func (w *World) History(v int) iter.Seq[*ingestv1.WatchEvent] {
	return func(yield func(*ingestv1.WatchEvent) bool) {
		// Only the consumer's having had enough ends it early: this policy has no errors.
		_ = w.Walk(v, w.ByExposure(), Watcher{Event: func(e *ingestv1.WatchEvent) error {
			if !yield(e) {
				return stopped{}
			}
			return nil
		}})
	}
}

// Walk lets viewer v live through all sessions under a policy. What happens depends on the world, the viewer and what the
// policy shows, and on nothing else. Errors are the policy's and the watcher's.
func (w *World) Walk(v int, p Policy, to Watcher) error {
	r := w.rng(streamHistory, v)
	k := &walk{w: w, v: v, profileID: ProfileID(v), r: r, policy: p, to: to, seen: map[int]bool{}, at: w.cfg.Start, home: &w.households[w.viewers[v].household]}
	for _, at := range w.sessionTimes(r, v) {
		if at.After(k.at) {
			k.at = at
		}
		if k.at.After(w.cfg.End) {
			return nil
		}
		if err := k.session(); err != nil {
			return err
		}
		k.at = k.at.Add(10 * time.Minute)
	}
	return nil
}

// sessionTimes are the starts of v's sessions, ascending: days at random, hours around the home's habit.
func (w *World) sessionTimes(r *rand.Rand, v int) []time.Time {
	span := w.cfg.End.Sub(w.cfg.Start)
	times := make([]time.Time, 0, w.viewers[v].sessions)
	usual := w.households[w.viewers[v].household].hour
	for range w.viewers[v].sessions {
		at := w.cfg.Start.Add(time.Duration(r.Float64() * float64(span)))
		hour := usual + r.NormFloat64()*1.5
		if habit := at.Truncate(24 * time.Hour).Add(time.Duration(hour * float64(time.Hour))); habit.After(w.cfg.Start) && habit.Before(w.cfg.End) {
			at = habit
		}
		times = append(times, at)
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// walk is a viewer at work.
type walk struct {
	w      *World
	v      int
	home   *household
	r      *rand.Rand
	policy Policy
	to     Watcher
	at     time.Time
	// seen are the titles begun; series are those that may be gone on with, at their next episode.
	seen   map[int]bool
	series []episode

	profileID string
	sessionID string
	device    ingestv1.DeviceClass
	taste     vector
}

type episode struct{ title, next int }

const (
	// continues and searches are the chances that a session begins with an episode of a series begun, or with a search.
	continues = 0.35
	searches  = 0.05
	// patienceSlates is how many slates are looked at until one has something to click.
	patienceSlates = 2
)

// session is one sitting in front of the app.
func (k *walk) session() error {
	k.sessionID = k.id().String()
	k.device = k.home.device(k.r, k.at.UTC().Hour())
	k.taste = k.w.taste(&k.w.viewers[k.v], k.at)
	switch x := k.r.Float64(); {
	case x < continues && len(k.series) > 0:
		return k.goOn()
	case x < continues+searches:
		return k.search()
	}
	for range patienceSlates {
		clicked, err := k.slate()
		if err != nil || clicked {
			return err
		}
	}
	return nil
}

// goOn plays the next episode of the series begun last.
func (k *walk) goOn() error {
	last := len(k.series) - 1
	e := k.series[last]
	k.series = k.series[:last]
	return k.play(start{title: e.title, episode: e.next, surface: "continue_watching"})
}

// searched is how many titles a viewer has in mind.
const searched = 32

// search looks for a title by name that the viewer knows of and likes best.
func (k *walk) search() error {
	best, most := -1, float32(math.Inf(-1))
	for range searched {
		t := k.r.IntN(len(k.w.titles))
		if a := affinity(&k.taste, &k.w.titles[t]); a > most && !k.seen[t] {
			best, most = t, a
		}
	}
	if best < 0 {
		return nil
	}
	e := k.event(ingestv1.EventType_EVENT_TYPE_SEARCH)
	e.Query, e.Surface = k.w.public[best].GetName(), "search"
	if err := k.send(e, time.Duration(3+k.r.IntN(10))*time.Second); err != nil {
		return err
	}
	return k.play(start{title: best, surface: "search"})
}

// slate looks at one, clicks by the position-based model and plays the first titles clicked.
func (k *walk) slate() (clicked bool, err error) {
	s := &Slate{RequestID: k.id().String(), Viewer: k.v, At: k.at}
	if err := k.policy.Slate(k.r, k.seen, s); err != nil || len(s.Titles) == 0 {
		return false, err
	}
	shown := k.event(ingestv1.EventType_EVENT_TYPE_SLATE_SEEN)
	shown.Surface, shown.RequestId, shown.Row = "home", s.RequestID, new(uint32(0))
	s.Examined, s.Clicked = make([]bool, len(s.Titles)), make([]bool, len(s.Titles))
	for rank, t := range s.Titles {
		shown.SeenTitleIds = append(shown.SeenTitleIds, k.w.ids[t])
		// Both draws are taken whatever they give, so that what a viewer does later hangs less on what was shown.
		s.Examined[rank] = k.r.Float64() < Examination(rank)
		wanted := k.r.Float64() < attraction(affinity(&k.taste, &k.w.titles[t]))
		s.Clicked[rank] = s.Examined[rank] && wanted
	}
	if err := k.send(shown, time.Duration(5+k.r.IntN(20))*time.Second); err != nil {
		return false, err
	}
	if k.to.Slate != nil {
		if err := k.to.Slate(s); err != nil {
			return false, err
		}
	}
	return k.react(s)
}

func (k *walk) react(s *Slate) (clicked bool, err error) {
	for rank := range s.Titles {
		if !s.Clicked[rank] {
			continue
		}
		clicked = true
		e := k.event(ingestv1.EventType_EVENT_TYPE_CLICK)
		k.served(e, s, rank)
		if err := k.send(e, time.Duration(2+k.r.IntN(20))*time.Second); err != nil {
			return true, err
		}
	}
	plays := 0
	for rank, t := range s.Titles {
		if !s.Clicked[rank] || plays == playsPerSlate {
			continue
		}
		plays++
		if err := k.play(start{title: t, surface: "home", slate: s, rank: rank}); err != nil {
			return true, err
		}
	}
	return clicked, nil
}

// served says which answer an event came of.
func (k *walk) served(e *ingestv1.WatchEvent, s *Slate, rank int) {
	e.TitleId, e.Surface, e.RequestId, e.Row, e.Rank = k.w.ids[s.Titles[rank]], "home", s.RequestID, new(uint32(0)), new(uint32(rank))
}

// event begins an event of the session.
func (k *walk) event(kind ingestv1.EventType) *ingestv1.WatchEvent {
	return &ingestv1.WatchEvent{
		EventId: k.id().String(), SchemaVersion: 1, ProfileId: k.profileID, Type: kind, OccurredAt: k.at.UnixMicro(), SessionId: k.sessionID,
		DeviceClass: k.device, Country: k.home.country,
	}
}

// send hands an event on, after which some time goes by.
func (k *walk) send(e *ingestv1.WatchEvent, then time.Duration) error {
	k.at = k.at.Add(then)
	return k.to.Event(e)
}

// id is a UUIDv7 of the simulated moment, from the viewer's own stream of randomness.
func (k *walk) id() uuid.UUID {
	var u uuid.UUID
	binary.BigEndian.PutUint64(u[:8], uint64(k.at.UnixMilli())<<16|k.r.Uint64()&0x0fff|0x7000)
	binary.BigEndian.PutUint64(u[8:], k.r.Uint64()&^(3<<62)|1<<63)
	return u
}
