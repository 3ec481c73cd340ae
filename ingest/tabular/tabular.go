// Package tabular reads tables out of files as others write them: CSV, JSON lines and Parquet, plain or compressed, in
// any text encoding. It reads row by row in bounded memory, tells a row that is wrong from a file that is, and can go on
// at any row it has been at before: in text at the byte, in Parquet at the row of its row group.
package tabular

import (
	"errors"
	"fmt"
)

// Kind is what a cell holds.
type Kind uint8

// The kinds.
const (
	// Null is no value: an empty field, a JSON null, a missing key.
	Null Kind = iota
	// Text is text; also a number or a boolean as its file spells it.
	Text
	// Int is a whole number in Cell.Int.
	Int
	// Float is a number in Cell.Float.
	Float
	// Time is a moment in Cell.Int, in microseconds since the Unix epoch.
	Time
	// List is a list of texts in Cell.Items.
	List
)

// Cell is one value. What it points to is good until the reader's next row.
type Cell struct {
	Kind  Kind
	Text  []byte
	Int   int64
	Float float64
	Items [][]byte
}

// Row is one row: a cell for each selected column, in the order of the selection.
type Row struct {
	Cells []Cell
	// Number counts rows from 1, header and blank lines aside.
	Number int64
	// Line is the line the row starts in, from 1; 0 in a file that has no lines.
	Line int64
}

// Position is a place between two rows.
type Position struct {
	// Bytes is where the next row starts, in the file's text as it is after decompression and decoding; 0 in Parquet.
	Bytes int64 `json:"bytes"`
	// Line is the line the next row starts in, from 1; 0 in Parquet.
	Line int64 `json:"line"`
	// Rows is how many rows are before it.
	Rows int64 `json:"rows"`
}

// Reason is why a row cannot be read, coarse enough to count by.
type Reason string

// The reasons.
const (
	// ReasonMalformed: the row is not of the file's form.
	ReasonMalformed Reason = "malformed"
	// ReasonTooLarge: the row exceeds Options.MaxRowBytes.
	ReasonTooLarge Reason = "too_large"
	// ReasonEncoding: text is not in the encoding the file is said to have.
	ReasonEncoding Reason = "encoding"
)

// RowError says that one row cannot be read; the rows after it can.
type RowError struct {
	Reason Reason
	// Detail says what would be right.
	Detail string
}

func (e *RowError) Error() string { return string(e.Reason) + ": " + e.Detail }

func rowErrorf(reason Reason, format string, args ...any) *RowError {
	return &RowError{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// The formats.
const (
	CSV     = "csv"
	JSONL   = "jsonl"
	Parquet = "parquet"
)

// Options say how a file is written. The zero value means: found out by name and content, UTF-8, commas, a header.
type Options struct {
	// Format is csv, jsonl or parquet; empty goes by the name (.csv .tsv .jsonl .ndjson .parquet .pq, before .gz or .zst).
	Format string
	// Encoding is the text's, by its WHATWG name (utf-8, utf-16le, windows-1252, latin1, gbk, …); empty is UTF-8, or what a
	// byte order mark says.
	Encoding string
	// Delimiter separates fields of CSV: one or more bytes, "tab" for a tab. Empty is a comma, a tab in .tsv.
	Delimiter string
	// Quote encloses CSV fields: one byte; empty is ", "none" means that no field is quoted.
	Quote string
	// NoHeader says that the first row of CSV is data. Columns are then called 1, 2, … unless Columns names them.
	NoHeader bool
	// Columns names the columns of CSV, in place of the header's names if there is one.
	Columns []string
	// SkipLines is how many lines stand before the header, or the data.
	SkipLines int
	// MaxRowBytes bounds a row of text; 0 is 4 MiB.
	MaxRowBytes int
}

// DefaultMaxRowBytes bounds a row unless the options do.
const DefaultMaxRowBytes = 4 << 20

func (o Options) maxRow() int {
	if o.MaxRowBytes > 0 {
		return o.MaxRowBytes
	}
	return DefaultMaxRowBytes
}

// delimiter returns the separator of fields.
func (o Options) delimiter(byName string) ([]byte, error) {
	switch o.Delimiter {
	case "":
		return []byte(byName), nil
	case "tab", `\t`:
		return []byte("\t"), nil
	}
	for _, c := range []byte(o.Delimiter) {
		if c == '\n' || c == '\r' {
			return nil, errors.New("a delimiter cannot be a line's end")
		}
	}
	return []byte(o.Delimiter), nil
}

// quote returns the quoting byte; ok is false when nothing is quoted.
func (o Options) quote() (q byte, ok bool, err error) {
	switch {
	case o.Quote == "":
		return '"', true, nil
	case o.Quote == "none":
		return 0, false, nil
	case len(o.Quote) == 1 && o.Quote != "\n" && o.Quote != "\r":
		return o.Quote[0], true, nil
	}
	return 0, false, fmt.Errorf("a quote is one byte, or none, this is %q", o.Quote)
}

// reader reads rows of one format. Its methods are File's.
type reader interface {
	columnNames() []string
	// endless says that columns beyond columnNames may be asked for.
	endless() bool
	choose(columns []string) error
	seek(p Position) error
	next(row *Row) error
	position() Position
	raw() string
	close() error
}
