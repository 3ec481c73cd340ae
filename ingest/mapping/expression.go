package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"marquee/ingest/tabular"
)

// expression computes a field's value of a row.
type expression struct {
	text     string
	sources  []source
	constant []byte
	steps    []step
	// What the steps say about the field rather than about the value.
	asis  bool
	unit  string
	times *moments
}

// source is where a value comes from: a cell, or the row itself.
type source struct {
	cell   int
	number bool
	line   bool
}

// step changes a value; false means that it is wrong for it.
type step func(c *tabular.Cell, s *scratch) *Rejection

// scratch is memory for values on their way. What is in it is good until the next row.
type scratch struct {
	bytes []byte
	items [][]byte
}

func (s *scratch) reset() { s.bytes, s.items = s.bytes[:0], s.items[:0] }

// text makes the cell's value text.
func (s *scratch) text(c *tabular.Cell) []byte {
	if c.Kind == tabular.Text {
		return c.Text
	}
	from := len(s.bytes)
	s.bytes = c.AppendText(s.bytes)
	return s.bytes[from:len(s.bytes):len(s.bytes)]
}

// set gives the cell a text; no text is no value.
func set(c *tabular.Cell, text []byte) {
	c.Kind, c.Text = tabular.Text, text
	if len(text) == 0 {
		c.Kind = tabular.Null
	}
}

// eval computes the value.
func (e *expression) eval(row *tabular.Row, p *program) (tabular.Cell, *Rejection) {
	var c tabular.Cell
	if e.constant != nil {
		set(&c, e.constant)
	}
	for _, s := range e.sources {
		if c.Kind != tabular.Null {
			break
		}
		switch {
		case s.number:
			c.Kind, c.Int = tabular.Int, row.Number
		case s.line:
			c.Kind, c.Int = tabular.Int, row.Line
		default:
			c = row.Cells[s.cell]
			if c.Kind == tabular.Text && p.isNull(c.Text) {
				c.Kind = tabular.Null
			}
		}
	}
	for _, step := range e.steps {
		if r := step(&c, &p.scratch); r != nil {
			return c, r
		}
	}
	return c, nil
}

// parse reads an expression; columns finds the cell of a column.
func parse(text string, columns func(string) (int, error), defaults Time) (*expression, error) {
	e := &expression{text: strings.TrimSpace(text)}
	parts := splitSteps(e.text)
	if constant, ok := strings.CutPrefix(parts[0], "="); ok {
		e.constant = []byte(strings.TrimSpace(constant))
		if len(e.constant) == 0 {
			return nil, fmt.Errorf("%q is a constant without a value", text)
		}
	} else if err := e.from(parts[0], columns); err != nil {
		return nil, err
	}
	for _, part := range parts[1:] {
		if err := e.step(part, defaults); err != nil {
			return nil, fmt.Errorf("in %q: %w", text, err)
		}
	}
	if e.times == nil {
		times, err := newMoments(defaults.Format, defaults.Zone)
		if err != nil {
			return nil, err
		}
		e.times = times
	}
	return e, nil
}

// splitSteps cuts at each | that no backslash escapes.
func splitSteps(text string) []string {
	var parts []string
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && text[i+1] == '|':
			b.WriteByte('|')
			i++
		case text[i] == '|':
			parts = append(parts, b.String())
			b.Reset()
		default:
			b.WriteByte(text[i])
		}
	}
	parts = append(parts, b.String())
	for i := range parts {
		// What separates may be a space.
		if !strings.HasPrefix(strings.TrimLeft(parts[i], " "), "split:") {
			parts[i] = strings.TrimSpace(parts[i])
		} else {
			parts[i] = strings.TrimLeft(parts[i], " ")
		}
	}
	return parts
}

// from reads the columns of an expression.
func (e *expression) from(text string, columns func(string) (int, error)) error {
	for _, name := range strings.Split(text, " or ") {
		name = strings.TrimSpace(name)
		switch name {
		case "":
			return errors.New("an expression starts with a column")
		case "@row":
			e.sources = append(e.sources, source{number: true})
			continue
		case "@line":
			e.sources = append(e.sources, source{line: true})
			continue
		}
		if len(name) > 1 && name[0] == '"' && name[len(name)-1] == '"' {
			name = name[1 : len(name)-1]
		}
		cell, err := columns(name)
		if err != nil {
			return err
		}
		e.sources = append(e.sources, source{cell: cell})
	}
	return nil
}

// stepNames are the steps, as the language has them.
func stepNames() []string {
	return []string{"trim", "lower", "upper", "match", "words", "split", "scale", "cap", "unit", "time", "default", "prefix", "hash", "asis"}
}

// step adds one.
func (e *expression) step(text string, defaults Time) (err error) {
	name, argument, _ := strings.Cut(text, ":")
	name = strings.TrimSpace(name)
	if simple := simpleStep(name); simple != nil {
		e.steps = append(e.steps, simple)
		return nil
	}
	switch name {
	case "asis":
		e.asis = true
		return nil
	case "unit":
		if !slices.Contains([]string{"ms", "s", "min", "h", "ratio"}, argument) {
			return fmt.Errorf("a unit is ms, s, min, h or ratio, this is %q", argument)
		}
		e.unit = argument
		return nil
	case "time":
		e.times, err = newMoments(argument, defaults.Zone)
		return err
	}
	make, ok := map[string]func(string) (step, error){
		"match": matchStep, "words": wordsStep, "split": splitStep, "scale": scaleStep, "cap": capStep, "default": defaultStep, "prefix": prefixStep,
	}[name]
	if !ok {
		return fmt.Errorf("there is no step %q%s; there are %s", name, didYouMean(name, stepNames()), strings.Join(stepNames(), ", "))
	}
	if argument == "" {
		return fmt.Errorf("the step %s needs something after a colon", name)
	}
	s, err := make(argument)
	e.steps = append(e.steps, s)
	return err
}
