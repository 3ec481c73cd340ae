package watchevent

import (
	"errors"
	"fmt"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	ingestv1 "marquee/ingest/v1"
)

// errInvalidUTF8 is proto3's rule for strings.
var errInvalidUTF8 = errors.New("is not valid UTF-8")

// Decoder reads WatchEvents from their wire form without allocating: the event and its strings live in the decoder and
// in the record, its unknown fields too. It accepts, refuses and keeps what proto.Unmarshal does: a fuzz test says so.
//
// A Decoder is for one goroutine.
type Decoder struct {
	event     ingestv1.WatchEvent
	row, rank uint32
	seen      []string
	// unknown are the fields that this release does not know, as they came.
	unknown []byte
}

// Decode reads one event. What it returns is valid until the next call, and its strings alias data: copy what outlives
// either.
func (d *Decoder) Decode(data []byte) (*ingestv1.WatchEvent, error) {
	d.reset()
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil, fmt.Errorf("not a protobuf message: %w", protowire.ParseError(n))
		}
		if num > protowire.MaxValidNumber {
			return nil, fmt.Errorf("not a protobuf message: field number %d is out of range", num)
		}
		tag := n
		n, known, err := d.field(num, typ, data[tag:])
		if err != nil {
			return nil, err
		}
		if !known {
			// As proto.Unmarshal keeps them: the tag in its shortest form, the value as it came.
			d.unknown = append(protowire.AppendTag(d.unknown, num, typ), data[tag:tag+n]...)
		}
		data = data[tag+n:]
	}
	if len(d.unknown) > 0 {
		d.event.ProtoReflect().SetUnknown(d.unknown)
	}
	if len(d.seen) > 0 {
		d.event.SeenTitleIds = d.seen
	}
	return &d.event, nil
}

func (d *Decoder) reset() {
	e := &d.event
	e.EventId, e.SchemaVersion, e.ProfileId, e.TitleId, e.PlayableId, e.PlayId = "", 0, "", "", "", ""
	e.Type, e.OccurredAt, e.ReceivedAt, e.SessionId, e.DeviceClass, e.Country = 0, 0, 0, "", 0, ""
	e.Surface, e.Autoplay, e.PositionMs, e.WatchedMs, e.DurationMs = "", false, 0, 0, 0
	e.Query, e.RequestId, e.Row, e.Rank, e.SeenTitleIds, e.ImportId, e.ClockSkew = "", "", nil, nil, nil, "", 0
	d.seen = d.seen[:0]
	if len(d.unknown) > 0 {
		e.ProtoReflect().SetUnknown(nil)
		d.unknown = d.unknown[:0]
	}
}

// field reads one field's value and returns its length and whether it was known. A known field of another wire type is an
// unknown field.
func (d *Decoder) field(num protowire.Number, typ protowire.Type, data []byte) (n int, known bool, err error) {
	switch typ {
	case protowire.BytesType:
		value, n := protowire.ConsumeBytes(data)
		if n < 0 {
			return 0, false, fmt.Errorf("field %d: %w", num, protowire.ParseError(n))
		}
		known, err := d.text(num, value)
		return n, known, err
	case protowire.VarintType:
		value, n := protowire.ConsumeVarint(data)
		if n < 0 {
			return 0, false, fmt.Errorf("field %d: %w", num, protowire.ParseError(n))
		}
		return n, d.number(num, value), nil
	default:
		n := protowire.ConsumeFieldValue(num, typ, data)
		if n < 0 {
			return 0, false, fmt.Errorf("field %d: %w", num, protowire.ParseError(n))
		}
		return n, false, nil
	}
}

func (d *Decoder) text(num protowire.Number, value []byte) (known bool, err error) {
	e := &d.event
	var to *string
	switch num {
	case 1:
		to = &e.EventId
	case 3:
		to = &e.ProfileId
	case 4:
		to = &e.TitleId
	case 5:
		to = &e.PlayableId
	case 6:
		to = &e.PlayId
	case 10:
		to = &e.SessionId
	case 12:
		to = &e.Country
	case 13:
		to = &e.Surface
	case 18:
		to = &e.Query
	case 19:
		to = &e.RequestId
	case 22:
		d.seen = append(d.seen, "")
		to = &d.seen[len(d.seen)-1]
	case 23:
		to = &e.ImportId
	default:
		return false, nil
	}
	if !utf8.Valid(value) {
		return true, fmt.Errorf("field %d %w", num, errInvalidUTF8)
	}
	*to = unsafe.String(unsafe.SliceData(value), len(value))
	return true, nil
}

func (d *Decoder) number(num protowire.Number, value uint64) (known bool) {
	e := &d.event
	switch num {
	case 2:
		e.SchemaVersion = uint32(value)
	case 7:
		e.Type = ingestv1.EventType(value)
	case 8:
		e.OccurredAt = int64(value)
	case 9:
		e.ReceivedAt = int64(value)
	case 11:
		e.DeviceClass = ingestv1.DeviceClass(value)
	case 14:
		e.Autoplay = value != 0
	case 15:
		e.PositionMs = int64(value)
	case 16:
		e.WatchedMs = int64(value)
	case 17:
		e.DurationMs = int64(value)
	case 20:
		d.row = uint32(value)
		e.Row = &d.row
	case 21:
		d.rank = uint32(value)
		e.Rank = &d.rank
	case 24:
		e.ClockSkew = int64(value)
	default:
		return false
	}
	return true
}
