// Package state holds what serving knows of every profile right now: its history as the watch-event log tells it, a few
// hundred bytes to a few tens of kilobytes a profile, and what is trending over all of them.
//
// The store starts from a HistoryLoader's picture up to some offset of every partition and follows the log from there.
// Applying an event twice changes nothing: a partition's watermark skips what was applied before, and an event that comes
// again at a new offset (a client's retry) merges by play_id and by time, as the feature SQL merges it. Order between
// profiles does not matter, nor does order within one, but for what memory no longer holds: plays older than the last
// 32 of a profile are added up and cannot be corrected any more.
package state

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	"marquee/serving/ids"
)

// Clock tells the instant that decay, trending, availability and "just now" are anchored to.
type Clock interface {
	Now() time.Time
}

// WallClock is the clock on the wall.
type WallClock struct{}

// Now returns the current time.
func (WallClock) Now() time.Time { return time.Now() }

// FixedClock always tells the same instant: for serving at the as_of of imported history.
type FixedClock time.Time

// Now returns the instant the clock is fixed at.
func (c FixedClock) Now() time.Time { return time.Time(c) }

// Config bounds what is kept.
type Config struct {
	// MaxTitles is how many titles a profile's history holds; the oldest go first, those with a like, dislike or list
	// entry last.
	MaxTitles int `koanf:"max_titles"`
	// MaxSeen is how many titles that fell out of the history are still remembered as seen, four bytes each.
	MaxSeen int `koanf:"max_seen"`
	// TrendingHalfLife is the age at which a play counts half towards trending.
	TrendingHalfLife time.Duration `koanf:"trending_half_life"`
	// TrendingTitles is how many titles the trending list holds.
	TrendingTitles int `koanf:"trending_titles"`
	// TrendingRefresh is how old the trending list may be when events have come in since.
	TrendingRefresh time.Duration `koanf:"trending_refresh"`
	// StaleAfter is how long the state may be behind the log before answers say so.
	StaleAfter time.Duration `koanf:"stale_after"`
	// LoadTimeout bounds loading history at start. When it runs out the log alone is read, from its beginning.
	LoadTimeout time.Duration `koanf:"load_timeout"`
}

// DefaultConfig keeps 500 titles a profile and lets a play count half after a week.
func DefaultConfig() Config {
	return Config{
		MaxTitles:        500,
		MaxSeen:          4096,
		TrendingHalfLife: 7 * 24 * time.Hour,
		TrendingTitles:   2000,
		TrendingRefresh:  time.Second,
		StaleAfter:       10 * time.Second,
		LoadTimeout:      10 * time.Minute,
	}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	count := func(field string, v, lo, hi int) {
		if v < lo || v > hi {
			errs = append(errs, fmt.Errorf("serving.state.%s must be between %d and %d, is %d", field, lo, hi, v))
		}
	}
	span := func(field string, v, lo, hi time.Duration) {
		if v < lo || v > hi {
			errs = append(errs, fmt.Errorf("serving.state.%s must be between %s and %s, is %s", field, lo, hi, v))
		}
	}
	count("max_titles", c.MaxTitles, 1, 100_000)
	count("max_seen", c.MaxSeen, 0, 1_000_000)
	count("trending_titles", c.TrendingTitles, 1, 1_000_000)
	span("trending_half_life", c.TrendingHalfLife, time.Minute, 10*365*24*time.Hour)
	span("trending_refresh", c.TrendingRefresh, 0, time.Hour)
	span("stale_after", c.StaleAfter, 100*time.Millisecond, 24*time.Hour)
	span("load_timeout", c.LoadTimeout, time.Second, 24*time.Hour)
	return errors.Join(errs...)
}

const shardCount = 256

// Store is the live state of every profile. Safe for concurrent use; events of one profile must come from one goroutine
// at a time, which the log's partitions see to.
type Store struct {
	cfg      Config
	ids      *ids.Table
	seed     maphash.Seed
	shards   [shardCount]shard
	trending *trending
}

type shard struct {
	mu       sync.RWMutex
	profiles map[string]*profile
}

// New makes an empty store that numbers titles by the table given.
func New(cfg Config, table *ids.Table, clock Clock) *Store {
	s := &Store{cfg: cfg, ids: table, seed: maphash.MakeSeed(), trending: newTrending(cfg, clock)}
	for i := range s.shards {
		s.shards[i].profiles = make(map[string]*profile)
	}
	return s
}

func (s *Store) shard(profileID string) *shard {
	return &s.shards[maphash.String(s.seed, profileID)%shardCount]
}

// Apply takes one event into the state. Events that say nothing of a title (searches, slates seen) change nothing.
func (s *Store) Apply(e Event) {
	if !e.concernsTitle() {
		return
	}
	title := s.ids.Number(e.TitleID)
	if title == ids.None {
		return
	}
	playable := title
	if e.PlayableID != "" && e.PlayableID != e.TitleID {
		playable = s.ids.Number(e.PlayableID)
	}
	sh := s.shard(e.ProfileID)
	sh.mu.Lock()
	p := sh.profiles[e.ProfileID]
	if p == nil {
		p = &profile{}
		sh.profiles[string(append([]byte(nil), e.ProfileID...))] = p
	}
	before, after := p.apply(&e, title, playable)
	p.bound(s.cfg)
	sh.mu.Unlock()
	s.trending.move(title, before, after)
}

// Forget drops everything known of a profile and reports whether there was anything.
func (s *Store) Forget(profileID string) bool {
	sh := s.shard(profileID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, ok := sh.profiles[profileID]
	delete(sh.profiles, profileID)
	return ok
}

// ForgetAll drops everything known of the profiles the function names, and returns how many there were.
func (s *Store) ForgetAll(named func(profileID string) bool) int {
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		// Naming may be slow, and requests wait for the lock of their shard: the names first.
		sh.mu.RLock()
		ids := slices.Collect(maps.Keys(sh.profiles))
		sh.mu.RUnlock()
		for _, id := range ids {
			if named(id) && s.Forget(id) {
				n++
			}
		}
	}
	return n
}

// clear forgets everything.
func (s *Store) clear() {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		sh.profiles = make(map[string]*profile)
		sh.mu.Unlock()
	}
	s.trending.clear()
}

// Profiles returns how many profiles are held.
func (s *Store) Profiles() int {
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		n += len(sh.profiles)
		sh.mu.RUnlock()
	}
	return n
}

// Trending returns what is trending, best first. The list is shared and must not be changed.
func (s *Store) Trending() *Trend { return s.trending.top() }
