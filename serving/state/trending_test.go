package state

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"marquee/serving/ids"
)

func trendOf(s *Store, table *ids.Table) string {
	s.trending.rebuild()
	var out string
	list := s.Trending()
	for i, id := range list.Titles {
		out += fmt.Sprintf("%s=%.3f ", table.Name(id), list.Scores[i])
	}
	return out
}

func TestTrendingDecays(t *testing.T) {
	s, table := newStore(t, DefaultConfig())
	now := start + 100*day
	s.Apply(watch("p1", "new", "1", now, film))
	s.Apply(watch("p1", "week", "2", now-7*day, film))
	s.Apply(watch("p2", "week", "3", now-7*day, film))
	s.Apply(watch("p2", "fortnight", "4", now-14*day, film))
	s.Apply(watch("p2", "old", "5", now-80*day, film)) // under a tenth of a watch: not trending
	if got, want := trendOf(s, table), "new=1.000 week=1.000 fortnight=0.250 "; got != want {
		t.Errorf("trending %q, want %q", got, want)
	}
}

func TestTrendingCountsAPlayOnce(t *testing.T) {
	s, table := newStore(t, DefaultConfig())
	now := start + 100*day
	s.Apply(watch("p", "a", "1", now, film))
	for range 3 {
		for w := int64(minute); w <= film; w += minute {
			s.Apply(watch("p", "b", "2", now, w))
		}
	}
	if got, want := trendOf(s, table), "a=1.000 b=1.000 "; got != want {
		t.Errorf("trending %q, want %q", got, want)
	}
}

func TestTrendingTakesTheFutureForNow(t *testing.T) {
	s, table := newStore(t, DefaultConfig())
	now := start + 100*day
	s.Apply(watch("p", "a", "1", now+1000*day, film))
	s.Apply(watch("p", "b", "2", now, film))
	if got, want := trendOf(s, table), "a=1.000 b=1.000 "; got != want {
		t.Errorf("trending %q, want %q", got, want)
	}
}

func TestWatchedNeverDecaysAndCountsAPlayOnce(t *testing.T) {
	s, table := newStore(t, DefaultConfig())
	now := start + 100*day
	s.Apply(watch("p1", "new", "1", now, film))
	s.Apply(watch("p1", "old", "2", now-90*day, film/2))
	s.Apply(watch("p1", "old", "2", now-90*day, film))
	s.Apply(watch("p2", "old", "3", now-90*day, film))
	s.trending.rebuild()
	list := s.Trending()
	if len(list.Watched) != 2 || table.Name(list.Watched[0]) != "old" || list.WatchedScores[1] != 0.5 {
		t.Errorf("watched %v with %v, want old and, half as much, new", list.Watched, list.WatchedScores)
	}
}

// movingClock is a clock that a test sets.
type movingClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *movingClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *movingClock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

func TestTrendingOutlivesItsAnchor(t *testing.T) {
	cfg := DefaultConfig()
	cfg.TrendingHalfLife = time.Minute
	clock := &movingClock{now: time.UnixMicro(start)}
	table := ids.New(1000)
	s := New(cfg, table, clock)
	for i := range 3000 {
		at := start + int64(i)*60_000_000
		clock.set(time.UnixMicro(at))
		s.Apply(watch("p", "steady", fmt.Sprint(i), at, film))
	}
	s.Apply(watch("q", "once", "x", start+2999*60_000_000, film))
	for _, w := range s.trending.weight {
		if math.IsInf(w, 0) || math.IsNaN(w) {
			t.Fatalf("weights %v", s.trending.weight)
		}
	}
	// One play a half-life, for ever, adds up to two plays now.
	if got, want := trendOf(s, table), "steady=1.000 once=0.500 "; got != want {
		t.Errorf("trending %q, want %q", got, want)
	}
}
