package watchevent

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	ingestv1 "marquee/ingest/v1"
)

// UnknownJSON is the number of the unknown field that holds, as one JSON object, the keys of a JSON record that this
// release does not know. The contract reserves it.
const UnknownJSON protowire.Number = 1000

// fromJSON reads an event in protobuf's JSON form. A newer client's keys are no mistake: they are kept.
func fromJSON(data []byte) (*ingestv1.WatchEvent, error) {
	e := new(ingestv1.WatchEvent)
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, e); err != nil {
		return nil, err
	}
	rest, err := unknownKeys(data, e.ProtoReflect().Descriptor().Fields())
	if err != nil {
		return nil, err
	}
	if rest != nil {
		e.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, UnknownJSON, protowire.BytesType), rest))
	}
	return e, nil
}

// unknownKeys returns the object's members that are no fields, in order of their keys, or nil when there are none.
func unknownKeys(data []byte, fields protoreflect.FieldDescriptors) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, fmt.Errorf("read the keys of a JSON event: %w", err)
	}
	for key := range members {
		if fields.ByJSONName(key) != nil || fields.ByTextName(key) != nil {
			delete(members, key)
		}
	}
	if len(members) == 0 {
		return nil, nil
	}
	out, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("keep the unknown keys of a JSON event: %w", err)
	}
	return out, nil
}
