package ingest

import (
	"bytes"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

// HandlerOption makes a handler of the service read requests at the ingest rate: a batch of a hundred events in a handful of
// allocations instead of a thousand.
func HandlerOption() connect.HandlerOption { return connect.WithCodec(codec{}) }

// codec is connect's codec for binary protobuf, but for how it reads batches of events.
type codec struct{}

// Name is that of the codec it stands for.
func (codec) Name() string { return "proto" }

// Marshal encodes a message.
func (c codec) Marshal(message any) ([]byte, error) { return c.MarshalAppend(nil, message) }

// MarshalAppend appends an encoded message to dst; connect uses it where it has a buffer.
func (codec) MarshalAppend(dst []byte, message any) ([]byte, error) {
	m, ok := message.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is no protobuf message", message)
	}
	return proto.MarshalOptions{}.MarshalAppend(dst, m)
}

// Unmarshal reads a message. data is connect's own and used again, so events, which alias what they are read from, get a copy.
func (codec) Unmarshal(data []byte, message any) (err error) {
	switch m := message.(type) {
	case *ingestv1.RecordEventsRequest:
		m.Events, err = watchevent.DecodeBatch(bytes.Clone(data))
		return err
	case *ingestv1.RecordEventStreamRequest:
		m.Events, err = watchevent.DecodeBatch(bytes.Clone(data))
		return err
	case proto.Message:
		return proto.Unmarshal(data, m)
	default:
		return fmt.Errorf("%T is no protobuf message", message)
	}
}
