package changes

import (
	"context"
	"encoding/binary"
	"iter"
	"sync"

	catalogv1 "marquee/catalog/v1"
)

// Title is what a reader needs of a title at request time: no description, no people. It is immutable, and its lists
// are shared between titles that have the same.
type Title struct {
	ID       string
	Name     string
	Language string
	Kind     catalogv1.TitleKind
	// Year of release; 0 when unknown.
	Year int32
	// MaturityAge is the least age in years, or Unrated.
	MaturityAge int32
	// AddedAt is in microseconds since the Unix epoch; 0 when unknown.
	AddedAt int64
	// RuntimeMS is a film's length, of a series an episode's usual one; 0 when unknown.
	RuntimeMS    int64
	Genres       []string
	Availability []Window
	// Episodes of a series, in the catalogue's order. A film has none: it is played by its own id.
	Episodes []Episode
	Revision int64

	deleted bool
}

// Unrated is the MaturityAge of a title that nobody has rated.
const Unrated = -1

// Window says where and when a title may be watched. Countries is empty for everywhere; From and Until are in
// microseconds since the Unix epoch, 0 for no bound, Until exclusive.
type Window struct {
	Countries   []string
	From, Until int64
}

// Episode is one part of a series.
type Episode struct {
	PlayableID     string
	Season, Number uint32
	RuntimeMS      int64
}

// AvailableIn reports whether the title may be watched in a country (ISO 3166-1 alpha-2, "" when unknown) at a moment
// in microseconds since the Unix epoch. An unknown country is in no list of countries.
func (t *Title) AvailableIn(country string, at int64) bool {
	for i := range t.Availability {
		if t.Availability[i].holds(country, at) {
			return true
		}
	}
	return false
}

func (w *Window) holds(country string, at int64) bool {
	if at < w.From || w.Until != 0 && at >= w.Until {
		return false
	}
	if len(w.Countries) == 0 {
		return true
	}
	for _, c := range w.Countries {
		if c == country {
			return true
		}
	}
	return false
}

// FitFor reports whether the title may be shown where the limit is an age in years. An unrated title fits no limit.
func (t *Title) FitFor(age int32) bool {
	return t.MaturityAge != Unrated && t.MaturityAge <= age
}

// Titles is the catalogue in memory, kept current by a Follower whose handler is Apply. Safe for concurrent use.
type Titles struct {
	mu       sync.RWMutex
	titles   map[string]*Title
	episodes map[string]*Title
	live     int
	revision int64
	shared   sharing
}

// NewTitles makes an empty catalogue.
func NewTitles() *Titles {
	return &Titles{
		titles:   make(map[string]*Title),
		episodes: make(map[string]*Title),
		shared: sharing{
			strings: make(map[string]string),
			lists:   make(map[string][]string),
			windows: make(map[string][]Window),
		},
	}
}

// Apply is a Handler: it takes over the changes whose revision is higher than what it has. It never fails.
func (c *Titles) Apply(_ context.Context, batch []*catalogv1.Title) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range batch {
		c.apply(t)
	}
	return nil
}

func (c *Titles) apply(change *catalogv1.Title) {
	id := change.GetTitleId()
	old := c.titles[id]
	if old != nil && old.Revision >= change.GetRevision() {
		return
	}
	if old != nil {
		id = old.ID
		for _, e := range old.Episodes {
			// Another title may have the episode by now.
			if c.episodes[e.PlayableID] == old {
				delete(c.episodes, e.PlayableID)
			}
		}
		if !old.deleted {
			c.live--
		}
	}
	t := c.compact(id, change)
	c.titles[id] = t
	for _, e := range t.Episodes {
		c.episodes[e.PlayableID] = t
	}
	if !t.deleted {
		c.live++
	}
	c.revision = max(c.revision, t.Revision)
}

// compact keeps of a change what Title has. A withdrawn title is only its revision, which keeps older changes away.
func (c *Titles) compact(id string, change *catalogv1.Title) *Title {
	if change.GetDeleted() {
		return &Title{ID: id, Revision: change.GetRevision(), MaturityAge: Unrated, deleted: true}
	}
	t := &Title{
		ID:           id,
		Name:         change.GetName(),
		Language:     c.shared.string(change.GetLanguage()),
		Kind:         change.GetKind(),
		Year:         change.GetYear(),
		MaturityAge:  Unrated,
		AddedAt:      change.GetAddedAt(),
		RuntimeMS:    change.GetRuntimeMs(),
		Genres:       c.shared.list(change.GetGenres()),
		Availability: c.shared.availability(change.GetAvailability()),
		Revision:     change.GetRevision(),
	}
	if change.MaturityAge != nil {
		// An age beyond what the contract allows fits nobody, rather than wrapping around.
		t.MaturityAge = int32(min(change.GetMaturityAge(), 1<<20))
	}
	for _, s := range change.GetSeasons() {
		for _, e := range s.GetEpisodes() {
			t.Episodes = append(t.Episodes, Episode{PlayableID: e.GetPlayableId(), Season: s.GetNumber(), Number: e.GetNumber(), RuntimeMS: e.GetRuntimeMs()})
		}
	}
	return t
}

// Get returns a title, and false when there is none of this id or it was withdrawn.
func (c *Titles) Get(titleID string) (*Title, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	t := c.titles[titleID]
	if t == nil || t.deleted {
		return nil, false
	}
	return t, true
}

// TitleOf returns the title that a playable belongs to: a film's own, or the series of an episode.
func (c *Titles) TitleOf(playableID string) (*Title, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if t := c.episodes[playableID]; t != nil {
		return t, true
	}
	t := c.titles[playableID]
	if t == nil || t.deleted || t.Kind != catalogv1.TitleKind_TITLE_KIND_FILM {
		return nil, false
	}
	return t, true
}

// All returns the titles as of the call, in no order. The loop may take its time and call other methods.
func (c *Titles) All() iter.Seq[*Title] {
	c.mu.RLock()
	all := make([]*Title, 0, c.live)
	for _, t := range c.titles {
		if !t.deleted {
			all = append(all, t)
		}
	}
	c.mu.RUnlock()
	return func(yield func(*Title) bool) {
		for _, t := range all {
			if !yield(t) {
				return
			}
		}
	}
}

// Len is the number of titles, without the withdrawn.
func (c *Titles) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.live
}

// Revision is the highest one applied; it grows with every change of the catalogue. 0 before the first.
func (c *Titles) Revision() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.revision
}

// sharingLimit bounds what is remembered for sharing. A catalogue whose windows all differ would otherwise grow the
// process with every change; past it, sharing begins anew.
const sharingLimit = 1 << 16

// sharing keeps one copy of what most titles have in common: a catalogue has a few dozen genres and windows.
type sharing struct {
	strings map[string]string
	lists   map[string][]string
	windows map[string][]Window
}

func (s *sharing) string(v string) string {
	if one, ok := s.strings[v]; ok {
		return one
	}
	remember(s.strings, v, v)
	return v
}

func (s *sharing) list(vs []string) []string {
	if len(vs) == 0 {
		return nil
	}
	key := string(appendList(nil, vs))
	if one, ok := s.lists[key]; ok {
		return one
	}
	one := make([]string, len(vs))
	for i, v := range vs {
		one[i] = s.string(v)
	}
	remember(s.lists, key, one)
	return one
}

func (s *sharing) availability(ws []*catalogv1.Window) []Window {
	if len(ws) == 0 {
		return nil
	}
	var key []byte
	for _, w := range ws {
		key = binary.AppendVarint(key, w.GetFrom())
		key = binary.AppendVarint(key, w.GetUntil())
		key = appendList(key, w.GetCountries())
	}
	if one, ok := s.windows[string(key)]; ok {
		return one
	}
	one := make([]Window, len(ws))
	for i, w := range ws {
		one[i] = Window{Countries: s.list(w.GetCountries()), From: w.GetFrom(), Until: w.GetUntil()}
	}
	remember(s.windows, string(key), one)
	return one
}

// appendList writes strings so that different lists differ.
func appendList(key []byte, vs []string) []byte {
	key = binary.AppendUvarint(key, uint64(len(vs)))
	for _, v := range vs {
		key = append(binary.AppendUvarint(key, uint64(len(v))), v...)
	}
	return key
}

func remember[V any](known map[string]V, key string, one V) {
	if len(known) >= sharingLimit {
		clear(known)
	}
	known[key] = one
}
