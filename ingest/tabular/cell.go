package tabular

import "strconv"

// AppendText appends the cell's value as text: a number in its shortest form, a moment in microseconds since the Unix
// epoch. A list appends nothing.
func (c *Cell) AppendText(b []byte) []byte {
	switch c.Kind {
	case Text:
		return append(b, c.Text...)
	case Int, Time:
		return strconv.AppendInt(b, c.Int, 10)
	case Float:
		return strconv.AppendFloat(b, c.Float, 'f', -1, 64)
	}
	return b
}
