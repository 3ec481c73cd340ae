package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"marquee/internal/lake"
)

const (
	// manifestReaders is how many manifests are fetched at a time.
	manifestReaders = 16
	// listAttempts is how often the lake is listed anew because it was rewritten meanwhile.
	listAttempts = 5
)

// errMoved says that the lake was rewritten between two looks at it.
var errMoved = errors.New("the lake's events were rewritten while their manifests were being read")

// Source is a manifest of either kind.
type Source struct {
	Key string
	// Number is a compacted manifest's, 0 for that of a range.
	Number int64
	Topic  string
	// At is when a compacted manifest was written: microseconds since the Unix epoch.
	At      int64
	Covers  []Span
	Dead    int64
	Dropped map[string]int64
	// Files are the data files. Those of ranges do not count their types.
	Files []DayFile
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
		Key: c.Key(), Number: c.Number, Topic: c.Topic, At: c.At, Covers: c.Covers, Dead: c.Dead, Dropped: c.Dropped, Files: c.Files,
	}
}

// Manifests returns the manifests of ranges that count, in order of partition and offset. They are the set's own.
func (s *Set) Manifests() []*Manifest { return s.ranges }

// Sources returns the manifests that count, of both kinds, in order of their keys. They are the set's own.
func (s *Set) Sources() []*Source { return s.sources }

// Replaced returns the keys of the manifests that are there but do not count, because others took their places.
func (s *Set) Replaced() []string { return s.replaced }

// NextNumber is the number that the next Replace takes.
func (s *Set) NextNumber() int64 { return s.next }

// CoveredSince returns when the manifests that have all of a span were written, the last of them, in microseconds since the
// Unix epoch; false when compacted manifests do not have all of it.
func (s *Set) CoveredSince(span Span) (int64, bool) {
	if !covers(s.compacted, span) {
		return 0, false
	}
	var at int64
	for _, source := range s.sources {
		if source.Number > 0 && source.At > at && slices.ContainsFunc(source.Covers, span.overlaps) {
			at = source.At
		}
	}
	return at, true
}

// listing is what the folder of manifests holds.
type listing struct {
	numbers  []int64 // ascending
	ranges   []string
	rangesOf map[string]Span
}

// read reads the manifests that count. What is replaced while it reads is seen wholly as it was or wholly as it is.
func (s *Set) read(ctx context.Context) (err error) {
	for range listAttempts {
		err = s.tryRead(ctx)
		if !lake.IsNotExist(err) && !errors.Is(err, errMoved) {
			break
		}
	}
	return err
}

func (s *Set) tryRead(ctx context.Context) error {
	*s = Set{lake: s.lake, maxIDs: s.maxIDs, verified: s.verified, next: 1}
	all, err := list(ctx, s.lake, ManifestPrefix)
	if err != nil {
		return err
	}
	if err := s.readCompacted(ctx, all.numbers); err != nil {
		return err
	}
	if err := s.readRanges(ctx, all); err != nil {
		return err
	}
	// A range listed as gone must not be one that was replaced after the numbers were listed.
	again, err := list(ctx, s.lake, ManifestPrefix+"c")
	if err != nil {
		return err
	}
	if n := len(again.numbers); n > 0 && again.numbers[n-1] >= s.next {
		return errMoved
	}
	s.index()
	return s.checkOverlaps(s.spans)
}

// index brings what was derived from the sources up to date.
func (s *Set) index() {
	slices.SortFunc(s.sources, func(a, b *Source) int { return strings.Compare(a.Key, b.Key) })
	s.spans = s.allSpans()
	for _, m := range s.sources {
		for _, f := range m.Files {
			s.files = append(s.files, f.File)
		}
	}
	// Folder by folder, so that whoever reads days reads each once.
	slices.SortStableFunc(s.files, func(a, b File) int { return cmp.Compare(folder(a.Key), folder(b.Key)) })
}

func list(ctx context.Context, l *lake.Lake, prefix string) (listing, error) {
	out := listing{rangesOf: make(map[string]Span)}
	for o, err := range l.List(ctx, prefix) {
		if err != nil {
			return out, err
		}
		var n int64
		var span Span
		name := strings.TrimPrefix(o.Key, ManifestPrefix)
		if _, err := fmt.Sscanf(name, "c%d.json", &n); err == nil && o.Key == CompactedKey(n) {
			out.numbers = append(out.numbers, n)
		} else if _, err := fmt.Sscanf(name, "p%d-%d-%d.json", &span.Partition, &span.First, &span.Last); err == nil && o.Key == ManifestKey(span.Partition, span.First, span.Last) {
			out.ranges = append(out.ranges, o.Key)
			out.rangesOf[o.Key] = span
		} else {
			return out, fmt.Errorf("%s has no manifest's name: %w", o.Key, lake.ErrCorrupt)
		}
	}
	slices.Sort(out.numbers)
	return out, nil
}

// readCompacted reads the newest compacted manifest and those it names.
func (s *Set) readCompacted(ctx context.Context, numbers []int64) error {
	if len(numbers) == 0 {
		return nil
	}
	newest, err := readCompacted(ctx, s.lake, numbers[len(numbers)-1])
	if err != nil {
		return err
	}
	s.next = newest.Number + 1
	live := make([]*Compacted, len(newest.Live))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(manifestReaders)
	for i, n := range newest.Live {
		group.Go(func() (err error) {
			live[i], err = readCompacted(groupCtx, s.lake, n)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, c := range append(live, newest) {
		s.sources = append(s.sources, c.source())
	}
	for _, n := range numbers {
		if _, isLive := slices.BinarySearch(newest.Live, n); !isLive && n != newest.Number {
			s.replaced = append(s.replaced, CompactedKey(n))
		}
	}
	s.compacted = s.allSpans()
	return s.checkOverlaps(s.compacted)
}

func readCompacted(ctx context.Context, l *lake.Lake, number int64) (*Compacted, error) {
	content, err := l.ReadFile(ctx, CompactedKey(number))
	if err != nil {
		return nil, err
	}
	return DecodeCompacted(CompactedKey(number), content)
}

// readRanges reads the manifests of ranges that compacted ones do not have. One that was replaced and deleted may be there
// once more, written by a consumer that was paused for long: it does not count either.
func (s *Set) readRanges(ctx context.Context, all listing) error {
	var keys []string
	for _, key := range all.ranges {
		if covers(s.compacted, all.rangesOf[key]) {
			s.replaced = append(s.replaced, key)
		} else {
			keys = append(keys, key)
		}
	}
	s.ranges = make([]*Manifest, len(keys))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(manifestReaders)
	for i, key := range keys {
		group.Go(func() error {
			content, err := s.lake.ReadFile(groupCtx, key)
			if err != nil {
				return err
			}
			s.ranges[i], err = DecodeManifest(key, content)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	slices.SortFunc(s.ranges, func(a, b *Manifest) int {
		return cmpSpan(Span{a.Partition, a.First, a.Last}, Span{b.Partition, b.First, b.Last})
	})
	for _, m := range s.ranges {
		s.sources = append(s.sources, m.source())
	}
	return nil
}

// NewestCompacted returns the newest compacted manifest, or nil when nothing was compacted.
func NewestCompacted(ctx context.Context, l *lake.Lake) (c *Compacted, err error) {
	for range listAttempts {
		found, err := list(ctx, l, ManifestPrefix+"c")
		if err != nil || len(found.numbers) == 0 {
			return nil, err
		}
		if c, err = readCompacted(ctx, l, found.numbers[len(found.numbers)-1]); !lake.IsNotExist(err) {
			return c, err
		}
	}
	return nil, err
}

// ReadReplaced reads a compacted manifest that does not count any longer, by its key; false when it is not of that kind.
func (s *Set) ReadReplaced(ctx context.Context, key string) (*Compacted, bool, error) {
	number, isCompacted := strings.CutPrefix(strings.TrimSuffix(key, ".json"), ManifestPrefix+"c")
	if !isCompacted {
		return nil, false, nil
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return nil, false, fmt.Errorf("%s has no manifest's name: %w", key, lake.ErrCorrupt)
	}
	c, err := readCompacted(ctx, s.lake, n)
	return c, true, err
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

func (s *Set) checkOverlaps(spans []Span) error {
	for i := 1; i < len(spans); i++ {
		if a, b := spans[i-1], spans[i]; a.overlaps(b) {
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

func (s Span) overlaps(t Span) bool {
	return s.Partition == t.Partition && s.First <= t.Last && t.First <= s.Last
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
