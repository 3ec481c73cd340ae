package tabular

import (
	"errors"
	"io"
	"slices"
	"strings"
)

// jsonlReader reads one JSON object a line. Columns are keys, and paths like viewer.id into objects within.
type jsonlReader struct {
	w          *window
	names      []string
	wanted     []node
	cells      int
	line, rows int64
	scanner    scanner
	last       []byte
	reopen     func(offset int64) (*window, error)
}

// node is a key that is wanted: its value goes into a cell, or is an object with wanted keys, or both.
type node struct {
	key      string
	cell     int
	children []node
}

// newJSONL looks at the first rows for their keys.
func newJSONL(w *window, o Options) (*jsonlReader, error) {
	j := &jsonlReader{w: w, line: 1}
	for range o.SkipLines {
		if err := w.skipLine(); err != nil {
			return nil, err
		}
		j.line++
	}
	return j, j.sample()
}

// sample gathers the keys of the rows that are in the window at the start.
func (j *jsonlReader) sample() error {
	for len(j.w.bytes()) < min(64<<10, j.w.max) {
		grew, err := j.w.more()
		if err != nil {
			return err
		}
		if !grew {
			break
		}
	}
	text := j.w.bytes()
	if len(text) == 0 {
		return errors.New("the file is empty")
	}
	if first := strings.TrimSpace(string(text[:min(len(text), 4096)])); strings.HasPrefix(first, "[") {
		return errors.New("this is one JSON array; JSON lines have one object a line: jq -c '.[]' makes them")
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") && !j.w.eof {
			break
		}
		s := scanner{text: []byte(line), names: &j.names}
		// A line that is wrong is refused when it is read.
		_ = s.row(nil, nil)
	}
	return nil
}

func (j *jsonlReader) columnNames() []string { return j.names }
func (j *jsonlReader) endless() bool         { return true }
func (j *jsonlReader) close() error          { return nil }
func (j *jsonlReader) raw() string           { return string(trimEnd(j.last)) }

func (j *jsonlReader) position() Position {
	return Position{Bytes: j.w.offset, Line: j.line, Rows: j.rows}
}

func (j *jsonlReader) choose(columns []string) error {
	j.cells, j.wanted = len(columns), nil
	for cell, path := range columns {
		want(&j.wanted, path).cell = cell
		// user.id is the key id within user; also a key that has the dot in it.
		if steps := strings.Split(path, "."); len(steps) > 1 {
			at := &j.wanted
			for _, key := range steps[:len(steps)-1] {
				at = &want(at, key).children
			}
			want(at, steps[len(steps)-1]).cell = cell
		}
	}
	return nil
}

// want finds or adds a key.
func want(nodes *[]node, key string) *node {
	for i := range *nodes {
		if (*nodes)[i].key == key {
			return &(*nodes)[i]
		}
	}
	*nodes = append(*nodes, node{key: key, cell: -1})
	return &(*nodes)[len(*nodes)-1]
}

func (j *jsonlReader) seek(p Position) error {
	w, err := j.reopen(p.Bytes)
	if err != nil {
		return err
	}
	j.w, j.line, j.rows, j.last = w, p.Line, p.Rows, nil
	return nil
}

func (j *jsonlReader) next(row *Row) error {
	for {
		n, ok, err := j.w.line()
		if errors.Is(err, errRowTooLarge) {
			j.rows++
			row.Number, row.Line = j.rows, j.line
			j.last = slices.Clone(clip(j.w.bytes()))
			j.line++
			if err := j.w.skipLine(); err != nil {
				return err
			}
			return tooLarge(j.w.max)
		}
		if err != nil {
			return err
		}
		if !ok {
			return io.EOF
		}
		line := j.w.bytes()[:n]
		number := j.line
		j.w.consume(n)
		j.line++
		text := trimEnd(line)
		if len(text) == 0 {
			continue
		}
		j.rows++
		row.Number, row.Line = j.rows, number
		j.last = line
		row.Cells = resize(row.Cells, j.cells)
		clear(row.Cells)
		j.scanner.text, j.scanner.at, j.scanner.scratch, j.scanner.items = text, 0, j.scanner.scratch[:0], j.scanner.items[:0]
		return j.scanner.row(j.wanted, row.Cells)
	}
}
