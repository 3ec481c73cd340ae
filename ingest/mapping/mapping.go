// Package mapping says how rows of somebody's table become watch events or titles of the catalogue.
//
// # The language
//
// A mapping gives each field an expression:
//
//	title_id: show_id                            a column
//	type: =play_end                              a constant, the same for every row
//	name: caption or manual_cover_text or "id"   the first of the columns that has a value; quotes for odd names
//	watched_ms: hours | unit:h                   a column, and what is done with its value, step by step
//
// The steps:
//
//	trim  lower  upper      of text
//	match:REGEX             the part in the first parentheses, or all that matches; no value where nothing does
//	words:A=b,C=d,*=e       one word for another; * is any other
//	split:SEPARATOR         text into a list (fields that take lists split at commas where nothing is said)
//	scale:NUMBER            times NUMBER
//	cap:NUMBER              NUMBER where the value is more
//	unit:ms|s|min|h         a length of time in that unit
//	unit:ratio              a share of the row's duration_ms
//	time:FORMAT or FORMAT   a moment: unix, unix_ms, unix_us, unix_ns, rfc3339, strptime (%Y-%m-%d), or a Go layout
//	default:TEXT            what stands for no value
//	prefix:TEXT             before the value
//	hash                    a hash of the value, 32 characters: for names too long to be ids
//	asis                    an id that does not get the namespace
//
// A | within a step is written \|. @row and @line stand for a row's number and line.
//
// profile_id, title_id, playable_id, play_id and seen_title_ids get the namespace and a colon before them.
package mapping

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"marquee/ingest/tabular"
)

// What a mapping makes of rows.
const (
	Events = "events"
	Titles = "titles"
)

// Mapping is a mapping as it is written down.
type Mapping struct {
	// About says what it is for.
	About string `yaml:"about,omitempty"`
	// Kind is events or titles.
	Kind string `yaml:"kind"`
	// Namespace is the one proposed; who imports may give another.
	Namespace string `yaml:"namespace,omitempty"`
	Format    Format `yaml:"format,omitempty"`
	Time      Time   `yaml:"time,omitempty"`
	// Nulls are texts that mean no value, beside the empty one.
	Nulls []string `yaml:"nulls,omitempty"`
	// Where keeps only rows that have these values in these columns.
	Where map[string]string `yaml:"where,omitempty"`
	// Map gives fields their expressions.
	Map map[string]string `yaml:"map"`
	// Also makes more events of a row: each has the fields of Map, but for those it gives itself.
	Also []Also `yaml:"also,omitempty"`
}

// Also is one more event of a row that has these values.
type Also struct {
	Where map[string]string `yaml:"where"`
	Map   map[string]string `yaml:"map"`
}

// Format is how files of this kind are written; see tabular.Options.
type Format struct {
	Type      string   `yaml:"type,omitempty"`
	Encoding  string   `yaml:"encoding,omitempty"`
	Delimiter string   `yaml:"delimiter,omitempty"`
	Quote     string   `yaml:"quote,omitempty"`
	NoHeader  bool     `yaml:"no_header,omitempty"`
	Columns   []string `yaml:"columns,omitempty"`
	SkipLines int      `yaml:"skip_lines,omitempty"`
}

// Options are the format's as a reader takes them.
func (f Format) Options() tabular.Options {
	return tabular.Options{
		Format: f.Type, Encoding: f.Encoding, Delimiter: f.Delimiter, Quote: f.Quote, NoHeader: f.NoHeader, Columns: f.Columns, SkipLines: f.SkipLines,
	}
}

// Time is how moments are written where an expression does not say.
type Time struct {
	// Format is as in the step time; empty is rfc3339.
	Format string `yaml:"format,omitempty"`
	// Zone is the IANA name of the time zone of moments that do not have one; empty is UTC.
	Zone string `yaml:"zone,omitempty"`
}

// Parse reads a mapping as YAML.
func Parse(text []byte) (Mapping, error) {
	var m Mapping
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&m); err != nil {
		if errors.Is(err, io.EOF) {
			return m, errors.New("the mapping is empty")
		}
		return m, fmt.Errorf("read the mapping: %w", err)
	}
	return m, m.check()
}

func (m Mapping) check() error {
	if m.Kind != Events && m.Kind != Titles {
		return fmt.Errorf("a mapping's kind is %s or %s, this is %q", Events, Titles, m.Kind)
	}
	if m.Kind == Titles && len(m.Also) > 0 {
		return errors.New("a row is one title: also is for events")
	}
	return nil
}

// YAML writes the mapping down.
func (m Mapping) YAML() ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(m), e.Close()); err != nil {
		return nil, fmt.Errorf("write the mapping: %w", err)
	}
	return b.Bytes(), nil
}

// Set changes one field as the command line says it: field=expression, field==constant, and field= for none.
func (m *Mapping) Set(text string) error {
	field, expression, ok := strings.Cut(text, "=")
	if field = strings.TrimSpace(field); !ok || field == "" {
		return fmt.Errorf("a mapping is field=column or field==constant, this is %q", text)
	}
	m.Map = maps.Clone(m.Map)
	if m.Map == nil {
		m.Map = make(map[string]string)
	}
	if strings.TrimSpace(expression) == "" {
		delete(m.Map, field)
		return nil
	}
	m.Map[field] = expression
	return nil
}

// Filter adds to Where, as the command line says it: column=value.
func (m *Mapping) Filter(text string) error {
	column, value, ok := strings.Cut(text, "=")
	if !ok || column == "" {
		return fmt.Errorf("a filter is column=value, this is %q", text)
	}
	m.Where = maps.Clone(m.Where)
	if m.Where == nil {
		m.Where = make(map[string]string)
	}
	m.Where[column] = value
	return nil
}

// Reason is why a row was rejected, coarse enough to count by.
type Reason string

// The reasons.
const (
	// ReasonMissing: a field that must have a value has none.
	ReasonMissing Reason = "missing"
	// ReasonNumber: what should be a number is none.
	ReasonNumber Reason = "number"
	// ReasonTime: what should be a moment is none, or one that cannot be: before 1970 or in the future.
	ReasonTime Reason = "time"
	// ReasonRange: a number is outside what is possible: a negative length of time, one above seven days.
	ReasonRange Reason = "range"
	// ReasonWord: a word is none of those there are.
	ReasonWord Reason = "word"
	// ReasonID: an id is too long.
	ReasonID Reason = "id"
	// ReasonInvalid: the contract's other rules.
	ReasonInvalid Reason = "invalid"
	// ReasonDuplicate: another row has the same id and something else to say.
	ReasonDuplicate Reason = "duplicate"
)

// Rejection says why a row was not taken.
type Rejection struct {
	Reason Reason
	Field  string
	// Detail says what would be right.
	Detail string
}

func (r *Rejection) Error() string { return string(r.Reason) + ": " + r.Detail }

func rejectf(reason Reason, field, format string, args ...any) *Rejection {
	return &Rejection{Reason: reason, Field: field, Detail: fmt.Sprintf(format, args...)}
}

// about is the detail with what it is about.
func (r *Rejection) about(field, source string) *Rejection {
	r.Field = field
	r.Detail = field + " (" + source + ") " + r.Detail
	return r
}

// sortedKeys are a map's keys in order: what a mapping does must not depend on the order of a Go map.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// clip keeps a value short in a message.
func clip(b []byte) []byte {
	const limit = 80
	return b[:min(len(b), limit)]
}
