// Package snapshottest writes small feature sets into a lake, for tests of what reads them.
package snapshottest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"marquee/features/snapshot"
	"marquee/internal/lake"
)

// Micros are timestamps, in microseconds since the Unix epoch.
type Micros []int64

// MicrosLists are lists of such.
type MicrosLists [][]int64

// Column is a column's content: Values is a []string, []bool, []int32, []int64, []uint32, []uint64, Micros, [][]string,
// [][]int32 or MicrosLists.
type Column struct {
	Name   string
	Values any
}

// Write writes a set of the snapshot as of asOf, in parts of at most partRows rows, each in row groups of half that, and
// returns its manifest. digest tells snapshots of one instant apart.
func Write(tb testing.TB, l *lake.Lake, set string, asOf time.Time, digest string, partRows int, columns ...Column) *snapshot.Manifest {
	tb.Helper()
	sum := sha256.Sum256([]byte(digest))
	m := &snapshot.Manifest{
		Format: snapshot.Format, Set: set, Snapshot: snapshot.ID(asOf, sum[:]), AsOf: asOf.UTC(), BuiltAt: asOf.UTC(),
		SQLSHA256: hex.EncodeToString(sum[:]), ContentChecksum: hex.EncodeToString(sum[:]), Parts: []snapshot.Part{},
	}
	batch := record(tb, m, columns)
	defer batch.Release()
	for from := int64(0); from < batch.NumRows(); from += int64(partRows) {
		slice := batch.NewSlice(from, min(from+int64(partRows), batch.NumRows()))
		info, err := l.WriteFile(context.Background(), snapshot.PartKey(set, m.Snapshot, len(m.Parts)), func(w io.Writer) error {
			return writePart(w, slice, max(1, partRows/2))
		})
		if err != nil {
			tb.Fatal(err)
		}
		m.Parts = append(m.Parts, snapshot.Part{FileInfo: info, Rows: slice.NumRows()})
		m.RowCount += slice.NumRows()
		slice.Release()
	}
	content, err := m.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := l.WriteBytes(context.Background(), snapshot.ManifestKey(set, m.Snapshot), content); err != nil {
		tb.Fatal(err)
	}
	return m
}

func writePart(w io.Writer, batch arrow.RecordBatch, groupRows int) error {
	pw, err := pqarrow.NewFileWriter(batch.Schema(), w, parquet.NewWriterProperties(
		parquet.WithCompression(compress.Codecs.Zstd), parquet.WithMaxRowGroupLength(int64(groupRows))), pqarrow.DefaultWriterProps())
	if err != nil {
		return err
	}
	if err := pw.Write(batch); err != nil {
		return err
	}
	return pw.Close()
}

// record puts the columns together and fills in the manifest's schema.
func record(tb testing.TB, m *snapshot.Manifest, columns []Column) arrow.RecordBatch {
	tb.Helper()
	var fields []arrow.Field
	var arrays []arrow.Array
	rows := int64(0)
	for _, c := range columns {
		t, a, err := build(c.Values)
		if err != nil {
			tb.Fatalf("column %s: %v", c.Name, err)
		}
		m.Schema = append(m.Schema, snapshot.Column{Name: c.Name, Type: t})
		fields = append(fields, arrow.Field{Name: c.Name, Type: a.DataType()})
		arrays = append(arrays, a)
		rows = int64(a.Len())
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), arrays, rows)
}

func build(values any) (snapshot.Type, arrow.Array, error) {
	stamp := &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	switch v := values.(type) {
	case []string:
		return snapshot.String, fill(arrow.BinaryTypes.String, v, (*array.StringBuilder).Append), nil
	case []bool:
		return snapshot.Bool, fill(arrow.FixedWidthTypes.Boolean, v, (*array.BooleanBuilder).Append), nil
	case []int32:
		return snapshot.Int32, fill(arrow.PrimitiveTypes.Int32, v, (*array.Int32Builder).Append), nil
	case []int64:
		return snapshot.Int64, fill(arrow.PrimitiveTypes.Int64, v, (*array.Int64Builder).Append), nil
	case []uint32:
		return snapshot.Uint32, fill(arrow.PrimitiveTypes.Uint32, v, (*array.Uint32Builder).Append), nil
	case []uint64:
		return snapshot.Uint64, fill(arrow.PrimitiveTypes.Uint64, v, (*array.Uint64Builder).Append), nil
	case Micros:
		return snapshot.Timestamp, fill(stamp, v, addMicros), nil
	case [][]string:
		return snapshot.StringList, fillLists(arrow.BinaryTypes.String, v, (*array.StringBuilder).Append), nil
	case [][]int32:
		return snapshot.Int32List, fillLists(arrow.PrimitiveTypes.Int32, v, (*array.Int32Builder).Append), nil
	case MicrosLists:
		return snapshot.TimestampList, fillLists(stamp, v, addMicros), nil
	default:
		return "", nil, fmt.Errorf("no column can be made of a %T", values)
	}
}

func addMicros(b *array.TimestampBuilder, v int64) { b.Append(arrow.Timestamp(v)) }

func fill[T any, B array.Builder](t arrow.DataType, values []T, add func(B, T)) arrow.Array {
	b := array.NewBuilder(memory.DefaultAllocator, t)
	for _, v := range values {
		add(b.(B), v)
	}
	return b.NewArray()
}

func fillLists[T any, B array.Builder](t arrow.DataType, values [][]T, add func(B, T)) arrow.Array {
	b := array.NewListBuilderWithField(memory.DefaultAllocator, arrow.Field{Name: "element", Type: t})
	for _, list := range values {
		b.Append(true)
		for _, v := range list {
			add(b.ValueBuilder().(B), v)
		}
	}
	return b.NewArray()
}
