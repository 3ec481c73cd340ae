package mapping

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"buf.build/go/protovalidate"

	catalogv1 "marquee/catalog/v1"
	"marquee/ingest/tabular"
)

// titleFields are the fields of a title that can be mapped.
func titleFields() []string {
	return []string{
		"title_id", "kind", "name", "description", "year", "added_at", "genres", "actors", "directors", "writers", "maturity_age", "countries",
		"available_from", "available_until", "runtime_ms", "language",
	}
}

// TitleProgram makes titles of rows. It is for one goroutine.
//
// A title without countries, available_from and available_until may be watched everywhere and always; one without
// maturity_age is unrated and never shown to a profile with a limit.
type TitleProgram struct {
	program
	setters  []titleSetter
	validate protovalidate.Validator
}

type titleSetter struct {
	field string
	e     *expression
	set   func(p *TitleProgram, t *catalogv1.Title, e *expression, c *tabular.Cell) *Rejection
}

// CompileTitles compiles a mapping for a table. Without a namespace ids stay as they are.
func CompileTitles(m Mapping, namespace string, t Table) (*TitleProgram, error) {
	base, err := newProgram(m, namespace, t)
	if err != nil {
		return nil, err
	}
	p := &TitleProgram{program: *base}
	if p.validate, err = protovalidate.New(protovalidate.WithMessages(&catalogv1.Title{})); err != nil {
		return nil, fmt.Errorf("compile the contract's rules on titles: %w", err)
	}
	all, err := p.expressions(m.Map, titleFields())
	if err != nil {
		return nil, err
	}
	for _, need := range []struct{ field, constant string }{{"title_id", ""}, {"name", ""}, {"kind", "film"}} {
		if all[need.field] == nil {
			return nil, p.unmapped(need.field, need.constant)
		}
	}
	for _, field := range titleFields() {
		if e := all[field]; e != nil {
			if e.unit == "ratio" {
				return nil, fmt.Errorf("%s: a title has no duration_ms to be a ratio of", field)
			}
			p.setters = append(p.setters, titleSetter{field: field, e: e, set: titleSetterOf(field)})
		}
	}
	return p, nil
}

func titleSetterOf(field string) func(*TitleProgram, *catalogv1.Title, *expression, *tabular.Cell) *Rejection {
	switch field {
	case "title_id":
		return func(p *TitleProgram, t *catalogv1.Title, e *expression, c *tabular.Cell) *Rejection {
			id, r := p.id(e, c)
			t.TitleId = string(id)
			return r
		}
	case "kind":
		return setKind
	case "name":
		return titleText(func(t *catalogv1.Title) *string { return &t.Name })
	case "description":
		return titleText(func(t *catalogv1.Title) *string { return &t.Description })
	case "language":
		return titleText(func(t *catalogv1.Title) *string { return &t.Language })
	case "year":
		return func(p *TitleProgram, t *catalogv1.Title, _ *expression, c *tabular.Cell) *Rejection {
			n, r := whole(c, &p.scratch, 0, 3000)
			t.Year = int32(n)
			return r
		}
	case "maturity_age":
		return setMaturity
	case "runtime_ms":
		return func(p *TitleProgram, t *catalogv1.Title, e *expression, c *tabular.Cell) (r *Rejection) {
			t.RuntimeMs, r = span(c, &p.scratch, e.unit, 0)
			return r
		}
	case "added_at":
		return titleTime(func(t *catalogv1.Title) *int64 { return &t.AddedAt })
	case "available_from":
		return titleTime(func(t *catalogv1.Title) *int64 { return &window(t).From })
	case "available_until":
		return titleTime(func(t *catalogv1.Title) *int64 { return &window(t).Until })
	}
	return titleList(field)
}

// window is the title's one window.
func window(t *catalogv1.Title) *catalogv1.Window { return t.Availability[0] }

func titleText(field func(*catalogv1.Title) *string) func(*TitleProgram, *catalogv1.Title, *expression, *tabular.Cell) *Rejection {
	return func(p *TitleProgram, t *catalogv1.Title, _ *expression, c *tabular.Cell) *Rejection {
		*field(t) = strings.TrimSpace(string(p.scratch.text(c)))
		return nil
	}
}

func titleTime(field func(*catalogv1.Title) *int64) func(*TitleProgram, *catalogv1.Title, *expression, *tabular.Cell) *Rejection {
	return func(p *TitleProgram, t *catalogv1.Title, e *expression, c *tabular.Cell) *Rejection {
		at, r := e.times.read(c, &p.scratch)
		if r == nil && at < 0 {
			// The contract's times begin in 1970; the first of them is as old as it can say.
			at = 1
		}
		*field(t) = at
		return r
	}
}

func setKind(p *TitleProgram, t *catalogv1.Title, _ *expression, c *tabular.Cell) *Rejection {
	n, r := word(p.scratch.text(c), "TITLE_KIND_", catalogv1.TitleKind_value)
	t.Kind = catalogv1.TitleKind(n)
	return r
}

func setMaturity(p *TitleProgram, t *catalogv1.Title, _ *expression, c *tabular.Cell) *Rejection {
	n, r := whole(c, &p.scratch, 0, math.MaxInt32)
	if r != nil {
		if r.Reason == ReasonNumber {
			r.Detail += "; the step words translates ratings into ages, as in words:PG-13=13,R=17,*="
		}
		return r
	}
	age := uint32(n)
	t.MaturityAge = &age
	return nil
}

// titleList is for fields that are lists of texts.
func titleList(field string) func(*TitleProgram, *catalogv1.Title, *expression, *tabular.Cell) *Rejection {
	return func(p *TitleProgram, t *catalogv1.Title, _ *expression, c *tabular.Cell) *Rejection {
		items := c.Items
		if c.Kind != tabular.List {
			items = splitText(p.scratch.text(c), []byte(","), &p.scratch)
		}
		for _, item := range items {
			text := strings.TrimSpace(string(item))
			switch field {
			case "genres":
				t.Genres = append(t.Genres, text)
			case "countries":
				window(t).Countries = append(window(t).Countries, text)
			case "actors":
				t.People = append(t.People, &catalogv1.Person{Name: text, Role: catalogv1.PersonRole_PERSON_ROLE_ACTOR})
			case "directors":
				t.People = append(t.People, &catalogv1.Person{Name: text, Role: catalogv1.PersonRole_PERSON_ROLE_DIRECTOR})
			case "writers":
				t.People = append(t.People, &catalogv1.Person{Name: text, Role: catalogv1.PersonRole_PERSON_ROLE_WRITER})
			}
		}
		return nil
	}
}

// Row makes a row's title; nil without a rejection when the mapping's filter leaves the row out.
func (p *TitleProgram) Row(row *tabular.Row) (*catalogv1.Title, *Rejection) {
	p.scratch.reset()
	if !p.passes(p.where, row) {
		return nil, nil
	}
	t := &catalogv1.Title{Availability: []*catalogv1.Window{{}}}
	for i := range p.setters {
		s := &p.setters[i]
		c, r := s.e.eval(row, &p.program)
		if r == nil && c.Kind != tabular.Null {
			r = s.set(p, t, s.e, &c)
		}
		if r != nil {
			return nil, r.about(s.field, s.e.text)
		}
	}
	for _, need := range []struct {
		field string
		empty bool
	}{{"title_id", t.TitleId == ""}, {"name", t.Name == ""}, {"kind", t.Kind == 0}} {
		if need.empty {
			return nil, rejectf(ReasonMissing, need.field, "%s has no value in this row", need.field)
		}
	}
	return t, p.invalid(t)
}

// invalid holds the title against the contract.
func (p *TitleProgram) invalid(t *catalogv1.Title) *Rejection {
	err := p.validate.Validate(t)
	if err == nil {
		return nil
	}
	var broken *protovalidate.ValidationError
	if !errors.As(err, &broken) || len(broken.Violations) == 0 {
		return rejectf(ReasonInvalid, "", "%v", err)
	}
	v := broken.Violations[0].Proto
	field := protovalidate.FieldPathString(v.GetField())
	return rejectf(ReasonInvalid, field, "%s %s", field, v.GetMessage())
}
