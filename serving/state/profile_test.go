package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	ingestv1 "marquee/ingest/v1"
	"marquee/serving/ids"
)

const (
	minute = 60_000                       // ms
	start  = int64(1_700_000_000_000_000) // µs
	day    = int64(24 * time.Hour / 1000) // µs
	film   = 100 * minute                 // ms
)

func newStore(t *testing.T, cfg Config) (*Store, *ids.Table) {
	t.Helper()
	table := ids.New(1 << 20)
	return New(cfg, table, FixedClock(time.UnixMicro(start+100*day))), table
}

func watch(profile, title, playID string, at int64, watched int64) Event {
	return Event{ProfileID: profile, TitleID: title, PlayID: playID, Type: ingestv1.EventType_EVENT_TYPE_PROGRESS, At: at,
		PositionMS: watched, WatchedMS: watched, DurationMS: film}
}

func say(profile, title string, typ ingestv1.EventType, at int64) Event {
	return Event{ProfileID: profile, TitleID: title, Type: typ, At: at}
}

// read returns the profile's history by title id, latest first and then by title.
func read(t *testing.T, s *Store, table *ids.Table, profile string) []string {
	t.Helper()
	var h History
	if !s.Read(profile, &h) {
		t.Fatalf("profile %s is not known", profile)
	}
	slices.SortStableFunc(h.Entries, func(a, b Entry) int {
		if a.LastAt != b.LastAt {
			return int(b.LastAt - a.LastAt)
		}
		return int(a.Title) - int(b.Title)
	})
	var out []string
	for _, e := range h.Entries {
		out = append(out, fmt.Sprintf("%s %.4f", table.Name(e.Title), e.Strength)+flags(&e))
	}
	return out
}

func flags(e *Entry) string {
	var s string
	for _, f := range []struct {
		on   bool
		name string
	}{{e.Watched, "watched"}, {e.Abandoned, "abandoned"}, {e.InProgress(), "in-progress"}, {e.Disliked, "disliked"}, {e.Liked, "liked"}, {e.Listed, "listed"}} {
		if f.on {
			s += " " + f.name
		}
	}
	return s
}

func TestHistoryOfOneTitle(t *testing.T) {
	const (
		click      = ingestv1.EventType_EVENT_TYPE_CLICK
		like       = ingestv1.EventType_EVENT_TYPE_LIKE
		dislike    = ingestv1.EventType_EVENT_TYPE_DISLIKE
		notFor     = ingestv1.EventType_EVENT_TYPE_NOT_INTERESTED
		listAdd    = ingestv1.EventType_EVENT_TYPE_LIST_ADD
		listRemove = ingestv1.EventType_EVENT_TYPE_LIST_REMOVE
	)
	tests := []struct {
		name   string
		events []Event
		want   string
	}{
		{"watched to the end", []Event{watch("p", "a", "1", start, film)}, "a 1.0000 watched"},
		{"half of a film", []Event{watch("p", "a", "1", start, film/2)}, "a 0.7500 watched in-progress"},
		{"heartbeats count once", []Event{
			watch("p", "a", "1", start, 10*minute), watch("p", "a", "1", start+1, 30*minute), watch("p", "a", "1", start+2, 50*minute),
		}, "a 0.7500 watched in-progress"},
		{"heartbeats out of order", []Event{
			watch("p", "a", "1", start+2, 50*minute), watch("p", "a", "1", start, 10*minute),
		}, "a 0.7500 watched in-progress"},
		{"two plays add up", []Event{watch("p", "a", "1", start, film), watch("p", "a", "2", start+1, film)}, "a 2.0000 watched"},
		{"abandoned", []Event{watch("p", "a", "1", start, 2*minute)}, "a 0.0000 abandoned"},
		{"abandoned, then watched", []Event{watch("p", "a", "1", start, minute), watch("p", "a", "2", start+1, film)}, "a 1.0000 watched"},
		{"clicked", []Event{say("p", "a", click, start)}, "a 0.0500"},
		{"liked and watched", []Event{watch("p", "a", "1", start, film), say("p", "a", like, start+1)}, "a 2.0000 watched liked"},
		{"disliked", []Event{watch("p", "a", "1", start, film), say("p", "a", dislike, start+1)}, "a 0.0000 watched disliked"},
		{"liked after a dislike", []Event{say("p", "a", like, start+2), say("p", "a", dislike, start+1)}, "a 1.0000 liked"},
		{"not interested", []Event{say("p", "a", notFor, start+2)}, "a 0.0000 disliked"},
		{"listed", []Event{say("p", "a", listAdd, start+2)}, "a 0.2000 listed"},
		{"listed and taken off", []Event{say("p", "a", listRemove, start+3), say("p", "a", listAdd, start+2)}, "a 0.0000"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s, table := newStore(t, DefaultConfig())
			for range 2 { // everything twice: a replay changes nothing
				for _, e := range tc.events {
					s.Apply(e)
				}
			}
			if got := read(t, s, table, "p"); !slices.Equal(got, []string{tc.want}) {
				t.Errorf("history %q, want %q", got, tc.want)
			}
		})
	}
}

// TestOrderDoesNotMatter applies random events in random orders, some of them more than once, and wants one state.
func TestOrderDoesNotMatter(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var events []Event
		for i := range 40 {
			title := fmt.Sprint("t", rng.IntN(8))
			e := watch("p", title, fmt.Sprint(title, "-", rng.IntN(3)), start+int64(i), int64(rng.IntN(film)))
			if rng.IntN(3) == 0 {
				e = say("p", title, ingestv1.EventType(rng.IntN(6)+4), start+int64(rng.IntN(5)))
			}
			e.Order = [2]uint64{rng.Uint64(), rng.Uint64()}
			events = append(events, e)
		}
		var want []string
		for round := range 3 {
			s, table := newStore(t, DefaultConfig())
			for i := range 8 {
				table.Number(fmt.Sprint("t", i))
			}
			for _, e := range events {
				s.Apply(e)
				if rng.IntN(2) == 0 {
					s.Apply(events[rng.IntN(len(events))])
				}
			}
			got := read(t, s, table, "p")
			if round == 0 {
				want = got
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("another order gave another history:\n%s", diff)
			}
			rng.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		}
	}
}

func TestMemoryOfAProfileIsBounded(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxTitles, cfg.MaxSeen = 10, 5
	s, table := newStore(t, cfg)
	s.Apply(say("p", "hated", ingestv1.EventType_EVENT_TYPE_DISLIKE, start))
	for i := range 100 {
		s.Apply(watch("p", fmt.Sprint("t", i), fmt.Sprint(i), start+int64(i), film))
	}
	var h History
	s.Read("p", &h)
	if len(h.Entries) != 10 || len(h.Seen) != 5 {
		t.Fatalf("%d titles and %d seen, want 10 and 5", len(h.Entries), len(h.Seen))
	}
	if oldest := h.Entries[9]; table.Name(oldest.Title) != "hated" || !oldest.Disliked {
		t.Errorf("the oldest is %s: the dislike was forgotten", table.Name(oldest.Title))
	}
	if got := table.Name(h.Seen[4]); got != "t90" {
		t.Errorf("the latest seen title beyond the history is %s, want t90", got)
	}
	if n := len(s.shard("p").profiles["p"].plays); n != openPlays {
		t.Errorf("%d open plays, want %d", n, openPlays)
	}
}

func TestSeriesKnowsWhatWasPlayedLast(t *testing.T) {
	s, table := newStore(t, DefaultConfig())
	for i, episode := range []string{"e1", "e2"} {
		e := watch("p", "series", fmt.Sprint(i), start+int64(i), 10*minute)
		e.PlayableID, e.DurationMS = episode, 20*minute
		s.Apply(e)
	}
	var h History
	s.Read("p", &h)
	if len(h.Entries) != 1 || table.Name(h.Entries[0].Playable) != "e2" || h.Entries[0].Completed != .5 {
		t.Errorf("history %+v", h.Entries)
	}
}

func TestForget(t *testing.T) {
	s, _ := newStore(t, DefaultConfig())
	s.Apply(watch("p", "a", "1", start, film))
	if !s.Forget("p") || s.Forget("p") || s.Read("p", &History{}) || s.Profiles() != 0 {
		t.Error("the profile is still known")
	}
}

func TestSearchesAndSlatesSayNothingOfATitle(t *testing.T) {
	s, _ := newStore(t, DefaultConfig())
	s.Apply(Event{ProfileID: "p", Type: ingestv1.EventType_EVENT_TYPE_SEARCH, At: start})
	s.Apply(Event{ProfileID: "p", TitleID: "a", Type: ingestv1.EventType_EVENT_TYPE_SLATE_SEEN, At: start})
	if s.Profiles() != 0 {
		t.Error("a search made a history")
	}
}

func BenchmarkApply(b *testing.B) {
	s := New(DefaultConfig(), ids.New(1<<20), WallClock{})
	events := make([]Event, 10_000)
	for i := range events {
		events[i] = watch(fmt.Sprint("p", i%100), fmt.Sprint("t", i%997), fmt.Sprint(i/4), start+int64(i), int64(i%100)*minute)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Apply(events[i%len(events)])
	}
}

func BenchmarkRead(b *testing.B) {
	s := New(DefaultConfig(), ids.New(1<<20), WallClock{})
	for i := range 500 {
		s.Apply(watch("p", fmt.Sprint("t", i), fmt.Sprint(i), start+int64(i), film))
	}
	var h History
	b.ReportAllocs()
	for b.Loop() {
		s.Read("p", &h)
	}
}
