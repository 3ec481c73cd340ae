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

// sortRows is how many rows are sorted in memory at a time, about 250 MB; a test makes it less.
const sortRows = 400_000

// sorter sorts any number of rows by profile, time, id and place in the log, through files of sorted runs.
type sorter struct {
	dir   string
	limit int
	rows  []events.Row
	runs  []*os.File
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
func (s *sorter) add(r *events.Row) error {
	row := *r
	row.SeenTitleIDs, row.UnknownFields = slices.Clone(r.SeenTitleIDs), slices.Clone(r.UnknownFields)
	row.Row, row.Rank = clonePointer(r.Row), clonePointer(r.Rank)
	s.rows = append(s.rows, row)
	if len(s.rows) < s.limit {
		return nil
	}
	return s.spill()
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

// spill writes the rows in memory to a file of their own.
func (s *sorter) spill() error {
	s.sortRows()
	f, err := os.CreateTemp(s.dir, "run-*")
	if err != nil {
		return fmt.Errorf("spill sorted rows: %w", err)
	}
	s.runs = append(s.runs, f)
	w := parquet.NewGenericWriter[events.Row](f, parquet.Compression(&parquet.Snappy))
	for chunk := range slices.Chunk(s.rows, 1024) {
		if _, err := w.Write(chunk); err != nil {
			return fmt.Errorf("spill sorted rows: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("spill sorted rows: %w", err)
	}
	clear(s.rows)
	s.rows = s.rows[:0]
	return nil
}

// sorted yields all rows in order, once. A row is valid until the next one.
func (s *sorter) sorted(ctx context.Context) iter.Seq2[*events.Row, error] {
	return func(yield func(*events.Row, error) bool) {
		s.sortRows()
		m := merge{{rows: s.rows, at: -1}}
		for _, f := range s.runs {
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
		s.rows = make([]events.Row, 512)
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
