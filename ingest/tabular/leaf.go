package tabular

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// leaf is a column of Parquet that can be read: of single values, or of lists of them.
type leaf struct {
	name  string
	kind  string
	index int
	list  bool
	// convert puts a value that is not null into a cell; nil when values of this kind cannot be.
	convert func(v *parquet.Value, c *Cell)
}

// leavesOf finds the columns of a schema: fields within groups by their path, lists by the path of the list.
func leavesOf(schema *parquet.Schema) ([]leaf, error) {
	var out []leaf
	for _, path := range schema.Columns() {
		column, ok := schema.Lookup(path...)
		if !ok {
			return nil, fmt.Errorf("the schema has no column %s", strings.Join(path, "."))
		}
		l := leaf{name: strings.Join(path, "."), index: column.ColumnIndex, kind: column.Node.Type().String()}
		switch column.MaxRepetitionLevel {
		case 0:
			l.convert = converter(column.Node.Type())
		case 1:
			l.list, l.name = true, listName(schema, path)
			l.convert = converter(column.Node.Type())
		default:
			l.kind = "lists within lists"
		}
		out = append(out, l)
	}
	return out, nil
}

// listName is the path down to what repeats, or to the list around it: list.element and its like are no one's names.
func listName(schema *parquet.Schema, path []string) string {
	var node parquet.Node = schema
	for i, name := range path {
		node = field(node, name)
		if node == nil {
			break
		}
		if t := node.Type(); node.Repeated() || t != nil && t.LogicalType() != nil && isList(t.LogicalType()) {
			if i == len(path)-1 || len(path)-i <= 3 {
				return strings.Join(path[:i+1], ".")
			}
			return strings.Join(path, ".") // a list of groups: the field within is told by its whole path
		}
	}
	return strings.Join(path, ".")
}

func isList(t *format.LogicalType) bool {
	_, ok := t.Value.(*format.ListType)
	return ok
}

func field(node parquet.Node, name string) parquet.Node {
	for _, f := range node.Fields() {
		if f.Name() == name {
			return f
		}
	}
	return nil
}

// column reads one column of one row group.
type column struct {
	leaf   leaf
	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	buf    [256]parquet.Value
	at, n  int
	// text holds a list's items: they may come from several pages.
	text []byte
	ends []int
}

// errColumnShort says that a column has fewer values than its row group rows.
var errColumnShort = errors.New("the column ends before its row group does")

// peek returns the next value; io.EOF is the column's end.
func (c *column) peek() (*parquet.Value, error) {
	for c.at == c.n {
		if c.values == nil {
			page, err := c.pages.ReadPage()
			if err != nil {
				return nil, err
			}
			c.release()
			c.page, c.values = page, page.Values()
		}
		n, err := c.values.ReadValues(c.buf[:])
		c.at, c.n = 0, n
		if errors.Is(err, io.EOF) {
			c.values = nil
		} else if err != nil {
			return nil, err
		} else if n == 0 {
			return nil, io.ErrNoProgress
		}
	}
	return &c.buf[c.at], nil
}

func (c *column) release() {
	if c.page != nil {
		parquet.Release(c.page)
		c.page = nil
	}
}

func (c *column) close() error {
	c.release()
	return c.pages.Close()
}

// next reads a row's value, or list of values.
func (c *column) next(cell *Cell) error {
	v, err := c.peek()
	if errors.Is(err, io.EOF) {
		return errColumnShort
	}
	if err != nil {
		return err
	}
	if c.leaf.list {
		return c.nextList(v, cell)
	}
	c.at++
	if !v.IsNull() {
		c.leaf.convert(v, cell)
	}
	return nil
}

func (c *column) nextList(v *parquet.Value, cell *Cell) error {
	c.text, c.ends = c.text[:0], c.ends[:0]
	for first := true; first || v.RepetitionLevel() > 0; first = false {
		c.at++
		if !v.IsNull() {
			var item Cell
			c.leaf.convert(v, &item)
			c.text = item.AppendText(c.text)
			c.ends = append(c.ends, len(c.text))
		}
		var err error
		if v, err = c.peek(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	cell.Kind, cell.Items = List, cell.Items[:0]
	from := 0
	for _, end := range c.ends {
		cell.Items = append(cell.Items, c.text[from:end:end])
		from = end
	}
	return nil
}

// converter chooses how values of a type become cells; nil is for types that do not.
func converter(t parquet.Type) func(*parquet.Value, *Cell) {
	if convert := annotated(t); convert != nil {
		return convert
	}
	switch t.Kind() {
	case parquet.Boolean:
		return func(v *parquet.Value, c *Cell) { setText(c, strconv.AppendBool(nil, v.Boolean())) }
	case parquet.Int32:
		return func(v *parquet.Value, c *Cell) { c.Kind, c.Int = Int, int64(v.Int32()) }
	case parquet.Int64:
		return func(v *parquet.Value, c *Cell) { c.Kind, c.Int = Int, v.Int64() }
	case parquet.Int96:
		return func(v *parquet.Value, c *Cell) { c.Kind, c.Int = Time, int96Micros(v.Int96()) }
	case parquet.Float:
		return func(v *parquet.Value, c *Cell) { c.Kind, c.Float = Float, float64(v.Float()) }
	case parquet.Double:
		return func(v *parquet.Value, c *Cell) { c.Kind, c.Float = Float, v.Double() }
	case parquet.ByteArray, parquet.FixedLenByteArray:
		return func(v *parquet.Value, c *Cell) { setText(c, v.ByteArray()) }
	}
	return nil
}

// annotated is for types that mean more than their physical kind; nil for the others.
func annotated(t parquet.Type) func(*parquet.Value, *Cell) {
	if logical := t.LogicalType(); logical != nil {
		switch l := logical.Value.(type) {
		case *format.TimestampType:
			return moment(l.Unit.String())
		case *format.DateType:
			return day
		case *format.DecimalType:
			return decimal(t.Kind(), int(l.Scale))
		case *format.UUIDType:
			return uuidText
		case *format.IntType:
			return whole(t.Kind(), l.IsSigned)
		}
		return nil
	}
	converted := t.ConvertedType()
	if converted == nil {
		return nil
	}
	switch *converted {
	case deprecated.TimestampMillis:
		return moment("MILLIS")
	case deprecated.TimestampMicros:
		return moment("MICROS")
	case deprecated.Date:
		return day
	case deprecated.Uint32, deprecated.Uint64:
		return whole(t.Kind(), false)
	}
	return nil
}

func moment(unit string) func(*parquet.Value, *Cell) {
	switch unit {
	case "NANOS":
		return func(v *parquet.Value, c *Cell) { c.Kind, c.Int = Time, v.Int64()/1000 }
	case "MICROS":
		return func(v *parquet.Value, c *Cell) { c.Kind, c.Int = Time, v.Int64() }
	}
	return func(v *parquet.Value, c *Cell) {
		// What is beyond the range stays beyond it.
		const limit = int64(1<<63-1) / 1000
		c.Kind, c.Int = Time, 1000*min(max(v.Int64(), -limit), limit)
	}
}

const dayMicros = 86_400_000_000

func day(v *parquet.Value, c *Cell) { c.Kind, c.Int = Time, int64(v.Int32())*dayMicros }

// int96Micros reads the timestamps of older writers: nanoseconds of a day, and the Julian day.
func int96Micros(v deprecated.Int96) int64 {
	const epoch = 2_440_588
	return (int64(v[2])-epoch)*dayMicros + int64(uint64(v[1])<<32|uint64(v[0]))/1000
}

func uuidText(v *parquet.Value, c *Cell) {
	if id, err := uuid.FromBytes(v.ByteArray()); err == nil {
		setText(c, []byte(id.String()))
		return
	}
	setText(c, v.ByteArray())
}

func whole(kind parquet.Kind, signed bool) func(*parquet.Value, *Cell) {
	switch {
	case signed:
		return nil
	case kind == parquet.Int32:
		return func(v *parquet.Value, c *Cell) { c.Kind, c.Int = Int, int64(v.Uint32()) }
	}
	return func(v *parquet.Value, c *Cell) { setText(c, strconv.AppendUint(nil, v.Uint64(), 10)) }
}

// decimal writes whole numbers of 10^-scale out.
func decimal(kind parquet.Kind, scale int) func(*parquet.Value, *Cell) {
	return func(v *parquet.Value, c *Cell) {
		n := new(big.Int)
		switch kind {
		case parquet.Int32:
			n.SetInt64(int64(v.Int32()))
		case parquet.Int64:
			n.SetInt64(v.Int64())
		default:
			n = signedBig(v.ByteArray())
		}
		setText(c, []byte(scaled(n, scale)))
	}
}

// signedBig reads a big-endian number in two's complement.
func signedBig(b []byte) *big.Int {
	if len(b) == 8 {
		return big.NewInt(int64(binary.BigEndian.Uint64(b)))
	}
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}

func scaled(n *big.Int, scale int) string {
	if scale <= 0 || scale > 100 {
		return n.String()
	}
	digits := new(big.Int).Abs(n).String()
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale-len(digits)+1) + digits
	}
	text := digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	if n.Sign() < 0 {
		text = "-" + text
	}
	return text
}
