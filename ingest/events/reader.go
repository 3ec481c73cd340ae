package events

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/parquet-go/parquet-go"

	"marquee/internal/lake"
)

const (
	// rowBuffer is how many rows are read at a time.
	rowBuffer = 512
	// maxSetIDs bounds the ids held in memory at a time (16 bytes each, at a load of 3/8 or more); more rows than that
	// are gone through in several passes.
	maxSetIDs = 48 << 20
)

// Set is the lake's events as its manifests were when it was opened. It is safe for concurrent use.
type Set struct {
	lake *lake.Lake
	// sources are the manifests that count, ranges those of them that are not compacted. replaced are the keys of the others.
	sources  []*Source
	ranges   []*Manifest
	replaced []string
	// spans are what all sources cover, compacted what compacted ones do.
	spans     []Span
	compacted []Span
	files     []File
	// next is the number of the next compacted manifest.
	next   int64
	maxIDs int64

	verified *sync.Map
}

// Open lists and checks the lake's manifests. Two manifests that claim the same offset are an error: the lake would
// count events twice.
func Open(ctx context.Context, l *lake.Lake) (*Set, error) {
	s := &Set{lake: l, maxIDs: maxSetIDs, verified: new(sync.Map)}
	if err := s.read(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// folder is a file's dt=… folder.
func folder(key string) string {
	const length = len(Prefix) + len("dt=2006-01-02")
	return key[:min(length, len(key))]
}

// Files returns the files, folder by folder. They are the set's own.
func (s *Set) Files() []File { return s.files }

// Covers says that everything from first to last of a partition is in the manifests.
func (s *Set) Covers(partition int32, first, last int64) bool {
	return covers(s.spans, Span{partition, first, last})
}

// Gap is a stretch of a partition's log that no manifest covers, both ends included.
type Gap struct {
	Partition int32 `json:"partition"`
	First     int64 `json:"first"`
	Last      int64 `json:"last"`
}

// Gaps returns what lies between the ranges of each partition. The service writes ranges without gap; one means that
// manifests are missing.
func (s *Set) Gaps() []Gap {
	var gaps []Gap
	for i := 1; i < len(s.spans); i++ {
		a, b := s.spans[i-1], s.spans[i]
		if a.Partition == b.Partition && b.First > a.Last+1 {
			gaps = append(gaps, Gap{Partition: a.Partition, First: a.Last + 1, Last: b.First - 1})
		}
	}
	return gaps
}

// Through returns the last position of each partition that the lake has.
func (s *Set) Through() map[int32]int64 {
	out := make(map[int32]int64)
	for _, span := range s.spans {
		out[span.Partition] = max(out[span.Partition], span.Last)
	}
	return out
}

// Count is how much there is.
type Count struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Rows is the number of rows in the files, copies included.
	Rows int64 `json:"rows"`
	// Events is the number of distinct event ids.
	Events int64 `json:"events"`
	// Dead is the number of dead letters between them.
	Dead int64 `json:"dead"`
}

// Count reads every event id and counts.
func (s *Set) Count(ctx context.Context) (Count, error) {
	var c Count
	for _, m := range s.sources {
		c.Dead += m.Dead
	}
	for _, f := range s.files {
		c.Files++
		c.Bytes += f.Bytes
		c.Rows += f.Rows
	}
	copies, err := s.findCopies(ctx)
	if err != nil {
		return Count{}, err
	}
	c.Events = c.Rows - copies.further()
	return c, nil
}

// Verify compares every file with the checksum its manifest gives. Reading does that by itself, file by file.
func (s *Set) Verify(ctx context.Context) error {
	for _, f := range s.files {
		if err := s.verify(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// verify checks a file once in the set's life.
func (s *Set) verify(ctx context.Context, f File) error {
	if _, done := s.verified.Load(f.Key); done {
		return nil
	}
	if err := s.lake.Verify(ctx, f.FileInfo); err != nil {
		return err
	}
	s.verified.Store(f.Key, true)
	return nil
}

// Events yields every event once, day by day of received_at, within a day partition by partition in log order, unless its
// file is sorted. Copies are rows of one event_id, profile and occurred_at; of those it is the one with the lowest offset,
// as in the warehouse's events view. A row is valid until the next one. It stops at the first error.
func (s *Set) Events(ctx context.Context) iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		copies, err := s.findCopies(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		for r, err := range s.Raw(ctx) {
			if err == nil && copies.hides(r) {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// Raw yields every row, copies included, in the order of Events.
func (s *Set) Raw(ctx context.Context) iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		for _, f := range s.files {
			for r, err := range readFile[Row](ctx, s, f) {
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

// RawOf yields every row of one of the set's files in the file's order. A row is valid until the next one.
func (s *Set) RawOf(ctx context.Context, f File) iter.Seq2[*Row, error] {
	return readFile[Row](ctx, s, f)
}

type profileRow struct {
	ProfileID string `parquet:"profile_id"`
}

// HasProfile says whether one of the set's files has a row of a profile that is asked for. It reads that column alone.
func (s *Set) HasProfile(ctx context.Context, f File, is func(profileID string) bool) (bool, error) {
	for r, err := range readFile[profileRow](ctx, s, f) {
		if err != nil || is(r.ProfileID) {
			return err == nil, err
		}
	}
	return false, nil
}

// readFile yields a file's rows with the columns T names.
func readFile[T any](ctx context.Context, s *Set, f File) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		if err := streamFile(ctx, s, f, func(r *T) bool { return yield(r, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

func streamFile[T any](ctx context.Context, s *Set, f File, yield func(*T) bool) (err error) {
	if err := s.verify(ctx, f); err != nil {
		return err
	}
	at, size, release, err := s.lake.ReaderAt(ctx, f.Key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	file, err := parquet.OpenFile(at, size, parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("open parquet file %s: %w", f.Key, err)
	}
	if file.NumRows() != f.Rows {
		return fmt.Errorf("%w: %s has %d rows, its manifest says %d", lake.ErrCorrupt, f.Key, file.NumRows(), f.Rows)
	}
	reader := parquet.NewGenericReader[T](file)
	defer func() { err = errors.Join(err, reader.Close()) }()
	rows := make([]T, rowBuffer)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := reader.Read(rows)
		for i := range rows[:n] {
			if !yield(&rows[i]) {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read parquet file %s: %w", f.Key, err)
		}
	}
}
