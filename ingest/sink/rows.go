package sink

import (
	"fmt"
	"strings"

	"marquee/ingest/events"
	ingestv1 "marquee/ingest/v1"
)

// names are the lake's names of the enums' values.
type names struct {
	types, devices map[int8]string
	// numbers are the same the other way round.
	typeNumbers, deviceNumbers map[string]int8
}

func enumNames() names {
	n := names{map[int8]string{}, map[int8]string{}, map[string]int8{}, map[string]int8{}}
	for number, name := range ingestv1.EventType_name {
		name = strings.ToLower(strings.TrimPrefix(name, "EVENT_TYPE_"))
		n.types[int8(number)], n.typeNumbers[name] = name, int8(number)
	}
	for number, name := range ingestv1.DeviceClass_name {
		name = strings.ToLower(strings.TrimPrefix(name, "DEVICE_CLASS_"))
		n.devices[int8(number)], n.deviceNumbers[name] = name, int8(number)
	}
	return n
}

// RowReader turns the lake's rows back into batches.
type RowReader struct{ names names }

// NewRowReader makes a reader of rows.
func NewRowReader() *RowReader { return &RowReader{enumNames()} }

// Add appends a row of the lake. It keeps nothing of the row but its strings. A row that no release up to this one can
// have written is an error.
func (n *RowReader) Add(b *Batch, r *events.Row) error {
	kind, ok := n.names.typeNumbers[r.Type]
	if !ok {
		return fmt.Errorf("the event at %d/%d has the type %q, which this release does not know: use the one that wrote it", r.KafkaPartition, r.KafkaOffset, r.Type)
	}
	device, ok := n.names.deviceNumbers[r.DeviceClass]
	if !ok {
		return fmt.Errorf("the event at %d/%d has the device class %q, which this release does not know: use the one that wrote it", r.KafkaPartition, r.KafkaOffset, r.DeviceClass)
	}
	for _, v := range []*uint32{r.Row, r.Rank} {
		if v != nil && *v >= maxSmall {
			return fmt.Errorf("the event at %d/%d has the row or rank %d, below %d is right", r.KafkaPartition, r.KafkaOffset, *v, maxSmall)
		}
	}
	b.eventID = append(b.eventID, r.EventID)
	b.schemaVersion = append(b.schemaVersion, uint16(r.SchemaVersion))
	b.profileID = append(b.profileID, r.ProfileID)
	b.titleID = append(b.titleID, r.TitleID)
	b.playableID = append(b.playableID, r.PlayableID)
	b.playID = append(b.playID, r.PlayID)
	b.eventType = append(b.eventType, kind)
	b.occurredAt = append(b.occurredAt, r.OccurredAt)
	b.receivedAt = append(b.receivedAt, r.ReceivedAt)
	b.sessionID = append(b.sessionID, r.SessionID)
	b.deviceClass = append(b.deviceClass, device)
	b.country = append(b.country, r.Country)
	b.surface = append(b.surface, r.Surface)
	b.autoplay = append(b.autoplay, r.Autoplay)
	b.positionMS = append(b.positionMS, r.PositionMS)
	b.watchedMS = append(b.watchedMS, r.WatchedMS)
	b.durationMS = append(b.durationMS, r.DurationMS)
	b.query = append(b.query, r.Query)
	b.requestID = append(b.requestID, r.RequestID)
	b.row = append(b.row, b.nullable(r.Row))
	b.rank = append(b.rank, b.nullable(r.Rank))
	b.seen = append(b.seen, append([]string(nil), r.SeenTitleIDs...))
	b.importID = append(b.importID, r.ImportID)
	b.clockSkew = append(b.clockSkew, r.ClockSkew)
	b.partition = append(b.partition, r.KafkaPartition)
	b.offset = append(b.offset, r.KafkaOffset)
	b.unknown = append(b.unknown, string(r.UnknownFields))
	return nil
}
