package mapping

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"marquee/ingest/tabular"
)

// moments reads moments in one of several formats.
type moments struct {
	formats []timeFormat
	zone    *time.Location
	text    string
}

// timeFormat is a Go layout, or a number of units since the Unix epoch.
type timeFormat struct {
	layout string
	// micros is a unit in microseconds; 0 for a layout, and nanos set for nanoseconds.
	micros int64
	nanos  bool
}

func newMoments(formats, zone string) (*moments, error) {
	if strings.TrimSpace(formats) == "" {
		formats = "rfc3339"
	}
	m := &moments{text: formats, zone: time.UTC}
	if zone != "" {
		var err error
		if m.zone, err = time.LoadLocation(zone); err != nil {
			return nil, fmt.Errorf("a time zone has an IANA name like Europe/Stockholm: %w", err)
		}
	}
	for _, text := range strings.Split(formats, " or ") {
		f, err := newTimeFormat(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		m.formats = append(m.formats, f)
	}
	return m, nil
}

func newTimeFormat(text string) (timeFormat, error) {
	switch text {
	case "unix":
		return timeFormat{micros: 1_000_000}, nil
	case "unix_ms":
		return timeFormat{micros: 1000}, nil
	case "unix_us":
		return timeFormat{micros: 1}, nil
	case "unix_ns":
		return timeFormat{nanos: true}, nil
	case "rfc3339", "iso8601":
		return timeFormat{layout: time.RFC3339Nano}, nil
	}
	if strings.Contains(text, "%") {
		layout, err := strptime(text)
		return timeFormat{layout: layout}, err
	}
	// A layout is written for the moment Go's are written for: something of it must be in it.
	if !strings.Contains(text, "06") && !strings.Contains(text, "Jan") {
		return timeFormat{}, fmt.Errorf("a time format is unix, unix_ms, unix_us, unix_ns, rfc3339, strptime's (like %%Y-%%m-%%d %%H:%%M:%%S) or Go's (like 2006-01-02 15:04:05), this is %q", text)
	}
	return timeFormat{layout: text}, nil
}

// strptime turns C's conversions into a Go layout.
func strptime(text string) (string, error) {
	layouts := map[byte]string{
		'Y': "2006", 'y': "06", 'm': "1", 'd': "2", 'e': "_2", 'H': "15", 'I': "3", 'M': "4", 'S': "5", 'f': "999999999", 'p': "PM", 'b': "Jan", 'h': "Jan",
		'B': "January", 'a': "Mon", 'A': "Monday", 'j': "002", 'z': "-0700", 'Z': "MST", 'F': "2006-01-02", 'T': "15:04:05", 'D': "01/02/06", 'R': "15:04",
		'n': "\n", 't': "\t", '%': "%",
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		if i++; i == len(text) {
			return "", fmt.Errorf("the time format %q ends within a conversion", text)
		}
		layout, ok := layouts[text[i]]
		if !ok {
			return "", fmt.Errorf("the time format %q has the conversion %%%c, which is not known", text, text[i])
		}
		b.WriteString(layout)
	}
	return b.String(), nil
}

// read turns a value into microseconds since the Unix epoch.
func (m *moments) read(c *tabular.Cell, s *scratch) (int64, *Rejection) {
	if c.Kind == tabular.Time {
		return c.Int, nil
	}
	text := s.text(c)
	for _, f := range m.formats {
		if at, ok := f.read(c, text, m.zone); ok {
			return at, nil
		}
	}
	return 0, rejectf(ReasonTime, "", "is to be a time as %s, this is %q%s", m.text, clip(text), guess(c, text))
}

func (f timeFormat) read(c *tabular.Cell, text []byte, zone *time.Location) (int64, bool) {
	if f.layout != "" {
		t, err := time.ParseInLocation(f.layout, string(bytes.TrimSpace(text)), zone)
		if err != nil {
			return 0, false
		}
		return t.UnixMicro(), true
	}
	n, ok := c.Int, c.Kind == tabular.Int
	if c.Kind == tabular.Text {
		n, ok = wholeNumber(text)
	}
	if ok && f.nanos {
		return n / 1000, true
	}
	if ok && n <= math.MaxInt64/f.micros && n >= math.MinInt64/f.micros {
		return n * f.micros, true
	}
	v, err := strconv.ParseFloat(string(bytes.TrimSpace(text)), 64)
	if f.nanos {
		v /= 1000
	} else {
		v *= float64(f.micros)
	}
	if err != nil || !(math.Abs(v) < math.MaxInt64) {
		return 0, false
	}
	return int64(math.Round(v)), true
}

// guess tells what a number may be as a time.
func guess(c *tabular.Cell, text []byte) string {
	n, ok := c.Int, c.Kind == tabular.Int
	if c.Kind == tabular.Text {
		n, ok = wholeNumber(text)
	}
	if !ok {
		return ""
	}
	units := []struct {
		name  string
		nanos int64
	}{{"unix", 1e9}, {"unix_ms", 1e6}, {"unix_us", 1e3}, {"unix_ns", 1}}
	for _, u := range units {
		if n > 0 && n < 4_102_444_800*(1e9/u.nanos) && n > 631_152_000*(1e9/u.nanos) {
			at := time.Unix(n/(1e9/u.nanos), 0).UTC()
			return fmt.Sprintf("; as %s it is %s", u.name, at.Format("2006-01-02"))
		}
	}
	return ""
}
