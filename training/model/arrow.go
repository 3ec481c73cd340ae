package model

import (
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

func titlesSchema() *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		{Name: "title_id", Type: arrow.BinaryTypes.String},
		{Name: "popularity", Type: arrow.PrimitiveTypes.Float32},
		{Name: "trending", Type: arrow.PrimitiveTypes.Float32},
	}, nil)
}

// rowsSchema is a table of vectors of length dim.
func rowsSchema(name string, dim int, of arrow.DataType) *arrow.Schema {
	list := arrow.FixedSizeListOfNonNullable(int32(dim), of)
	return arrow.NewSchema([]arrow.Field{{Name: name, Type: list}}, nil)
}

func writeTitles(w io.Writer, r Release) error {
	mem := memory.DefaultAllocator
	ids := array.NewStringBuilder(mem)
	defer ids.Release()
	ids.AppendValues(r.TitleIDs, nil)
	popularity, trending := flat32(r.Popularity), flat32(r.Trending)
	column := ids.NewArray()
	defer column.Release()
	return writeBatch(w, titlesSchema(), len(r.TitleIDs), column, array.MakeFromData(popularity), array.MakeFromData(trending))
}

func flat32(v []float32) *array.Data {
	buf := memory.NewBufferBytes(arrow.Float32Traits.CastToBytes(v))
	return array.NewData(arrow.PrimitiveTypes.Float32, len(v), []*memory.Buffer{nil, buf}, nil, 0, 0)
}

func flat64(v []float64) *array.Data {
	buf := memory.NewBufferBytes(arrow.Float64Traits.CastToBytes(v))
	return array.NewData(arrow.PrimitiveTypes.Float64, len(v), []*memory.Buffer{nil, buf}, nil, 0, 0)
}

// writeRows writes a table of vectors straight from the flat values.
func writeRows(w io.Writer, name string, rows, dim int, values *array.Data) error {
	schema := rowsSchema(name, dim, values.DataType())
	list := array.NewData(schema.Field(0).Type, rows, []*memory.Buffer{nil}, []arrow.ArrayData{values}, 0, 0)
	return writeBatch(w, schema, rows, array.MakeFromData(list))
}

func writeBatch(w io.Writer, schema *arrow.Schema, rows int, columns ...arrow.Array) error {
	batch := array.NewRecordBatch(schema, columns, int64(rows))
	defer batch.Release()
	file, err := ipc.NewFileWriter(w, ipc.WithSchema(schema))
	if err != nil {
		return err
	}
	if err := file.Write(batch); err != nil {
		return err
	}
	return file.Close()
}

// readBatch decodes a file of one batch whose columns lie in data itself, and hands the columns to use, which must copy
// or keep slices of data only. Arrow panics on some malformed input; that comes out as an ErrCorrupt.
func readBatch(data []byte, schema *arrow.Schema, rows int, use func(columns []arrow.Array) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: Arrow data cannot be read: %v", ErrCorrupt, p)
		}
	}()
	if err := checkShape(data, schema); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	// Bytes of the other order are refused: Arrow would swap them in place, which a read-only mapping does not allow.
	file, err := ipc.NewMappedFileReader(data, ipc.WithEnsureNativeEndian(false))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	defer func() { _ = file.Close() }() // releases references, cannot fail
	if !file.Schema().IsNativeEndian() || !file.Schema().Equal(schema) {
		return fmt.Errorf("%w: columns are %v, want %v", ErrCorrupt, file.Schema(), schema)
	}
	batch, err := file.RecordBatchAt(0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	defer batch.Release()
	if batch.NumRows() != int64(rows) {
		return fmt.Errorf("%w: %d rows, want %d", ErrCorrupt, batch.NumRows(), rows)
	}
	for i, c := range batch.Columns() {
		if c.NullN() != 0 || c.Len() != rows {
			return fmt.Errorf("%w: column %s has %d rows and %d nulls, want %d and none", ErrCorrupt, batch.ColumnName(i), c.Len(), c.NullN(), rows)
		}
	}
	return use(batch.Columns())
}

// vectors returns the flat values of a column of vectors as a slice of the mapped file.
func vectors[T float32 | float64](column arrow.Array, rows, dim int) ([]T, error) {
	list, ok := column.(*array.FixedSizeList)
	if !ok || list.Offset() != 0 {
		return nil, fmt.Errorf("%w: not a table of vectors", ErrCorrupt)
	}
	values, err := plain[T](list.ListValues())
	if err != nil {
		return nil, err
	}
	if len(values) < rows*dim {
		return nil, fmt.Errorf("%w: %d values for %d rows of %d", ErrCorrupt, len(values), rows, dim)
	}
	values = values[: rows*dim : rows*dim]
	for i, v := range values {
		if v-v != 0 {
			return nil, fmt.Errorf("%w: row %d has the value %v, want finite numbers", ErrCorrupt, i/dim, v)
		}
	}
	return values, nil
}

func plain[T float32 | float64](a arrow.Array) ([]T, error) {
	if a.NullN() == 0 {
		switch a := a.(type) {
		case *array.Float32:
			if v, ok := any(a.Float32Values()).([]T); ok {
				return v, nil
			}
		case *array.Float64:
			if v, ok := any(a.Float64Values()).([]T); ok {
				return v, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: column of type %v with %d nulls", ErrCorrupt, a.DataType(), a.NullN())
}
