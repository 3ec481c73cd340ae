package watchevent

import (
	"fmt"
	"strings"

	ingestv1 "marquee/ingest/v1"
)

// Reason is why a record became a dead letter, coarse enough to count by.
type Reason string

// The reasons.
const (
	ReasonContentType Reason = "content_type"
	ReasonNotProto    Reason = "not_protobuf"
	ReasonNotJSON     Reason = "not_json"
	ReasonInvalid     Reason = "invalid"
)

// Refusal says why a record is not a watch event.
type Refusal struct {
	Reason Reason
	Detail string
}

func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Detail }

// Record is what the broker holds, as far as reading an event needs it.
type Record struct {
	Value []byte
	// ContentType is the content-type header's value; empty means protobuf.
	ContentType string
	// Timestamp is the record's own, in microseconds since the Unix epoch; 0 or less when it has none.
	Timestamp int64
}

// Read reads and checks the event in a broker record. It depends on the record alone, so reading a range again after a
// crash gives the same events and the same refusals. What it returns is valid until the next call.
//
// Marquee's own producers stamp received_at. A record without it was produced straight to the topic: it gets the
// record's timestamp, and its clock is judged as a live client's.
func (d *Decoder) Read(r Record) (*ingestv1.WatchEvent, *Refusal) {
	e, refusal := d.parse(r)
	if refusal != nil {
		return nil, refusal
	}
	if e.ReceivedAt == 0 {
		e.ReceivedAt = max(r.Timestamp, 0)
		if e.ImportId == "" {
			e.ClockSkew = ClockSkew(e.OccurredAt, e.ReceivedAt)
		}
	}
	if v := Validate(e); v != nil {
		return nil, &Refusal{Reason: ReasonInvalid, Detail: Describe(v)}
	}
	if e.ReceivedAt <= 0 || e.ReceivedAt >= MaxTime {
		return nil, &Refusal{ReasonInvalid, fmt.Sprintf("received_at: must be after 1970 and before 2100, is %d", e.ReceivedAt)}
	}
	if len(e.ImportId) > MaxIDBytes {
		return nil, &Refusal{ReasonInvalid, fmt.Sprintf("import_id: must have at most %d bytes, has %d", MaxIDBytes, len(e.ImportId))}
	}
	return e, nil
}

func (d *Decoder) parse(r Record) (*ingestv1.WatchEvent, *Refusal) {
	mediaType, _, _ := strings.Cut(r.ContentType, ";")
	switch strings.TrimSpace(mediaType) {
	case "", ingestv1.ContentTypeProto:
		e, err := d.Decode(r.Value)
		if err != nil {
			return nil, &Refusal{ReasonNotProto, err.Error()}
		}
		return e, nil
	case ingestv1.ContentTypeJSON:
		e, err := fromJSON(r.Value)
		if err != nil {
			return nil, &Refusal{ReasonNotJSON, err.Error()}
		}
		return e, nil
	default:
		return nil, &Refusal{ReasonContentType, fmt.Sprintf("content-type must be %s or %s, is %q",
			ingestv1.ContentTypeProto, ingestv1.ContentTypeJSON, clip(r.ContentType))}
	}
}

// Describe puts violations into one line.
func Describe(violations []*ingestv1.FieldViolation) string {
	var b strings.Builder
	for i, v := range violations {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(v.Field)
		b.WriteByte(' ')
		b.WriteString(v.Message)
	}
	return b.String()
}
