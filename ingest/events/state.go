package events

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"marquee/internal/lake"
)

const (
	// manifestReaders is how many manifests are fetched at a time.
	manifestReaders = 16
	// listAttempts is how often the lake is listed anew because a manifest was deleted between listing and reading it.
	listAttempts = 5
)

// Source is a manifest of either kind.
type Source struct {
	Key string
	// Number is a compacted manifest's, 0 for that of a range.
	Number int64
	Topic  string
	// At is when a compacted manifest was written: microseconds since the Unix epoch.
	At       int64
	Replaces []string
	Covers   []Span
	Dead     int64
	Dropped  map[string]int64
	// Files are the data files. Those of ranges do not count their types.
	Files []DayFile
	// ReplacedBy is the number of the manifest that took this one's place, 0 while it counts.
	ReplacedBy int64
}

func (m *Manifest) source() *Source {
	s := &Source{Key: m.Key(), Topic: m.Topic, Covers: []Span{{m.Partition, m.First, m.Last}}, Dead: m.Dead}
	for _, f := range m.Files {
		s.Files = append(s.Files, DayFile{File: f})
	}
	return s
}

func (c *Compacted) source() *Source {
	return &Source{
		Key: c.Key(), Number: c.Number, Topic: c.Topic, At: c.At, Replaces: c.Replaces, Covers: c.Covers, Dead: c.Dead,
		Dropped: c.Dropped, Files: c.Files, ReplacedBy: c.ReplacedBy,
	}
}

// Manifests returns the manifests of ranges that count, in order of partition and offset. They are the set's own.
func (s *Set) Manifests() []*Manifest { return s.ranges }

// Sources returns the manifests that count, Replaced those whose place others took and which are still there. They are the
// set's own.
func (s *Set) Sources() []*Source { return s.sources }

// Replaced returns the manifests whose place others took.
func (s *Set) Replaced() []*Source { return s.replaced }

// NextNumber is the number of the next compacted manifest.
func (s *Set) NextNumber() int64 { return s.next }

// readManifests reads all manifests there are.
func readManifests(ctx context.Context, l *lake.Lake) (ranges []*Manifest, compacted []*Compacted, err error) {
	for range listAttempts {
		ranges, compacted, err = tryManifests(ctx, l)
		if !lake.IsNotExist(err) {
			break
		}
	}
	return ranges, compacted, err
}

func tryManifests(ctx context.Context, l *lake.Lake) ([]*Manifest, []*Compacted, error) {
	var mu sync.Mutex
	var ranges []*Manifest
	var compacted []*Compacted
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(manifestReaders)
	for o, err := range l.List(ctx, ManifestPrefix) {
		if err != nil {
			_ = group.Wait() // the listing's error says more
			return nil, nil, err
		}
		group.Go(func() error {
			content, err := l.ReadFile(groupCtx, o.Key)
			if err != nil {
				return err
			}
			r, c, err := decodeAny(o.Key, content)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if r != nil {
				ranges = append(ranges, r)
			} else {
				compacted = append(compacted, c)
			}
			return nil
		})
	}
	return ranges, compacted, group.Wait()
}

// NewestCompacted returns the newest compacted manifest, or nil when nothing was compacted.
func NewestCompacted(ctx context.Context, l *lake.Lake) (*Compacted, error) {
	key := ""
	for o, err := range l.List(ctx, ManifestPrefix+"c") {
		if err != nil {
			return nil, err
		}
		key = max(key, o.Key)
	}
	if key == "" {
		return nil, nil
	}
	content, err := l.ReadFile(ctx, key)
	if err != nil {
		return nil, err
	}
	return DecodeCompacted(key, content)
}

// decodeAny tells the kinds of manifests apart by their names.
func decodeAny(key string, content []byte) (*Manifest, *Compacted, error) {
	if strings.HasPrefix(key, ManifestPrefix+"c") {
		c, err := DecodeCompacted(key, content)
		return nil, c, err
	}
	m, err := DecodeManifest(key, content)
	return m, nil, err
}

// settle finds out which manifests count.
func (s *Set) settle(ranges []*Manifest, compacted []*Compacted) error {
	by := make(map[string]int64)
	s.next = 1
	for _, c := range compacted {
		s.next = max(s.next, c.Number+1)
		for _, key := range c.Replaces {
			by[key] = max(by[key], c.Number)
		}
	}
	for _, c := range compacted {
		source := c.source()
		source.ReplacedBy = max(source.ReplacedBy, by[source.Key])
		s.sort(source)
	}
	s.spans = s.allSpans()
	covered := s.spans
	for _, m := range ranges {
		source := m.source()
		// A range that was replaced and deleted may be written once more, by a consumer that was paused for long.
		if source.ReplacedBy = by[source.Key]; source.ReplacedBy == 0 && covers(covered, source.Covers[0]) {
			source.ReplacedBy = s.next - 1
		}
		s.sort(source)
		if source.ReplacedBy == 0 {
			s.ranges = append(s.ranges, m)
		}
	}
	s.spans = s.allSpans()
	slices.SortFunc(s.ranges, func(a, b *Manifest) int {
		return cmpSpan(Span{a.Partition, a.First, a.Last}, Span{b.Partition, b.First, b.Last})
	})
	slices.SortFunc(s.sources, func(a, b *Source) int { return strings.Compare(a.Key, b.Key) })
	return s.checkOverlaps()
}

func (s *Set) sort(source *Source) {
	if source.ReplacedBy == 0 {
		s.sources = append(s.sources, source)
	} else {
		s.replaced = append(s.replaced, source)
	}
}

// allSpans are the spans of all sources, in order, each as its manifest has it.
func (s *Set) allSpans() []Span {
	var spans []Span
	for _, source := range s.sources {
		spans = append(spans, source.Covers...)
	}
	slices.SortFunc(spans, cmpSpan)
	return spans
}

func (s *Set) checkOverlaps() error {
	for i := 1; i < len(s.spans); i++ {
		a, b := s.spans[i-1], s.spans[i]
		if a.Partition == b.Partition && b.First <= a.Last {
			return fmt.Errorf("manifests %s and %s overlap: %w", s.keyOf(a), s.keyOf(b), lake.ErrCorrupt)
		}
	}
	return nil
}

func (s *Set) keyOf(span Span) string {
	for _, source := range s.sources {
		if slices.Contains(source.Covers, span) {
			return source.Key
		}
	}
	return "unknown"
}

// covers says that sorted spans that do not overlap hold all of one.
func covers(spans []Span, all Span) bool {
	at := sort.Search(len(spans), func(i int) bool {
		return spans[i].Partition > all.Partition || spans[i].Partition == all.Partition && spans[i].Last >= all.First
	})
	for ; at < len(spans) && spans[at].Partition == all.Partition && spans[at].First <= all.First; at++ {
		if all.First = spans[at].Last + 1; all.First > all.Last {
			return true
		}
	}
	return false
}
