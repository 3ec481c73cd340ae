package mapping

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"marquee/ingest/tabular"
)

// program is what events' and titles' have in common.
type program struct {
	mapping   Mapping
	namespace string
	have      []string
	endless   bool
	columns   []string
	nulls     [][]byte
	where     []filter
	scratch   scratch
	// ids holds ids with their namespace.
	prefix []byte
}

// filter holds for rows that have a value in a column.
type filter struct {
	cell  int
	value []byte
}

// Table is what a mapping is compiled against: *tabular.File is one.
type Table interface {
	Columns() []string
	// OpenEnded says that there may be columns beyond these.
	OpenEnded() bool
}

func newProgram(m Mapping, namespace string, t Table) (*program, error) {
	p := &program{mapping: m, namespace: namespace, have: t.Columns(), endless: t.OpenEnded()}
	if namespace != "" {
		p.prefix = []byte(namespace + ":")
	}
	for _, null := range m.Nulls {
		p.nulls = append(p.nulls, []byte(null))
	}
	var err error
	p.where, err = p.filters(m.Where)
	return p, err
}

func (p *program) filters(where map[string]string) ([]filter, error) {
	var out []filter
	for _, column := range sortedKeys(where) {
		cell, err := p.cell(column)
		if err != nil {
			return nil, fmt.Errorf("where %s: %w", column, err)
		}
		out = append(out, filter{cell: cell, value: []byte(where[column])})
	}
	return out, nil
}

// cell finds or makes the cell of a column.
func (p *program) cell(column string) (int, error) {
	if i := slices.Index(p.columns, column); i >= 0 {
		return i, nil
	}
	if !p.endless && !slices.Contains(p.have, column) && !p.isNumber(column) {
		return 0, fmt.Errorf("there is no column %q%s; there are %s", column, didYouMean(column, p.have), strings.Join(p.have, ", "))
	}
	p.columns = append(p.columns, column)
	return len(p.columns) - 1, nil
}

// isNumber says whether a column is named by its number, as in #3.
func (p *program) isNumber(column string) bool {
	number, ok := strings.CutPrefix(column, "#")
	n, err := strconv.Atoi(number)
	return ok && err == nil && n >= 1 && n <= len(p.have)
}

// Columns are the columns rows must have, in the order of their cells.
func (p *program) Columns() []string { return p.columns }

// Unseen are the columns that no row at the start of an open-ended table has: misspelt, perhaps.
func (p *program) Unseen() []string {
	var out []string
	for _, c := range p.columns {
		if p.endless && !slices.Contains(p.have, c) {
			out = append(out, c+didYouMean(c, p.have))
		}
	}
	return out
}

func (p *program) isNull(text []byte) bool {
	for _, null := range p.nulls {
		if bytes.Equal(text, null) {
			return true
		}
	}
	return false
}

// passes says whether a row has the values of filters.
func (p *program) passes(filters []filter, row *tabular.Row) bool {
	for _, f := range filters {
		if !bytes.Equal(p.scratch.text(&row.Cells[f.cell]), f.value) {
			return false
		}
	}
	return true
}

// id makes an id of a value, with the namespace unless it is as it is.
func (p *program) id(e *expression, c *tabular.Cell) ([]byte, *Rejection) {
	const most = 64
	text := bytes.TrimSpace(p.scratch.text(c))
	if len(text) == 0 {
		return nil, nil
	}
	if !e.asis {
		from := len(p.scratch.bytes)
		p.scratch.bytes = append(append(p.scratch.bytes, p.prefix...), text...)
		text = p.scratch.bytes[from:len(p.scratch.bytes):len(p.scratch.bytes)]
	}
	if len(text) > most {
		return nil, rejectf(ReasonID, "", "is an id of at most %d bytes, this has %d: %q; the step hash makes it shorter", most, len(text), clip(text))
	}
	return text, nil
}

// expressions compiles a map of fields, which are to be among those named.
func (p *program) expressions(fields map[string]string, known []string) (map[string]*expression, error) {
	out := make(map[string]*expression, len(fields))
	for _, field := range sortedKeys(fields) {
		if !slices.Contains(known, field) {
			return nil, fmt.Errorf("there is no field %q%s; there are %s", field, didYouMean(field, known), strings.Join(known, ", "))
		}
		e, err := parse(fields[field], p.cell, p.mapping.Time)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		out[field] = e
	}
	return out, nil
}
