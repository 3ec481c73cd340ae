package simulator

import (
	"time"

	ingestv1 "marquee/ingest/v1"
)

// start is how a play begins.
type start struct {
	title, episode int
	surface        string
	// slate, where it is set, had the title at the rank.
	slate *Slate
	rank  int
}

const (
	// heartbeat is how long a play must be to have a report from its middle.
	heartbeat = 5 * time.Minute
	// autoplays bounds the episodes that follow each other by themselves.
	autoplays = 3
	// goesOn is the affinity from which on a series that was broken off is gone on with another day.
	goesOn = -0.5
)

// play watches a film, or an episode and those that follow it by themselves as long as they are finished and wanted.
func (k *walk) play(s start) error {
	k.seen[s.title] = true
	t := &k.w.titles[s.title]
	like := affinity(&k.taste, t)
	logit := float64(like+k.w.viewers[k.v].patience) + k.r.NormFloat64()*whim
	for auto := 0; ; auto++ {
		part := fraction(k.r, logit)
		if err := k.watch(s, t, part, auto > 0); err != nil {
			return err
		}
		s.episode++
		if t.seasons == nil || s.episode == t.episodes() {
			break
		}
		if auto == autoplays || part < finished || k.r.Float64() > sigmoid(logit) {
			if like > goesOn {
				k.series = append(k.series, episode{s.title, s.episode})
			}
			break
		}
	}
	return k.judge(s.title, logit)
}

// watch is one play from start to end.
func (k *walk) watch(s start, t *title, part float64, auto bool) error {
	watched := int64(float64(t.runtime) * part)
	id, playable := k.id().String(), k.w.playable(s.title, s.episode)
	report := func(kind ingestv1.EventType, ms int64, then time.Duration) error {
		e := k.event(kind)
		if s.slate != nil {
			k.served(e, s.slate, s.rank)
		}
		e.TitleId, e.PlayableId, e.PlayId, e.Surface, e.Autoplay = k.w.ids[s.title], playable, id, s.surface, auto
		e.PositionMs, e.WatchedMs, e.DurationMs = ms, ms, t.runtime
		return k.send(e, then)
	}
	rest := time.Duration(watched) * time.Millisecond
	if half := rest / 2; half > heartbeat {
		if err := report(ingestv1.EventType_EVENT_TYPE_PLAY_START, 0, half); err != nil {
			return err
		}
		if err := report(ingestv1.EventType_EVENT_TYPE_PROGRESS, half.Milliseconds(), rest-half); err != nil {
			return err
		}
	} else if err := report(ingestv1.EventType_EVENT_TYPE_PLAY_START, 0, rest); err != nil {
		return err
	}
	return report(ingestv1.EventType_EVENT_TYPE_PLAY_END, watched, time.Duration(5+k.r.IntN(120))*time.Second)
}

// judge says now and then what the viewer thought of a title.
func (k *walk) judge(t int, logit float64) error {
	var kind ingestv1.EventType
	switch x := k.r.Float64(); {
	case logit > 2.5 && x < 0.15:
		kind = ingestv1.EventType_EVENT_TYPE_LIKE
	case logit < -2 && x < 0.1:
		kind = ingestv1.EventType_EVENT_TYPE_DISLIKE
	default:
		return nil
	}
	e := k.event(kind)
	e.TitleId, e.Surface = k.w.ids[t], "detail"
	return k.send(e, time.Second)
}
