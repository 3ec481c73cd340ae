package compact

import (
	stdbytes "bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	"github.com/parquet-go/parquet-go"

	"marquee/ingest/events"
)

const (
	// sortRows is how many rows are sorted in memory at a time, about 150 MB; a test makes it less.
	sortRows = 250_000
	// fanIn is how many runs of a size become one: so many are read at a time, and a few more.
	fanIn = 24
	// pageBytes is how much of a column of a run is read at a time.
	pageBytes = 32 << 10
)

// sorter sorts any number of rows by profile, time, id and place in the log, through files of sorted runs.
type sorter struct {
	dir   string
	limit int
	rows  []events.Row
	runs  []sortedRun
}

// sortedRun is a file of sorted rows, made of fanIn^level times what fits into memory.
type sortedRun struct {
	*os.File
	level int
}

// newSorter makes a sorter that keeps its files in a new folder within dir.
func newSorter(dir string) (*sorter, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder for sorting: %w", err)
	}
	own, err := os.MkdirTemp(dir, "sort-*")
	if err != nil {
		return nil, fmt.Errorf("make the folder for sorting: %w", err)
	}
	return &sorter{dir: own, limit: sortRows}, nil
}

func (s *sorter) close() error {
	var errs []error
	for _, f := range s.runs {
		errs = append(errs, f.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

func order(a, b *events.Row) int {
	return cmp.Or(
		cmp.Compare(a.ProfileID, b.ProfileID), cmp.Compare(a.OccurredAt, b.OccurredAt), stdbytes.Compare(a.EventID[:], b.EventID[:]),
		cmp.Compare(a.KafkaPartition, b.KafkaPartition), cmp.Compare(a.KafkaOffset, b.KafkaOffset),
	)
}

// add takes a copy of a row.
func (s *sorter) add(ctx context.Context, r *events.Row) error {
	s.rows = append(s.rows, clone(r))
	if len(s.rows) < s.limit {
		return nil
	}
	return s.spill(ctx)
}

// clone copies a row that a reader will use again.
func clone(r *events.Row) events.Row {
	row := *r
	row.SeenTitleIDs, row.UnknownFields = slices.Clone(r.SeenTitleIDs), slices.Clone(r.UnknownFields)
	row.Row, row.Rank = clonePointer(r.Row), clonePointer(r.Rank)
	return row
}

func clonePointer(p *uint32) *uint32 {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

func (s *sorter) sortRows() {
	slices.SortFunc(s.rows, func(a, b events.Row) int { return order(&a, &b) })
}

// spill writes the rows in memory to a file of their own, and makes one file of many that are as large.
func (s *sorter) spill(ctx context.Context) error {
	s.sortRows()
	err := s.writeRun(0, func(yield func(*events.Row, error) bool) {
		for i := range s.rows {
			if !yield(&s.rows[i], ctx.Err()) {
				return
			}
		}
	})
	clear(s.rows)
	s.rows = s.rows[:0]
	for err == nil && len(s.runs) >= fanIn && s.runs[len(s.runs)-fanIn].level == s.runs[len(s.runs)-1].level {
		first := len(s.runs) - fanIn
		parts := slices.Clone(s.runs[first:])
		s.runs = s.runs[:first]
		err = s.writeRun(parts[0].level+1, mergeRuns(ctx, nil, parts))
		for _, part := range parts {
			err = errors.Join(err, part.Close(), os.Remove(part.Name()))
		}
	}
	return err
}

// writeRun writes rows that come in order to a file.
func (s *sorter) writeRun(level int, rows iter.Seq2[*events.Row, error]) error {
	f, err := os.CreateTemp(s.dir, "run-*")
	if err != nil {
		return fmt.Errorf("spill sorted rows: %w", err)
	}
	s.runs = append(s.runs, sortedRun{f, level})
	w := parquet.NewGenericWriter[events.Row](f, parquet.Compression(&parquet.Snappy), parquet.PageBufferSize(pageBytes), parquet.MaxRowsPerRowGroup(groupRows))
	chunk := make([]events.Row, 0, chunkRows)
	flush := func() error {
		if _, err := w.Write(chunk); err != nil {
			return fmt.Errorf("spill sorted rows: %w", err)
		}
		chunk = chunk[:0]
		return nil
	}
	for r, err := range rows {
		if err != nil {
			return err
		}
		if chunk = append(chunk, clone(r)); len(chunk) == chunkRows {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("spill sorted rows: %w", err)
	}
	return nil
}

// sorted yields all rows in order, once. A row is valid until the next one.
func (s *sorter) sorted(ctx context.Context) iter.Seq2[*events.Row, error] {
	s.sortRows()
	return mergeRuns(ctx, s.rows, s.runs)
}

// mergeRuns yields sorted rows and those of sorted runs in order.
func mergeRuns(ctx context.Context, rows []events.Row, runs []sortedRun) iter.Seq2[*events.Row, error] {
	return func(yield func(*events.Row, error) bool) {
		m := merge{{rows: rows, at: -1}}
		for _, f := range runs {
			m = append(m, &stream{reader: parquet.NewGenericReader[events.Row](f), at: -1})
		}
		defer m.close()
		live := m[:0:0]
		for _, st := range m {
			more, err := st.advance()
			if err != nil {
				yield(nil, err)
				return
			}
			if more {
				live = append(live, st)
			}
		}
		heap.Init(&live)
		for n := 0; len(live) > 0; n++ {
			if n%1024 == 0 && ctx.Err() != nil {
				yield(nil, ctx.Err())
				return
			}
			first := live[0]
			if !yield(&first.rows[first.at], nil) {
				return
			}
			more, err := first.advance()
			switch {
			case err != nil:
				yield(nil, err)
				return
			case more:
				heap.Fix(&live, 0)
			default:
				heap.Pop(&live)
			}
		}
	}
}

// stream is one sorted run: rows in memory, refilled from a reader where there is one.
type stream struct {
	rows   []events.Row
	at     int
	reader *parquet.GenericReader[events.Row]
}

// advance goes to the next row and says whether there is one.
func (s *stream) advance() (bool, error) {
	if s.at++; s.at < len(s.rows) {
		return true, nil
	}
	if s.reader == nil {
		return false, nil
	}
	if s.rows == nil {
		s.rows = make([]events.Row, 256)
	}
	n, err := s.reader.Read(s.rows[:cap(s.rows)])
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read sorted rows back: %w", err)
	}
	s.rows, s.at = s.rows[:n], 0
	return n > 0, nil
}

// merge is a heap of streams by their current rows.
type merge []*stream

func (m merge) Len() int           { return len(m) }
func (m merge) Less(i, j int) bool { return order(&m[i].rows[m[i].at], &m[j].rows[m[j].at]) < 0 }
func (m merge) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }
func (m *merge) Push(x any)        { *m = append(*m, x.(*stream)) }
func (m *merge) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

// close lets go of the readers.
func (m merge) close() {
	for _, s := range m {
		if s.reader != nil {
			_ = s.reader.Close() // the files are deleted next
		}
	}
}
