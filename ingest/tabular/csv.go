package tabular

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// csvReader reads CSV (RFC 4180) without copying: cells are parts of the window, but for fields with doubled quotes. It
// is more lenient than the RFC in what does no harm: any delimiter, any line's end, a quote within an unquoted field. A
// row whose quotes do not close is refused and reading goes on in the line after its first: a lost quote costs the rows
// it makes unreadable, not the rest of the file.
type csvReader struct {
	w         *window
	delimiter []byte
	quote     byte
	quoted    bool
	names     []string
	// at is the cell of each column, -1 for none; width the number of columns.
	at    []int
	cells int
	width int

	line, rows int64
	// spans are the fields of a row with quotes; scratch holds the unescaped ones.
	spans   []span
	scratch []byte
	last    []byte
	reopen  func(offset int64) (*window, error)
}

// span is a field: text[from:to], in which quotes are doubled if escaped.
type span struct {
	from, to int
	escaped  bool
}

var newline = []byte("\n")

// newCSV reads the header, if there is one.
func newCSV(w *window, o Options, byName string) (*csvReader, error) {
	c := &csvReader{w: w, line: 1}
	var err error
	if c.delimiter, err = o.delimiter(byName); err != nil {
		return nil, err
	}
	if c.quote, c.quoted, err = o.quote(); err != nil {
		return nil, err
	}
	for range o.SkipLines {
		if err := w.skipLine(); err != nil {
			return nil, err
		}
		c.line++
	}
	if err := c.header(o); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *csvReader) header(o Options) error {
	if o.NoHeader {
		c.names, c.width = o.Columns, len(o.Columns)
		if len(o.Columns) > 0 {
			return nil
		}
		n, err := c.peekWidth()
		for i := range n {
			c.names = append(c.names, strconv.Itoa(i+1))
		}
		c.width = n
		return err
	}
	fields, err := c.record()
	for err == nil && len(fields) == 1 && len(trimEnd(c.last)) == 0 {
		fields, err = c.record()
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty")
	}
	if err != nil {
		return fmt.Errorf("the header in line %d: %w", c.line, err)
	}
	for _, f := range fields {
		c.names = append(c.names, strings.TrimSpace(string(c.text(f))))
	}
	c.width = len(c.names)
	if len(o.Columns) > 0 {
		if len(o.Columns) != c.width {
			return fmt.Errorf("%d column names are given, the header has %d columns: %s", len(o.Columns), c.width, strings.Join(c.names, ", "))
		}
		c.names = o.Columns
	}
	if !utf8.ValidString(strings.Join(c.names, "")) {
		return errors.New("the header is not UTF-8: say which encoding the file has (windows-1252, latin1, gbk, …)")
	}
	return nil
}

// peekWidth counts the fields of the first row and leaves it to be read.
func (c *csvReader) peekWidth() (int, error) {
	for {
		n, ok, err := c.w.line()
		if err != nil || !ok {
			return 0, err
		}
		if len(trimEnd(c.w.bytes()[:n])) > 0 {
			break
		}
		c.w.consume(n)
		c.line++
	}
	_, _, spans, err := c.scan()
	if err != nil {
		return 0, fmt.Errorf("the first row: %w", err)
	}
	return len(spans), nil
}

func (c *csvReader) columnNames() []string { return c.names }
func (c *csvReader) endless() bool         { return false }
func (c *csvReader) close() error          { return nil }

func (c *csvReader) position() Position {
	return Position{Bytes: c.w.offset, Line: c.line, Rows: c.rows}
}

func (c *csvReader) choose(columns []string) error {
	c.at = slices.Repeat([]int{-1}, len(c.names))
	for cell, name := range columns {
		i, err := columnIndex(c.names, name)
		if err != nil {
			return err
		}
		c.at[i] = cell
	}
	c.cells = len(columns)
	return nil
}

// columnIndex finds a column by name, or by #number.
func columnIndex(names []string, name string) (int, error) {
	i := slices.Index(names, name)
	if i >= 0 {
		if slices.Contains(names[i+1:], name) {
			return 0, fmt.Errorf("two columns are called %q: say which by its number, like #%d", name, i+1)
		}
		return i, nil
	}
	if number, ok := strings.CutPrefix(name, "#"); ok {
		if n, err := strconv.Atoi(number); err == nil && n >= 1 && n <= len(names) {
			return n - 1, nil
		}
	}
	return 0, fmt.Errorf("there is no column %q; there are %s", name, strings.Join(names, ", "))
}

func (c *csvReader) seek(p Position) error {
	w, err := c.reopen(p.Bytes)
	if err != nil {
		return err
	}
	c.w, c.line, c.rows, c.last = w, p.Line, p.Rows, nil
	return nil
}

func (c *csvReader) raw() string { return string(trimEnd(c.last)) }

// next reads a row: of a line without quotes field by field in place, of any other through record.
func (c *csvReader) next(row *Row) error {
	row.Cells = resize(row.Cells, c.cells)
	for {
		n, ok, err := c.w.line()
		if errors.Is(err, errRowTooLarge) {
			return c.tooLarge(row)
		}
		if err != nil {
			return err
		}
		if !ok {
			return io.EOF
		}
		line := c.w.bytes()[:n]
		text := trimEnd(line)
		if len(text) == 0 {
			c.w.consume(n)
			c.line++
			continue
		}
		c.rows++
		row.Number, row.Line = c.rows, c.line
		if c.quoted && bytes.IndexByte(text, c.quote) >= 0 {
			return c.quotedRow(row)
		}
		c.last = line
		c.w.consume(n)
		c.line++
		return c.split(text, row)
	}
}

func resize(cells []Cell, n int) []Cell {
	if cap(cells) < n {
		return make([]Cell, n)
	}
	return cells[:n]
}

func (c *csvReader) tooLarge(row *Row) error {
	c.rows++
	row.Number, row.Line = c.rows, c.line
	c.last = bytes.Clone(c.w.bytes()[:min(len(c.w.bytes()), 200)])
	if err := c.w.skipLine(); err != nil {
		return err
	}
	c.line++
	return tooLarge(c.w.max)
}

func tooLarge(most int) *RowError {
	return rowErrorf(ReasonTooLarge, "a row has at most %d bytes", most)
}

// split cuts a line without quotes.
func (c *csvReader) split(text []byte, row *Row) error {
	field := 0
	for {
		var part []byte
		var i int
		if len(c.delimiter) == 1 {
			i = bytes.IndexByte(text, c.delimiter[0])
		} else {
			i = bytes.Index(text, c.delimiter)
		}
		if part = text; i >= 0 {
			part = text[:i]
		}
		if field < len(c.at) {
			if cell := c.at[field]; cell >= 0 {
				setText(&row.Cells[cell], part)
			}
		}
		field++
		if i < 0 {
			break
		}
		text = text[i+len(c.delimiter):]
	}
	if field != c.width {
		return c.ragged(field)
	}
	return c.valid(row)
}

func (c *csvReader) ragged(fields int) *RowError {
	return rowErrorf(ReasonMalformed, "a row has %d fields, this has %d", c.width, fields)
}

// valid refuses text that is not UTF-8.
func (c *csvReader) valid(row *Row) error {
	for i := range row.Cells {
		if !utf8.Valid(row.Cells[i].Text) {
			return notUTF8(row.Cells[i].Text)
		}
	}
	return nil
}

func notUTF8(text []byte) *RowError {
	return rowErrorf(ReasonEncoding, "text is UTF-8 unless another encoding is given (windows-1252, latin1, gbk, …), this is %q", clip(text))
}

func setText(c *Cell, text []byte) {
	c.Text, c.Kind = text, Text
	if len(text) == 0 {
		c.Kind = Null
	}
}

func (c *csvReader) quotedRow(row *Row) error {
	spans, err := c.record()
	if err != nil {
		return err
	}
	c.scratch = c.scratch[:0]
	if len(spans) != c.width {
		return c.ragged(len(spans))
	}
	for i, s := range spans {
		if i < len(c.at) && c.at[i] >= 0 {
			setText(&row.Cells[c.at[i]], c.text(s))
		}
	}
	return c.valid(row)
}

// text is a field of the record last read.
func (c *csvReader) text(s span) []byte {
	text := c.last[s.from:s.to]
	if !s.escaped {
		return text
	}
	from := len(c.scratch)
	for i := 0; i < len(text); i++ {
		c.scratch = append(c.scratch, text[i])
		if text[i] == c.quote {
			i++ // the second of two
		}
	}
	return c.scratch[from:len(c.scratch):len(c.scratch)]
}

// record consumes a row that may have quotes. Of one that is wrong it consumes the first line.
func (c *csvReader) record() ([]span, error) {
	n, lines, spans, err := c.scan()
	var wrong *RowError
	if errors.As(err, &wrong) {
		first := bytes.IndexByte(c.w.bytes(), '\n') + 1
		if first == 0 {
			first = len(c.w.bytes())
		}
		c.last = c.w.bytes()[:first]
		c.w.consume(first)
		c.line++
		return nil, wrong
	}
	if err != nil {
		return nil, err
	}
	c.last = c.w.bytes()[:n]
	c.w.consume(n)
	c.line += lines
	return spans, nil
}

// scan finds the fields of the row at hand, its length and its number of lines, and consumes nothing.
func (c *csvReader) scan() (n int, lines int64, spans []span, err error) {
	c.spans = c.spans[:0]
	at := 0
	for {
		var s span
		var end fieldEnd
		if s, at, end, err = c.field(at, &lines); err != nil {
			return 0, 0, nil, err
		}
		c.spans = append(c.spans, s)
		if end == endOfText && len(c.spans) == 1 && s.from == s.to && at == 0 {
			return 0, 0, nil, io.EOF
		}
		if end != endOfField {
			if end == endOfText {
				lines++
			}
			return at, lines, c.spans, nil
		}
	}
}

// fieldEnd is what ends a field.
type fieldEnd int

const (
	endOfField fieldEnd = iota
	endOfRow
	endOfText
)

// field scans one field from at on and returns where the next begins.
func (c *csvReader) field(at int, lines *int64) (s span, next int, end fieldEnd, err error) {
	have, err := c.have(at)
	if err != nil {
		return span{}, 0, 0, err
	}
	if have && c.quoted && c.w.bytes()[at] == c.quote {
		return c.quotedField(at, lines)
	}
	next, end, err = c.plainEnd(at, lines)
	if err != nil {
		return span{}, 0, 0, err
	}
	s = span{from: at, to: next}
	switch end {
	case endOfField:
		s.to -= len(c.delimiter)
	case endOfRow:
		s.to--
	}
	if end != endOfField && s.to > s.from && c.w.bytes()[s.to-1] == '\r' {
		s.to--
	}
	return s, next, end, nil
}

// have reports whether there is a byte at an offset into the window, reading on if need be.
func (c *csvReader) have(at int) (bool, error) {
	for at >= len(c.w.bytes()) {
		grew, err := c.w.more()
		if errors.Is(err, errRowTooLarge) {
			return false, rowErrorf(ReasonTooLarge, "a row has at most %d bytes; a quote that is not closed can be the cause", c.w.max)
		}
		if err != nil {
			return false, err
		}
		if !grew {
			return false, nil
		}
	}
	return true, nil
}

// plainEnd finds where an unquoted field ends and the next begins.
func (c *csvReader) plainEnd(at int, lines *int64) (next int, end fieldEnd, err error) {
	for i := at; ; {
		text := c.w.bytes()
		for ; i+len(c.delimiter) <= len(text); i++ {
			if text[i] == '\n' {
				*lines++
				return i + 1, endOfRow, nil
			}
			if text[i] == c.delimiter[0] && bytes.HasPrefix(text[i:], c.delimiter) {
				return i + len(c.delimiter), endOfField, nil
			}
		}
		have, err := c.have(len(text))
		if err != nil {
			return 0, 0, err
		}
		if have {
			continue
		}
		if n := bytes.IndexByte(text[i:], '\n'); n >= 0 {
			*lines++
			return i + n + 1, endOfRow, nil
		}
		return len(text), endOfText, nil
	}
}

// quotedField scans a field whose first byte is a quote.
func (c *csvReader) quotedField(at int, lines *int64) (s span, next int, end fieldEnd, err error) {
	s.from = at + 1
	for i := at + 1; ; {
		have, err := c.have(i)
		if err != nil {
			return span{}, 0, 0, err
		}
		if !have {
			return span{}, 0, 0, rowErrorf(ReasonMalformed, "a quote is not closed: %q", clip(c.w.bytes()[at:]))
		}
		text := c.w.bytes()[i:]
		n := bytes.IndexByte(text, c.quote)
		if n < 0 {
			*lines += int64(bytes.Count(text, newline))
			i += len(text)
			continue
		}
		*lines += int64(bytes.Count(text[:n], newline))
		i += n
		if have, err = c.have(i + 1); err != nil {
			return span{}, 0, 0, err
		}
		if have && c.w.bytes()[i+1] == c.quote {
			s.escaped = true
			i += 2
			continue
		}
		s.to = i
		next, end, err = c.plainEnd(i+1, lines)
		if err != nil {
			return span{}, 0, 0, err
		}
		if rest := c.w.bytes()[i+1 : next]; !c.isEnd(rest, end) {
			return span{}, 0, 0, rowErrorf(ReasonMalformed, "after a closing quote comes the next field or the row's end, here %q", clip(rest))
		}
		return s, next, end, nil
	}
}

// isEnd reports whether nothing but a field's end stands after a closing quote.
func (c *csvReader) isEnd(rest []byte, end fieldEnd) bool {
	if end == endOfField {
		return len(rest) == len(c.delimiter)
	}
	return len(trimEnd(rest)) == 0
}

// clip keeps a value short in a message.
func clip(b []byte) []byte {
	const limit = 120
	return b[:min(len(b), limit)]
}
