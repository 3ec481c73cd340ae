package features

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"marquee/features/snapshot"
)

// column is where one column of a query's rows goes.
type column interface {
	// dest is what rows.Scan fills.
	dest() any
	// encode appends the scanned value in its canonical form: whole numbers, times (microseconds since the Unix epoch)
	// and truth values as 8 bytes little-endian, text as its length so and its bytes, lists as their length so and their
	// elements.
	encode([]byte) []byte
	// add appends the scanned value to the Arrow column.
	add()
}

// columnOf maps a ClickHouse type to what a set may hold.
func columnOf(name, dbType string) (snapshot.Type, arrow.Field, func(array.Builder) column, error) {
	micros := &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	field := func(t arrow.DataType) arrow.Field { return arrow.Field{Name: name, Type: t} }
	switch t := plainType(dbType); t {
	case "String":
		return snapshot.String, field(arrow.BinaryTypes.String), newScalar(appendText, (*array.StringBuilder).Append), nil
	case "Bool":
		return snapshot.Bool, field(arrow.FixedWidthTypes.Boolean), newScalar(appendBool, (*array.BooleanBuilder).Append), nil
	case "Int32":
		return snapshot.Int32, field(arrow.PrimitiveTypes.Int32), newScalar(appendInt[int32], (*array.Int32Builder).Append), nil
	case "Int64":
		return snapshot.Int64, field(arrow.PrimitiveTypes.Int64), newScalar(appendInt[int64], (*array.Int64Builder).Append), nil
	case "UInt32":
		return snapshot.Uint32, field(arrow.PrimitiveTypes.Uint32), newScalar(appendInt[uint32], (*array.Uint32Builder).Append), nil
	case "UInt64":
		return snapshot.Uint64, field(arrow.PrimitiveTypes.Uint64), newScalar(appendInt[uint64], (*array.Uint64Builder).Append), nil
	case "DateTime64":
		return snapshot.Timestamp, field(micros), newScalar(appendTime, addTime), nil
	case "Array(String)":
		return snapshot.StringList, field(listOf(arrow.BinaryTypes.String)), newList(appendText, (*array.StringBuilder).Append), nil
	case "Array(Int32)":
		return snapshot.Int32List, field(listOf(arrow.PrimitiveTypes.Int32)), newList(appendInt[int32], (*array.Int32Builder).Append), nil
	case "Array(DateTime64)":
		return snapshot.TimestampList, field(listOf(micros)), newList(appendTime, addTime), nil
	default:
		return "", arrow.Field{}, nil, fmt.Errorf("column %s has type %s, which a feature set may not have: use String, Bool, "+
			"Int32, Int64, UInt32, UInt64, DateTime64(6, 'UTC') or an Array of String, Int32 or DateTime64 (a sum of floats depends "+
			"on the order of its parts)", name, dbType)
	}
}

func listOf(t arrow.DataType) arrow.DataType { return arrow.ListOfNonNullable(t) }

// plainType reduces a ClickHouse type to what matters here: LowCardinality is an encoding, and of times only microseconds
// in UTC have a plain name.
func plainType(t string) string {
	t = strings.ReplaceAll(t, "DateTime64(6, 'UTC')", "DateTime64")
	if inner, ok := strings.CutPrefix(t, "LowCardinality("); ok {
		return strings.TrimSuffix(inner, ")")
	}
	return t
}

// scalar is a column of single values.
type scalar[T any, B array.Builder] struct {
	value   T
	builder B
	enc     func([]byte, T) []byte
	append  func(B, T)
}

func newScalar[T any, B array.Builder](enc func([]byte, T) []byte, add func(B, T)) func(array.Builder) column {
	return func(b array.Builder) column {
		return &scalar[T, B]{builder: b.(B), enc: enc, append: add}
	}
}

func (c *scalar[T, B]) dest() any                { return &c.value }
func (c *scalar[T, B]) encode(buf []byte) []byte { return c.enc(buf, c.value) }
func (c *scalar[T, B]) add()                     { c.append(c.builder, c.value) }

// list is a column of lists.
type list[T any, B array.Builder] struct {
	value  []T
	lists  *array.ListBuilder
	values B
	enc    func([]byte, T) []byte
	append func(B, T)
}

func newList[T any, B array.Builder](enc func([]byte, T) []byte, add func(B, T)) func(array.Builder) column {
	return func(b array.Builder) column {
		lists := b.(*array.ListBuilder)
		return &list[T, B]{lists: lists, values: lists.ValueBuilder().(B), enc: enc, append: add}
	}
}

func (c *list[T, B]) dest() any { return &c.value }

func (c *list[T, B]) encode(buf []byte) []byte {
	buf = binary.LittleEndian.AppendUint64(buf, uint64(len(c.value)))
	for _, v := range c.value {
		buf = c.enc(buf, v)
	}
	return buf
}

func (c *list[T, B]) add() {
	c.lists.Append(true)
	for _, v := range c.value {
		c.append(c.values, v)
	}
}

func appendInt[T int32 | int64 | uint32 | uint64](buf []byte, v T) []byte {
	return binary.LittleEndian.AppendUint64(buf, uint64(v))
}

func appendText(buf []byte, v string) []byte {
	return append(binary.LittleEndian.AppendUint64(buf, uint64(len(v))), v...)
}

func appendBool(buf []byte, v bool) []byte {
	var n uint64
	if v {
		n = 1
	}
	return binary.LittleEndian.AppendUint64(buf, n)
}

func appendTime(buf []byte, v time.Time) []byte {
	return binary.LittleEndian.AppendUint64(buf, uint64(v.UnixMicro()))
}

func addTime(b *array.TimestampBuilder, v time.Time) { b.Append(arrow.Timestamp(v.UnixMicro())) }
