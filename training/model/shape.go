package model

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	flatbuffers "github.com/google/flatbuffers/go"
)

// Slots of the tables of Arrow's File.fbs, Schema.fbs and Message.fbs, as offsets into a table's vtable.
const (
	footerSchema       flatbuffers.VOffsetT = 4 + 2*1
	footerDictionaries flatbuffers.VOffsetT = 4 + 2*2
	footerBatches      flatbuffers.VOffsetT = 4 + 2*3
	schemaFields       flatbuffers.VOffsetT = 4 + 2*1
	schemaMetadata     flatbuffers.VOffsetT = 4 + 2*2
	fieldDictionary    flatbuffers.VOffsetT = 4 + 2*4
	fieldChildren      flatbuffers.VOffsetT = 4 + 2*5
	fieldMetadata      flatbuffers.VOffsetT = 4 + 2*6
	messageHeader      flatbuffers.VOffsetT = 4 + 2*2
	messageMetadata    flatbuffers.VOffsetT = 4 + 2*4
	batchCompression   flatbuffers.VOffsetT = 4 + 2*3
)

const arrowMagic = "ARROW1"

var errShape = errors.New("not laid out as a bundle's tables are")

// checkShape looks at the counts in an Arrow file's metadata before Arrow's reader does. That reader allocates as much
// as a count says before it reads what is counted, so a damaged count could take all memory; here a file must
// have the columns of schema, one uncompressed batch, and no dictionaries or custom metadata. Reads outside the data
// panic, which the caller turns into an error.
func checkShape(data []byte, schema *arrow.Schema) error {
	tail := len(data) - len(arrowMagic) - 4
	if tail < 8 || string(data[tail+4:]) != arrowMagic {
		return fmt.Errorf("%w: no Arrow footer", errShape)
	}
	size := int64(binary.LittleEndian.Uint32(data[tail:]))
	if size < 8 || size > int64(tail) {
		return fmt.Errorf("%w: a footer of %d bytes", errShape, size)
	}
	footer := root(data[tail-int(size) : tail])
	if footer.count(footerDictionaries) != 0 || footer.count(footerBatches) != 1 {
		return fmt.Errorf("%w: %d dictionaries and %d batches, want none and 1",
			errShape, footer.count(footerDictionaries), footer.count(footerBatches))
	}
	s, ok := footer.child(footerSchema)
	if !ok || s.count(schemaMetadata) != 0 {
		return fmt.Errorf("%w: no schema, or one with metadata", errShape)
	}
	if err := checkFields(s, schemaFields, schema.Fields()); err != nil {
		return err
	}
	return checkBatch(data, footer)
}

func checkFields(t table, slot flatbuffers.VOffsetT, want []arrow.Field) error {
	if t.count(slot) != len(want) {
		return fmt.Errorf("%w: %d columns, want %d", errShape, t.count(slot), len(want))
	}
	for i, field := range want {
		f := t.element(slot, i)
		if _, dictionary := f.child(fieldDictionary); dictionary || f.count(fieldMetadata) != 0 {
			return fmt.Errorf("%w: column %s is dictionary-encoded or has metadata", errShape, field.Name)
		}
		var children []arrow.Field
		if nested, ok := field.Type.(arrow.NestedType); ok {
			children = nested.Fields()
		}
		if err := checkFields(f, fieldChildren, children); err != nil {
			return err
		}
	}
	return nil
}

// checkBatch looks at the one batch's header, whose place the footer gives: offset int64, length of metadata int32.
func checkBatch(data []byte, footer table) error {
	at := footer.Vector(flatbuffers.UOffsetT(footer.Offset(footerBatches)))
	offset, length := footer.GetInt64(at), int64(footer.GetInt32(at+8))
	if offset < 0 || length < 16 || offset > int64(len(data))-length {
		return fmt.Errorf("%w: a batch at %d with %d bytes of metadata", errShape, offset, length)
	}
	head := data[offset : offset+length]
	if binary.LittleEndian.Uint32(head) != 0xffffffff {
		return fmt.Errorf("%w: a batch of an old Arrow format", errShape)
	}
	message := root(head[8:])
	batch, ok := message.child(messageHeader)
	if !ok || message.count(messageMetadata) != 0 {
		return fmt.Errorf("%w: a batch without header, or with metadata", errShape)
	}
	if _, compressed := batch.child(batchCompression); compressed {
		return fmt.Errorf("%w: a compressed batch, which cannot be mapped", errShape)
	}
	return nil
}

// table is a flatbuffers table.
type table struct{ flatbuffers.Table }

func root(buf []byte) table {
	return table{flatbuffers.Table{Bytes: buf, Pos: flatbuffers.GetUOffsetT(buf)}}
}

// count returns the length of the vector in a slot, 0 where there is none.
func (t table) count(slot flatbuffers.VOffsetT) int {
	if o := t.Offset(slot); o != 0 {
		return t.VectorLen(flatbuffers.UOffsetT(o))
	}
	return 0
}

// child returns the table in a slot.
func (t table) child(slot flatbuffers.VOffsetT) (table, bool) {
	o := t.Offset(slot)
	if o == 0 {
		return table{}, false
	}
	return table{flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(t.Pos + flatbuffers.UOffsetT(o))}}, true
}

// element returns table i of the vector in a slot that has one.
func (t table) element(slot flatbuffers.VOffsetT, i int) table {
	at := t.Vector(flatbuffers.UOffsetT(t.Offset(slot))) + flatbuffers.UOffsetT(4*i)
	return table{flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(at)}}
}
