package watchevent

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	ingestv1 "marquee/ingest/v1"
)

// batchField is the field of RecordEventsRequest and RecordEventStreamRequest that holds the events.
const batchField protowire.Number = 1

// DecodeBatch reads the events of a RecordEventsRequest or RecordEventStreamRequest from its wire form, all of them in one
// piece of memory. It accepts and refuses what proto.Unmarshal does, and gives the same events. They and their strings
// alias data, which must not change any more.
func DecodeBatch(data []byte) ([]*ingestv1.WatchEvent, error) {
	n, err := eachEvent(data, func([]byte) error { return nil })
	if err != nil || n == 0 {
		return nil, err
	}
	decoders, events := make([]Decoder, n), make([]*ingestv1.WatchEvent, 0, n)
	_, err = eachEvent(data, func(value []byte) error {
		i := len(events)
		e, err := decoders[i].Decode(value)
		if err != nil {
			return fmt.Errorf("events[%d]: %w", i, err)
		}
		events = append(events, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return events, nil
}

// eachEvent calls take with the wire form of every event and returns how many there are.
func eachEvent(data []byte, take func([]byte) error) (int, error) {
	count := 0
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return 0, fmt.Errorf("not a protobuf message: %w", protowire.ParseError(n))
		}
		if num > protowire.MaxValidNumber {
			return 0, fmt.Errorf("not a protobuf message: field number %d is out of range", num)
		}
		data = data[n:]
		if num != batchField || typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, data); n < 0 {
				return 0, fmt.Errorf("field %d: %w", num, protowire.ParseError(n))
			}
			data = data[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(data)
		if n < 0 {
			return 0, fmt.Errorf("events[%d]: %w", count, protowire.ParseError(n))
		}
		if err := take(value); err != nil {
			return 0, err
		}
		count++
		data = data[n:]
	}
	return count, nil
}
