package features

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"marquee/features/snapshot"
)

const (
	defaultPartRows  = 1 << 20
	defaultPartBytes = 256 << 20
	// One row group is gathered in memory before it is written, so these bound a build's memory.
	groupRows  = 64 << 10
	groupBytes = 16 << 20
)

// build runs a set's query and writes its parts, then its manifest.
func (b *Builder) build(ctx context.Context, s *Snapshot, q Query, progress func(Progress)) (*snapshot.Manifest, error) {
	queryCtx := queryContext(ctx, parameters(s.AsOf, s.Input))
	types, err := b.describe(queryCtx, q)
	if err != nil {
		return nil, err
	}
	table, err := newTable(types)
	if err != nil {
		return nil, err
	}
	rows, err := b.Conn.Query(queryCtx, q.SQL)
	if err != nil {
		return nil, fmt.Errorf("run the query: %w", err)
	}
	m := &snapshot.Manifest{
		Format: snapshot.Format, Set: q.Set, Snapshot: s.ID, SQLSHA256: q.SHA256,
		AsOf: s.AsOf, Input: s.Input, Parts: []snapshot.Part{},
	}
	err = b.writeParts(ctx, rows, table, m, progress)
	if err = errors.Join(err, rows.Close()); err != nil {
		return nil, err
	}
	m.BuiltAt = time.Now().UTC().Truncate(time.Microsecond)
	content, err := m.Encode()
	if err != nil {
		return nil, err
	}
	if _, err := b.Lake.WriteBytes(ctx, snapshot.ManifestKey(q.Set, s.ID), content); err != nil {
		return nil, err
	}
	return m, nil
}

// columnType is a column of a query's result, with its ClickHouse type.
type columnType struct{ name, dbType string }

// describe asks what columns the query's result has. The result itself says so only when it has rows.
func (b *Builder) describe(ctx context.Context, q Query) ([]columnType, error) {
	rows, err := b.Conn.Query(ctx, "DESCRIBE TABLE (\n"+q.SQL+"\n) SETTINGS describe_compact_output = 1")
	if err != nil {
		return nil, fmt.Errorf("ask for the query's columns: %w", err)
	}
	defer rows.Close()
	var out []columnType
	for rows.Next() {
		var c columnType
		if err := rows.Scan(&c.name, &c.dbType); err != nil {
			return nil, fmt.Errorf("read the query's columns: %w", err)
		}
		out = append(out, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the query's columns: %w", err)
	}
	return out, nil
}

// writeParts streams the rows into parts and fills in the manifest's schema, parts, row count and checksum.
func (b *Builder) writeParts(ctx context.Context, rows driver.Rows, table *table, m *snapshot.Manifest, progress func(Progress)) error {
	m.Schema = table.schema
	more := rows.Next()
	for more {
		var n int64
		info, err := b.Lake.WriteFile(ctx, snapshot.PartKey(m.Set, m.Snapshot, len(m.Parts)), func(w io.Writer) error {
			var err error
			n, more, err = b.writePart(w, rows, table, func(n int64) {
				progress(Progress{Set: m.Set, Rows: m.RowCount + n})
			})
			return err
		})
		if err != nil {
			return err
		}
		m.Parts = append(m.Parts, snapshot.Part{FileInfo: info, Rows: n})
		m.RowCount += n
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the query's rows: %w", err)
	}
	m.ContentChecksum = table.checksum()
	return nil
}

// writePart writes rows, the first of which is already fetched, until the part is full or there are no more, and says
// which.
func (b *Builder) writePart(w io.Writer, rows driver.Rows, t *table, progress func(int64)) (n int64, more bool, err error) {
	maxRows, maxBytes := b.PartRows, b.PartBytes
	if maxRows <= 0 {
		maxRows = defaultPartRows
	}
	if maxBytes <= 0 {
		maxBytes = defaultPartBytes
	}
	pw, err := pqarrow.NewFileWriter(t.arrow, w, parquet.NewWriterProperties(
		parquet.WithCompression(compress.Codecs.Zstd),
		parquet.WithCreatedBy("marquee"),
		parquet.WithMaxRowGroupLength(groupRows),
	), pqarrow.DefaultWriterProps())
	if err != nil {
		return 0, false, err
	}
	var size int64
	for more = true; more && n < maxRows && size < maxBytes; {
		var gn, gb int64
		for ; more && gn < groupRows && gb < groupBytes && n+gn < maxRows && size+gb < maxBytes; more = rows.Next() {
			bytes, err := t.take(rows)
			if err != nil {
				return 0, false, errors.Join(err, pw.Close())
			}
			gn, gb = gn+1, gb+bytes
		}
		if err := t.flush(pw); err != nil {
			return 0, false, errors.Join(err, pw.Close())
		}
		n, size = n+gn, size+gb
		progress(n)
	}
	// A query that broke off looks like one that ended: its part must not be completed.
	if err := rows.Err(); err != nil {
		return 0, false, errors.Join(fmt.Errorf("read the query's rows: %w", err), pw.Close())
	}
	return n, more, pw.Close()
}

// table gathers rows into Arrow columns and keeps the content checksum: SHA-256 over the schema and then every row in order,
// each value in a form that depends on nothing but the value (see column.encode).
type table struct {
	schema  []snapshot.Column
	arrow   *arrow.Schema
	columns []column
	dests   []any
	builder *array.RecordBuilder
	sum     hash.Hash
	buf     []byte
}

func newTable(types []columnType) (*table, error) {
	t := &table{sum: sha256.New()}
	fields := make([]arrow.Field, len(types))
	var makers []func(array.Builder) column
	for i, ct := range types {
		ty, field, maker, err := columnOf(ct.name, ct.dbType)
		if err != nil {
			return nil, err
		}
		t.schema = append(t.schema, snapshot.Column{Name: ct.name, Type: ty})
		fields[i] = field
		makers = append(makers, maker)
		fmt.Fprintf(t.sum, "%s %s\n", ct.name, ty)
	}
	t.arrow = arrow.NewSchema(fields, nil)
	t.builder = array.NewRecordBuilder(memory.DefaultAllocator, t.arrow)
	for i, maker := range makers {
		c := maker(t.builder.Field(i))
		t.columns = append(t.columns, c)
		t.dests = append(t.dests, c.dest())
	}
	return t, nil
}

// take adds the current row and returns its size in bytes as the checksum sees it.
func (t *table) take(rows driver.Rows) (int64, error) {
	if err := rows.Scan(t.dests...); err != nil {
		return 0, fmt.Errorf("read a row: %w", err)
	}
	t.buf = t.buf[:0]
	for _, c := range t.columns {
		t.buf = c.encode(t.buf)
		c.add()
	}
	t.sum.Write(t.buf)
	return int64(len(t.buf)), nil
}

// flush writes the rows gathered as one row group.
func (t *table) flush(w *pqarrow.FileWriter) error {
	batch := t.builder.NewRecordBatch()
	defer batch.Release()
	if err := w.Write(batch); err != nil {
		return fmt.Errorf("encode %d rows: %w", batch.NumRows(), err)
	}
	return nil
}

func (t *table) checksum() string { return hex.EncodeToString(t.sum.Sum(nil)) }
