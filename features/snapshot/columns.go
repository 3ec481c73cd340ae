package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// Columns are some columns of one part, as Go slices of equal length.
type Columns struct {
	Rows int
	cols map[string]any
}

// Dict is a dictionary-coded string column: row r holds Values[IDs[r]]. Values are distinct, in order of first
// appearance.
type Dict struct {
	Values []string
	IDs    []uint32
}

// At returns row r's string.
func (d *Dict) At(r int) string { return d.Values[d.IDs[r]] }

// Lists is a column of lists: row r holds Values[Offsets[r]:Offsets[r+1]].
type Lists[T any] struct {
	Offsets []int64
	Values  []T
}

// At returns row r's list, sharing memory.
func (l *Lists[T]) At(r int) []T { return l.Values[l.Offsets[r]:l.Offsets[r+1]:l.Offsets[r+1]] }

// Strings returns a string column.
func (c *Columns) Strings(name string) (*Dict, error) { return column[*Dict](c, name) }

// Bools returns a bool column.
func (c *Columns) Bools(name string) ([]bool, error) { return column[[]bool](c, name) }

// Int32s returns an int32 column.
func (c *Columns) Int32s(name string) ([]int32, error) { return column[[]int32](c, name) }

// Int64s returns an int64 column, or a timestamp column as microseconds since the Unix epoch.
func (c *Columns) Int64s(name string) ([]int64, error) { return column[[]int64](c, name) }

// Uint32s returns a uint32 column.
func (c *Columns) Uint32s(name string) ([]uint32, error) { return column[[]uint32](c, name) }

// Uint64s returns a uint64 column.
func (c *Columns) Uint64s(name string) ([]uint64, error) { return column[[]uint64](c, name) }

// StringLists returns a list<string> column.
func (c *Columns) StringLists(name string) (*Lists[string], error) {
	return column[*Lists[string]](c, name)
}

// Int32Lists returns a list<int32> column.
func (c *Columns) Int32Lists(name string) (*Lists[int32], error) {
	return column[*Lists[int32]](c, name)
}

// Int64Lists returns a list<timestamp_us> column as microseconds since the Unix epoch.
func (c *Columns) Int64Lists(name string) (*Lists[int64], error) {
	return column[*Lists[int64]](c, name)
}

func column[T any](c *Columns, name string) (T, error) {
	v, ok := c.cols[name]
	if !ok {
		var none T
		return none, fmt.Errorf("column %s was not read", name)
	}
	t, ok := v.(T)
	if !ok {
		return t, fmt.Errorf("column %s is read as %T, not %T", name, v, t)
	}
	return t, nil
}

// ReadPart reads the named columns of the i-th part; none named means all. Memory is that of the slices plus one row
// group. A part that is missing, cut short or not what the manifest says gives an error wrapping ErrCorrupt; the part's
// checksum is Verify's business.
func (s *Set) ReadPart(ctx context.Context, i int, names ...string) (*Columns, error) {
	if i < 0 || i >= len(s.Parts) {
		return nil, fmt.Errorf("set %s has %d parts, there is no part %d", s.Set, len(s.Parts), i)
	}
	if len(names) == 0 {
		for _, c := range s.Schema {
			names = append(names, c.Name)
		}
	}
	part := s.Parts[i]
	r, size, release, err := s.lake.ReaderAt(ctx, part.Key)
	if err != nil {
		return nil, partError(part, err)
	}
	if size != part.Bytes {
		return nil, errors.Join(fmt.Errorf("%w: part %s has %d bytes, its manifest says %d", ErrCorrupt, part.Key, size, part.Bytes), release())
	}
	c, err := s.decode(ctx, io.NewSectionReader(r, 0, size), part.Rows, names)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("part %s: %w", part.Key, err), release())
	}
	return c, release()
}

// decode turns damage that only shows as a panic inside the Parquet reader into an error as well.
func (s *Set) decode(ctx context.Context, r parquet.ReaderAtSeeker, rows int64, names []string) (c *Columns, err error) {
	defer func() {
		if p := recover(); p != nil {
			c, err = nil, fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}()
	pr, err := file.NewParquetReader(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	defer func() { err = errors.Join(err, pr.Close()) }()
	if pr.NumRows() != rows {
		return nil, fmt.Errorf("%w: it has %d rows, its manifest says %d", ErrCorrupt, pr.NumRows(), rows)
	}
	return s.decodeColumns(ctx, pr, names)
}

func (s *Set) decodeColumns(ctx context.Context, pr *file.Reader, names []string) (*Columns, error) {
	fields := pr.MetaData().Schema.Root()
	props := pqarrow.ArrowReadProperties{Parallel: false, BatchSize: 64 << 10}
	c := &Columns{Rows: int(pr.NumRows()), cols: make(map[string]any, len(names))}
	leaves := make([]int, len(names))
	for k, name := range names {
		t, ok := s.ColumnType(name)
		if !ok {
			return nil, fmt.Errorf("set %s has no column %s", s.Set, name)
		}
		if leaves[k] = fields.FieldIndexByName(name); leaves[k] < 0 {
			return nil, fmt.Errorf("%w: column %s is missing", ErrCorrupt, name)
		}
		// No nested columns but lists of one leaf, so a field's index is its leaf's.
		props.SetReadDict(leaves[k], t == String)
	}
	fr, err := pqarrow.NewFileReader(pr, props, memory.DefaultAllocator)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	for k, name := range names {
		t, _ := s.ColumnType(name)
		sink, value := newSink(t, c.Rows)
		for g := range pr.NumRowGroups() {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := readChunk(ctx, fr, g, leaves[k], sink); err != nil {
				return nil, fmt.Errorf("%w: column %s: %w", ErrCorrupt, name, err)
			}
		}
		c.cols[name] = value
	}
	return c, nil
}

// readChunk reads one column of one row group and hands its arrays to sink.
func readChunk(ctx context.Context, fr *pqarrow.FileReader, group, leaf int, sink func(arrow.Array) error) error {
	chunk, err := fr.RowGroup(group).Column(leaf).Read(ctx)
	if err != nil {
		return err
	}
	defer chunk.Release()
	if want := fr.ParquetReader().MetaData().RowGroup(group).NumRows(); int64(chunk.Len()) != want {
		return fmt.Errorf("row group %d has %d values for %d rows", group, chunk.Len(), want)
	}
	for _, a := range chunk.Chunks() {
		if a.NullN() > 0 {
			return fmt.Errorf("%d values are null", a.NullN())
		}
		if err := sink(a); err != nil {
			return err
		}
	}
	return nil
}

// newSink returns where a column's arrays go, and the slices they end up in.
func newSink(t Type, rows int) (func(arrow.Array) error, any) {
	switch t {
	case String:
		d := &Dict{IDs: make([]uint32, 0, rows)}
		return dictSink(d), d
	case Bool:
		return boolSink(rows)
	case Int32:
		return fixedSink(rows, (*array.Int32).Int32Values)
	case Uint32:
		return fixedSink(rows, (*array.Uint32).Uint32Values)
	case Uint64:
		return fixedSink(rows, (*array.Uint64).Uint64Values)
	case Timestamp:
		return fixedSink(rows, timestamps)
	case StringList:
		return listSink(rows, func(a *array.String, out []string) []string {
			for i := range a.Len() {
				out = append(out, string([]byte(a.Value(i))))
			}
			return out
		})
	case Int32List:
		return listSink(rows, func(a *array.Int32, out []int32) []int32 { return append(out, a.Int32Values()...) })
	case TimestampList:
		return listSink(rows, func(a *array.Timestamp, out []int64) []int64 { return append(out, timestamps(a)...) })
	default:
		return fixedSink(rows, (*array.Int64).Int64Values)
	}
}

func timestamps(a *array.Timestamp) []int64 {
	return arrow.Int64Traits.CastFromBytes(arrow.TimestampTraits.CastToBytes(a.TimestampValues()))
}

// fixedSink copies arrays of fixed-width values, which fixed lays open, into one slice.
func fixedSink[A arrow.Array, T any](rows int, fixed func(A) []T) (func(arrow.Array) error, any) {
	// The slice is made in full beforehand, so that it can be handed out before it is filled.
	out, n := make([]T, rows), 0
	return func(a arrow.Array) error {
		typed, ok := a.(A)
		if !ok || n+a.Len() > rows {
			return fmt.Errorf("it holds %d more values of type %s", a.Len(), a.DataType())
		}
		n += copy(out[n:], fixed(typed))
		return nil
	}, out
}

func boolSink(rows int) (func(arrow.Array) error, any) {
	return fixedSink(rows, func(a *array.Boolean) []bool {
		out := make([]bool, a.Len())
		for i := range out {
			out[i] = a.Value(i)
		}
		return out
	})
}

func listSink[A arrow.Array, T any](rows int, add func(A, []T) []T) (func(arrow.Array) error, any) {
	out := &Lists[T]{Offsets: make([]int64, 1, rows+1)}
	return func(a arrow.Array) error {
		lists, ok := a.(*array.List)
		if !ok {
			return fmt.Errorf("it holds %s", a.DataType())
		}
		values, ok := lists.ListValues().(A)
		if !ok || values.NullN() > 0 {
			return fmt.Errorf("it holds %s", a.DataType())
		}
		base, origin := int64(len(out.Values)), int64(0)
		for i := range lists.Len() {
			start, end := lists.ValueOffsets(i)
			if i == 0 {
				origin = start
			}
			out.Offsets = append(out.Offsets, base+end-origin)
		}
		if origin != 0 {
			return errors.New("its lists do not start at their first value")
		}
		out.Values = add(values, out.Values)
		if got, want := int64(len(out.Values)), out.Offsets[len(out.Offsets)-1]; got != want {
			return fmt.Errorf("its lists add up to %d values, there are %d", want, got)
		}
		return nil
	}, out
}

// dictSink merges the dictionaries of all chunks into d's. A chunk costs its rows plus its dictionary, not a look-up a row.
func dictSink(d *Dict) func(arrow.Array) error {
	seen := map[string]uint32{}
	number := func(s string) uint32 {
		id, ok := seen[s]
		if !ok {
			id = uint32(len(d.Values))
			s = string([]byte(s)) // the array's memory is released
			seen[s] = id
			d.Values = append(d.Values, s)
		}
		return id
	}
	return func(a arrow.Array) error {
		coded, ok := a.(*array.Dictionary)
		if !ok {
			return fmt.Errorf("it holds %s", a.DataType())
		}
		words, ok := coded.Dictionary().(*array.String)
		if !ok {
			return fmt.Errorf("its dictionary holds %s", coded.Dictionary().DataType())
		}
		const unused = ^uint32(0)
		// Numbered when first met in a row, not in dictionary order: a dictionary may hold words no row uses.
		remap := slices.Repeat([]uint32{unused}, words.Len())
		for i := range coded.Len() {
			k := coded.GetValueIndex(i)
			if remap[k] == unused {
				remap[k] = number(words.Value(k))
			}
			d.IDs = append(d.IDs, remap[k])
		}
		return nil
	}
}

// Value returns a column's value in row r, whatever its type: a string, a bool, an integer or a slice of them.
func (c *Columns) Value(name string, r int) (any, error) {
	v, ok := c.cols[name]
	if !ok {
		return nil, fmt.Errorf("column %s was not read", name)
	}
	switch v := v.(type) {
	case *Dict:
		return v.At(r), nil
	case []bool:
		return v[r], nil
	case []int32:
		return v[r], nil
	case []int64:
		return v[r], nil
	case []uint32:
		return v[r], nil
	case []uint64:
		return v[r], nil
	case *Lists[string]:
		return v.At(r), nil
	case *Lists[int32]:
		return v.At(r), nil
	case *Lists[int64]:
		return v.At(r), nil
	default:
		return nil, fmt.Errorf("column %s is read as %T, which has no rows", name, v)
	}
}
