package tabular

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
)

// parquetFooter bounds the metadata at the end.
const parquetFooter = 256 << 20

// parquetReader reads Parquet row by row, each chosen column a page at a time. Everything runs in the caller's
// goroutine, so that what a broken file makes the decoder do can be caught.
type parquetReader struct {
	size   int64
	file   *parquet.File
	leaves []leaf
	names  []string

	chosen  []leaf
	columns []*column
	// group is the row group at hand and left what is left of it; -1 before the first.
	group int
	left  int64
	rows  int64
	last  Row
	// consumed tells others how far it is, as a share of the file's bytes.
	consumed *atomic.Int64
}

// newParquet reads the metadata.
func newParquet(f *os.File, size int64, consumed *atomic.Int64) (p *parquetReader, err error) {
	defer recovered(&err)
	if err := checkFooter(f, size); err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(f, size, parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true), parquet.ReadBufferSize(64<<10))
	if err != nil {
		return nil, err
	}
	p = &parquetReader{file: file, size: size, consumed: consumed, group: -1}
	if p.leaves, err = leavesOf(file.Schema()); err != nil {
		return nil, err
	}
	for _, l := range p.leaves {
		p.names = append(p.names, l.name)
	}
	return p, nil
}

// checkFooter looks at the last eight bytes before anything is allocated by what they say.
func checkFooter(f io.ReaderAt, size int64) error {
	if size < 12 {
		return fmt.Errorf("a Parquet file has at least 12 bytes, this has %d", size)
	}
	var end [8]byte
	if _, err := f.ReadAt(end[:], size-8); err != nil {
		return err
	}
	if magic := string(end[4:]); magic != "PAR1" {
		return fmt.Errorf("a Parquet file (not encrypted) ends with PAR1, this with %q: it is cut short or something else", end[4:])
	}
	length := int64(uint32(end[0]) | uint32(end[1])<<8 | uint32(end[2])<<16 | uint32(end[3])<<24)
	if length > size-12 || length > parquetFooter {
		return fmt.Errorf("the metadata is said to have %d bytes, the file has %d", length, size)
	}
	return nil
}

// recovered makes an error of a panic: what decodes Parquet trusts a file in places where a broken one betrays it.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the Parquet file is broken: %v", r)
	}
}

func (p *parquetReader) endless() bool      { return false }
func (p *parquetReader) position() Position { return Position{Rows: p.rows} }

// columnNames are those of the columns that can be chosen.
func (p *parquetReader) columnNames() []string { return p.names }

func (p *parquetReader) choose(columns []string) error {
	p.chosen = nil
	for _, name := range columns {
		i, err := columnIndex(p.names, name)
		if err != nil {
			return err
		}
		if p.leaves[i].convert == nil {
			return fmt.Errorf("column %q has values of type %s, which cannot be imported", name, p.leaves[i].kind)
		}
		p.chosen = append(p.chosen, p.leaves[i])
	}
	return nil
}

// seek goes to a row of a row group.
func (p *parquetReader) seek(to Position) (err error) {
	defer recovered(&err)
	if err := p.drop(); err != nil {
		return err
	}
	p.rows, p.group, p.left = to.Rows, -1, 0
	skip := to.Rows
	for i, g := range p.file.RowGroups() {
		if skip < g.NumRows() {
			return p.enter(i, skip)
		}
		skip -= g.NumRows()
		p.group = i
	}
	return nil
}

// enter opens the chosen columns of a row group at a row of it.
func (p *parquetReader) enter(group int, row int64) error {
	if err := p.drop(); err != nil {
		return err
	}
	g := p.file.RowGroups()[group]
	if g.NumRows() < 0 {
		return fmt.Errorf("row group %d is said to have %d rows", group, g.NumRows())
	}
	p.group, p.left = group, g.NumRows()-row
	for _, l := range p.chosen {
		c := &column{leaf: l, pages: g.ColumnChunks()[l.index].Pages()}
		p.columns = append(p.columns, c)
		if row == 0 {
			continue
		}
		if err := c.pages.SeekToRow(row); err != nil {
			return fmt.Errorf("go to row %d of row group %d: %w", row, group, err)
		}
	}
	return nil
}

// drop lets go of the row group at hand.
func (p *parquetReader) drop() error {
	var errs []error
	for _, c := range p.columns {
		errs = append(errs, c.close())
	}
	p.columns = p.columns[:0]
	return errors.Join(errs...)
}

func (p *parquetReader) close() (err error) {
	defer recovered(&err)
	return p.drop()
}

func (p *parquetReader) next(row *Row) (err error) {
	defer recovered(&err)
	for p.left == 0 {
		if p.group+1 >= len(p.file.RowGroups()) {
			return io.EOF
		}
		if err := p.enter(p.group+1, 0); err != nil {
			return err
		}
	}
	p.left--
	p.rows++
	if p.rows%1024 == 0 {
		p.consumed.Store(int64(float64(p.size) * min(1, float64(p.rows)/float64(p.file.NumRows()))))
	}
	row.Number, row.Line = p.rows, 0
	row.Cells = resize(row.Cells, len(p.columns))
	for i, c := range p.columns {
		row.Cells[i].Kind = Null
		if err := c.next(&row.Cells[i]); err != nil {
			return fmt.Errorf("row %d (row group %d), column %q: %w", p.rows, p.group, c.leaf.name, err)
		}
	}
	p.last = *row
	return valid(row.Cells)
}

// valid refuses text that is not UTF-8.
func valid(cells []Cell) error {
	for i := range cells {
		switch c := &cells[i]; c.Kind {
		case Text:
			if !utf8.Valid(c.Text) {
				return rowErrorf(ReasonEncoding, "text is UTF-8 in Parquet, this is %q", clip(c.Text))
			}
		case List:
			for _, item := range c.Items {
				if !utf8.Valid(item) {
					return rowErrorf(ReasonEncoding, "text is UTF-8 in Parquet, this is %q", clip(item))
				}
			}
		}
	}
	return nil
}

// raw is the row last read, as a JSON object of the columns that were chosen.
func (p *parquetReader) raw() string {
	fields := make(map[string]any, len(p.chosen))
	for i, l := range p.chosen {
		if i < len(p.last.Cells) {
			fields[l.name] = p.last.Cells[i].plain()
		}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return fmt.Sprintf("%v", fields) // NaN and infinities, which JSON does not have
	}
	return string(text)
}

// plain is the cell's value as JSON has it.
func (c *Cell) plain() any {
	switch c.Kind {
	case Text:
		return string(c.Text)
	case Int, Time:
		return c.Int
	case Float:
		return c.Float
	case List:
		items := make([]string, len(c.Items))
		for i, item := range c.Items {
			items[i] = string(item)
		}
		return items
	}
	return nil
}
