package mapping

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unsafe"

	"marquee/ingest/tabular"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

// eventFields are the fields of an event that can be mapped, in the order they are set: duration_ms comes before what is
// a ratio of it.
func eventFields() []string {
	return []string{
		"type", "profile_id", "title_id", "playable_id", "play_id", "occurred_at", "duration_ms", "watched_ms", "position_ms", "session_id", "device_class",
		"country", "surface", "autoplay", "query", "request_id", "row", "rank", "seen_title_ids", "event_id",
	}
}

// EventProgram makes watch events of rows. It is for one goroutine.
type EventProgram struct {
	program
	templates []template
	importID  string
	// latest is the time, in microseconds since the Unix epoch, after which nothing can have occurred.
	latest int64
}

// template is one event of a row.
type template struct {
	where   []filter
	setters []setter
	eventID *expression
	playID  bool
	// tag keeps the events of one row apart.
	tag string
}

// setter sets one field.
type setter struct {
	field string
	e     *expression
	set   func(p *EventProgram, t *target, e *expression, c *tabular.Cell) *Rejection
}

// target is an event being made.
type target struct {
	*ingestv1.WatchEvent
	batch *Batch
}

// CompileEvents compiles a mapping for a table. Without a namespace ids stay as they are. ImportID is what the events
// carry; latest is the clock now, in microseconds since the Unix epoch.
func CompileEvents(m Mapping, namespace, importID string, latest int64, t Table) (*EventProgram, error) {
	base, err := newProgram(m, namespace, t)
	if err != nil {
		return nil, err
	}
	p := &EventProgram{program: *base, importID: importID, latest: latest}
	first, err := p.template(m.Map, nil, "")
	if err != nil {
		return nil, err
	}
	p.templates = append(p.templates, first)
	for i, also := range m.Also {
		fields := maps.Clone(m.Map)
		// What one play says of itself does not hold for what else the row tells.
		for _, own := range []string{"event_id", "play_id"} {
			delete(fields, own)
		}
		maps.Copy(fields, also.Map)
		next, err := p.template(fields, also.Where, fmt.Sprint(i+1))
		if err != nil {
			return nil, fmt.Errorf("also %d: %w", i+1, err)
		}
		p.templates = append(p.templates, next)
	}
	return p, nil
}

func (p *EventProgram) template(fields, where map[string]string, tag string) (template, error) {
	t := template{tag: tag}
	all, err := p.expressions(fields, eventFields())
	if err != nil {
		return t, err
	}
	for _, need := range []struct{ field, constant string }{{"profile_id", ""}, {"occurred_at", ""}, {"type", "play_end"}} {
		if all[need.field] == nil {
			return t, p.unmapped(need.field, need.constant)
		}
	}
	if kind := string(all["type"].constant); all["title_id"] == nil && kind != "search" && kind != "slate_seen" {
		return t, p.unmapped("title_id", "")
	}
	for _, field := range eventFields() {
		e := all[field]
		switch {
		case e == nil:
		case field == "event_id":
			t.eventID = e
		case e.unit == "ratio" && all["duration_ms"] == nil:
			return t, fmt.Errorf("%s: a ratio needs duration_ms to be mapped as well", field)
		default:
			t.setters = append(t.setters, setter{field: field, e: e, set: eventSetter(field)})
		}
	}
	t.playID = all["play_id"] != nil
	t.where, err = p.filters(where)
	return t, err
}

// eventSetter says how a field takes its value; the cell is never null.
func eventSetter(field string) func(*EventProgram, *target, *expression, *tabular.Cell) *Rejection {
	switch field {
	case "type":
		return setType
	case "profile_id":
		return setID(func(t *target) *string { return &t.ProfileId })
	case "title_id":
		return setID(func(t *target) *string { return &t.TitleId })
	case "playable_id":
		return setID(func(t *target) *string { return &t.PlayableId })
	case "play_id":
		return setID(func(t *target) *string { return &t.PlayId })
	case "occurred_at":
		return setOccurredAt
	case "duration_ms":
		return setSpan(func(t *target) *int64 { return &t.DurationMs })
	case "watched_ms":
		return setSpan(func(t *target) *int64 { return &t.WatchedMs })
	case "position_ms":
		return setSpan(func(t *target) *int64 { return &t.PositionMs })
	case "session_id":
		return setText(func(t *target) *string { return &t.SessionId })
	case "device_class":
		return setDevice
	case "country":
		return setText(func(t *target) *string { return &t.Country })
	case "surface":
		return setText(func(t *target) *string { return &t.Surface })
	case "autoplay":
		return setAutoplay
	case "query":
		return setText(func(t *target) *string { return &t.Query })
	case "request_id":
		return setText(func(t *target) *string { return &t.RequestId })
	case "row":
		return setPlace(func(t *target) **uint32 { return &t.Row })
	case "rank":
		return setPlace(func(t *target) **uint32 { return &t.Rank })
	}
	return setSeen
}

func setID(field func(*target) *string) func(*EventProgram, *target, *expression, *tabular.Cell) *Rejection {
	return func(p *EventProgram, t *target, e *expression, c *tabular.Cell) *Rejection {
		id, r := p.id(e, c)
		*field(t) = t.batch.keep(id)
		return r
	}
}

func setText(field func(*target) *string) func(*EventProgram, *target, *expression, *tabular.Cell) *Rejection {
	return func(p *EventProgram, t *target, _ *expression, c *tabular.Cell) *Rejection {
		*field(t) = t.batch.keep(p.scratch.text(c))
		return nil
	}
}

func setPlace(field func(*target) **uint32) func(*EventProgram, *target, *expression, *tabular.Cell) *Rejection {
	return func(p *EventProgram, t *target, _ *expression, c *tabular.Cell) *Rejection {
		n, r := whole(c, &p.scratch, 0, math.MaxUint32)
		v := uint32(n)
		*field(t) = &v
		return r
	}
}

func setType(p *EventProgram, t *target, _ *expression, c *tabular.Cell) *Rejection {
	n, r := word(p.scratch.text(c), "EVENT_TYPE_", ingestv1.EventType_value)
	t.Type = ingestv1.EventType(n)
	return r
}

func setDevice(p *EventProgram, t *target, _ *expression, c *tabular.Cell) *Rejection {
	n, r := word(p.scratch.text(c), "DEVICE_CLASS_", ingestv1.DeviceClass_value)
	t.DeviceClass = ingestv1.DeviceClass(n)
	return r
}

// word finds an enumeration's value by its name, without its prefix and in any case.
func word(text []byte, prefix string, values map[string]int32) (int32, *Rejection) {
	var buf [40]byte
	name := append(buf[:0], prefix...)
	for _, c := range text {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		name = append(name, c)
	}
	if n, ok := values[string(name)]; ok && n != 0 {
		return n, nil
	}
	var known []string
	for _, k := range sortedKeys(values) {
		if values[k] != 0 {
			known = append(known, strings.ToLower(strings.TrimPrefix(k, prefix)))
		}
	}
	slices.Sort(known)
	return 0, rejectf(ReasonWord, "", "is to be one of %s, this is %q; the step words translates", strings.Join(known, ", "), clip(text))
}

func setAutoplay(p *EventProgram, t *target, _ *expression, c *tabular.Cell) (r *Rejection) {
	t.Autoplay, r = truth(c, &p.scratch)
	return r
}

func setOccurredAt(p *EventProgram, t *target, e *expression, c *tabular.Cell) (r *Rejection) {
	if t.OccurredAt, r = e.times.read(c, &p.scratch); r != nil {
		return r
	}
	if t.OccurredAt <= 0 || t.OccurredAt > p.latest {
		return rejectf(ReasonTime, "", "is to be after 1970 and not in the future, this is %q%s", clip(p.scratch.text(c)), guess(c, p.scratch.text(c)))
	}
	return nil
}

// setSpan is for lengths of time.
func setSpan(field func(*target) *int64) func(*EventProgram, *target, *expression, *tabular.Cell) *Rejection {
	return func(p *EventProgram, t *target, e *expression, c *tabular.Cell) *Rejection {
		ms, r := span(c, &p.scratch, e.unit, t.DurationMs)
		*field(t) = ms
		return r
	}
}

// span reads a length of time in a unit as milliseconds, from none to seven days.
func span(c *tabular.Cell, s *scratch, unit string, duration int64) (int64, *Rejection) {
	if unit == "" || unit == "ms" {
		if c.Kind == tabular.Text {
			if n, ok := wholeNumber(c.Text); ok && n >= 0 && n <= watchevent.MaxSpanMS {
				return n, nil
			}
		}
		unit = "ms"
	}
	v, r := number(c, s)
	if r != nil {
		return 0, r
	}
	ms := v
	switch unit {
	case "s":
		ms *= 1000
	case "min":
		ms *= 60_000
	case "h":
		ms *= 3_600_000
	case "ratio":
		if duration == 0 {
			return 0, rejectf(ReasonMissing, "", "is a ratio of duration_ms, which this row does not have")
		}
		ms *= float64(duration)
	}
	if ms = math.Round(ms); ms < 0 || ms > watchevent.MaxSpanMS {
		return 0, rejectf(ReasonRange, "", "is to be from 0 to %d milliseconds (seven days), this is %q (%s)", watchevent.MaxSpanMS, clip(s.text(c)), unit)
	}
	return int64(ms), nil
}

func setSeen(p *EventProgram, t *target, e *expression, c *tabular.Cell) *Rejection {
	items := c.Items
	if c.Kind != tabular.List {
		items = splitText(p.scratch.text(c), []byte(","), &p.scratch)
	}
	for _, item := range items {
		one := tabular.Cell{Kind: tabular.Text, Text: item}
		id, r := p.id(e, &one)
		if r != nil {
			return r
		}
		t.SeenTitleIds = append(t.SeenTitleIds, t.batch.keep(id))
	}
	return nil
}

// Row makes a row's events and adds them to the batch: none when the mapping's filter leaves the row out. A row that is
// rejected adds none.
func (p *EventProgram) Row(row *tabular.Row, b *Batch) *Rejection {
	p.scratch.reset()
	if !p.passes(p.where, row) {
		b.Skipped++
		return nil
	}
	before := len(b.Events)
	for i := range p.templates {
		t := &p.templates[i]
		if !p.passes(t.where, row) {
			continue
		}
		if r := p.event(t, row, b); r != nil {
			b.cut(before)
			return r
		}
	}
	return nil
}

func (p *EventProgram) event(t *template, row *tabular.Row, b *Batch) *Rejection {
	to := target{WatchEvent: b.next(), batch: b}
	to.SchemaVersion = 1
	for i := range t.setters {
		s := &t.setters[i]
		c, r := s.e.eval(row, &p.program)
		if r == nil && c.Kind != tabular.Null {
			r = s.set(p, &to, s.e, &c)
		}
		if r != nil {
			return r.about(s.field, s.e.text)
		}
	}
	if to.ProfileId == "" || to.OccurredAt == 0 || to.Type == 0 {
		return missing(&to)
	}
	if r := p.identify(t, row, &to); r != nil {
		return r
	}
	watchevent.StampImport(to.WatchEvent, b.ReceivedAt, p.importID)
	if v := watchevent.Validate(to.WatchEvent); v != nil {
		reason := ReasonInvalid
		if strings.Contains(v[0].Message, "is required") {
			reason = ReasonMissing
		}
		return &Rejection{Reason: reason, Field: v[0].Field, Detail: watchevent.Describe(v)}
	}
	return nil
}

func missing(t *target) *Rejection {
	field := "type"
	switch {
	case t.ProfileId == "":
		field = "profile_id"
	case t.OccurredAt == 0:
		field = "occurred_at"
	}
	return rejectf(ReasonMissing, field, "%s has no value in this row", field)
}

// identify gives the event its id: the row's own if that is a UUID of version 7, one derived from the row's own, or one
// derived from everything that was mapped, so that the same row is the same event whenever it is imported.
func (p *EventProgram) identify(t *template, row *tabular.Row, to *target) *Rejection {
	var id watchevent.ID
	if t.eventID != nil {
		c, r := t.eventID.eval(row, &p.program)
		if r != nil {
			return r.about("event_id", t.eventID.text)
		}
		own := p.scratch.text(&c)
		if len(own) == 0 {
			return rejectf(ReasonMissing, "event_id", "event_id has no value in this row")
		}
		if text := unsafeString(own); watchevent.IsID(text) {
			to.EventId = to.batch.keep(own)
		} else {
			id = watchevent.DeriveID(to.OccurredAt, "row", p.namespace, t.tag, text)
		}
	} else {
		id = p.derive(t, to)
	}
	if to.EventId == "" {
		to.EventId = to.batch.keepID(id)
	}
	if !t.playID {
		to.PlayId = to.EventId
	}
	return nil
}

// derive hashes what was mapped.
func (p *EventProgram) derive(t *template, to *target) watchevent.ID {
	e := to.WatchEvent
	var buf [96]byte
	b := buf[:0]
	for _, n := range [...]int64{int64(e.Type), e.OccurredAt, e.PositionMs, e.WatchedMs, e.DurationMs, int64(e.DeviceClass)} {
		b = binary.AppendVarint(b, n)
	}
	for _, n := range [...]*uint32{e.Row, e.Rank} {
		if n != nil {
			b = binary.AppendUvarint(b, uint64(*n)+1)
		} else {
			b = append(b, 0)
		}
	}
	if e.Autoplay {
		b = append(b, 1)
	}
	seen := strings.Join(e.SeenTitleIds, "\x00")
	return watchevent.DeriveID(e.OccurredAt, "values", p.namespace, t.tag, e.ProfileId, e.TitleId, e.PlayableId, e.PlayId, e.SessionId, e.Country,
		e.Surface, e.Query, e.RequestId, seen, unsafeString(b))
}

// unsafeString is text's bytes as a string, for calls that do not keep it.
func unsafeString(text []byte) string { return unsafe.String(unsafe.SliceData(text), len(text)) }
