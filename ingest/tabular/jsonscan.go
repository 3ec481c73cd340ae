package tabular

import (
	"bytes"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deep JSON values may lie within each other.
const maxDepth = 200

// scanner reads one JSON text (RFC 8259), checking all of it and keeping what is wanted of it. Strings without escapes
// are kept as parts of the text.
type scanner struct {
	text    []byte
	at      int
	scratch []byte
	items   [][]byte
	// names, when set, gathers the keys met, those of objects within as paths.
	names *[]string
	path  []byte
}

// row reads the text as one object.
func (s *scanner) row(wanted []node, cells []Cell) error {
	s.space()
	if s.peek() != '{' {
		return rowErrorf(ReasonMalformed, "a row is a JSON object, this is %q", clip(s.text))
	}
	if !s.object(wanted, cells, 0) {
		return s.wrong()
	}
	if s.space(); s.at != len(s.text) {
		return s.wrong()
	}
	return nil
}

func (s *scanner) wrong() error {
	if !utf8.Valid(s.text) {
		return notUTF8(s.text)
	}
	return rowErrorf(ReasonMalformed, "this is not JSON from byte %d of the row on: %q", s.at+1, clip(s.text[min(s.at, len(s.text)):]))
}

func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// take moves over one byte.
func (s *scanner) take(c byte) bool {
	if s.peek() != c || s.at >= len(s.text) {
		return false
	}
	s.at++
	return true
}

// object reads an object whose { is at hand.
func (s *scanner) object(wanted []node, cells []Cell, depth int) bool {
	s.at++
	if s.space(); s.take('}') {
		return true
	}
	for {
		if s.space(); s.peek() != '"' {
			return false
		}
		key, ok := s.str()
		if s.space(); !ok || !s.take(':') {
			return false
		}
		parent := len(s.path)
		s.enter(key)
		if !s.member(find(wanted, key), cells, depth) {
			return false
		}
		s.path = s.path[:parent]
		s.space()
		if s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// enter notes a key, where keys are gathered.
func (s *scanner) enter(key []byte) {
	if s.names == nil {
		return
	}
	if len(s.path) > 0 {
		s.path = append(s.path, '.')
	}
	s.path = append(s.path, key...)
}

func find(wanted []node, key []byte) *node {
	for i := range wanted {
		if string(key) == wanted[i].key {
			return &wanted[i]
		}
	}
	return nil
}

// member reads a key's value.
func (s *scanner) member(want *node, cells []Cell, depth int) bool {
	s.space()
	if s.names != nil && s.peek() != '{' {
		if name := string(s.path); len(*s.names) < 1000 && !slices.Contains(*s.names, name) {
			*s.names = append(*s.names, name)
		}
	}
	if s.names != nil && s.peek() == '{' && depth < maxDepth {
		return s.object(nil, nil, depth+1)
	}
	if want == nil {
		return s.skip(depth + 1)
	}
	if s.peek() == '{' && len(want.children) > 0 && want.cell < 0 && depth < maxDepth {
		return s.object(want.children, cells, depth+1)
	}
	if want.cell < 0 {
		return s.skip(depth + 1)
	}
	return s.value(&cells[want.cell], depth+1)
}

// value reads a value into a cell: a list of scalars as a list, what lies deeper as the text it is.
func (s *scanner) value(c *Cell, depth int) bool {
	*c = Cell{}
	from := s.at
	switch s.peek() {
	case '"':
		text, ok := s.str()
		setText(c, text)
		return ok
	case 'n':
		return s.literal("null")
	case '[':
		return s.list(c, depth)
	}
	if !s.skip(depth) {
		return false
	}
	setText(c, s.text[from:s.at])
	return true
}

// list reads an array.
func (s *scanner) list(c *Cell, depth int) bool {
	from, first := s.at, len(s.items)
	s.at++
	flat := true
	if s.space(); !s.take(']') {
		for {
			s.space()
			var item Cell
			if next := s.peek(); next == '[' || next == '{' {
				flat = false
				if !s.skip(depth + 1) {
					return false
				}
			} else if !s.value(&item, depth+1) {
				return false
			}
			if item.Kind != Null {
				s.items = append(s.items, item.Text)
			}
			if s.space(); s.take(']') {
				break
			}
			if !s.take(',') {
				return false
			}
		}
	}
	if !flat {
		setText(c, s.text[from:s.at])
		return true
	}
	*c = Cell{Kind: List, Items: s.items[first:len(s.items):len(s.items)]}
	return true
}

// skip checks a value without keeping it.
func (s *scanner) skip(depth int) bool {
	if depth > maxDepth {
		return false
	}
	switch c := s.peek(); c {
	case '{':
		return s.skipObject(depth)
	case '[':
		return s.skipList(depth)
	case '"':
		_, _, ok := s.skipString()
		return ok
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	}
	return s.number()
}

func (s *scanner) skipObject(depth int) bool {
	s.at++
	if s.space(); s.take('}') {
		return true
	}
	for {
		s.space()
		if _, _, ok := s.skipString(); !ok {
			return false
		}
		if s.space(); !s.take(':') {
			return false
		}
		if s.space(); !s.skip(depth + 1) {
			return false
		}
		if s.space(); s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

func (s *scanner) skipList(depth int) bool {
	s.at++
	if s.space(); s.take(']') {
		return true
	}
	for {
		if s.space(); !s.skip(depth + 1) {
			return false
		}
		if s.space(); s.take(']') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

func (s *scanner) literal(word string) bool {
	if !bytes.HasPrefix(s.text[s.at:], []byte(word)) {
		return false
	}
	s.at += len(word)
	return true
}

func (s *scanner) digits() bool {
	from := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at > from
}

func (s *scanner) number() bool {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return false
	}
	if s.take('.') && !s.digits() {
		return false
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		return s.digits()
	}
	return true
}

// skipString checks a string and says where its inside begins and whether it has escapes.
func (s *scanner) skipString() (from int, escaped, ok bool) {
	if !s.take('"') {
		return 0, false, false
	}
	from = s.at
	ascii := true
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return from, escaped, ascii || utf8.Valid(s.text[from:s.at-1])
		case c == '\\':
			escaped = true
			if !s.escape() {
				return 0, false, false
			}
		case c < 0x20:
			return 0, false, false
		default:
			ascii = ascii && c < utf8.RuneSelf
			s.at++
		}
	}
	return 0, false, false
}

// escape moves over an escape sequence.
func (s *scanner) escape() bool {
	if s.at+1 >= len(s.text) {
		return false
	}
	switch s.text[s.at+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at += 2
		return true
	case 'u':
		_, ok := hex4(s.text[s.at+2:])
		s.at += 6
		return ok
	}
	return false
}

func hex4(text []byte) (rune, bool) {
	if len(text) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range text[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// str reads a string.
func (s *scanner) str() ([]byte, bool) {
	from, escaped, ok := s.skipString()
	if !ok {
		return nil, false
	}
	inside := s.text[from : s.at-1]
	if !escaped {
		return inside, true
	}
	return s.unescape(inside), true
}

// unescape resolves the escapes of a string that was checked; half of a surrogate pair becomes U+FFFD.
func (s *scanner) unescape(inside []byte) []byte {
	from := len(s.scratch)
	for i := 0; i < len(inside); i++ {
		if inside[i] != '\\' {
			s.scratch = append(s.scratch, inside[i])
			continue
		}
		i++
		switch c := inside[i]; c {
		case 'b':
			s.scratch = append(s.scratch, '\b')
		case 'f':
			s.scratch = append(s.scratch, '\f')
		case 'n':
			s.scratch = append(s.scratch, '\n')
		case 'r':
			s.scratch = append(s.scratch, '\r')
		case 't':
			s.scratch = append(s.scratch, '\t')
		case 'u':
			r, _ := hex4(inside[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(utf8.RuneError)
				if i+2 < len(inside) && inside[i+1] == '\\' && inside[i+2] == 'u' {
					low, _ = hex4(inside[i+3:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			s.scratch = utf8.AppendRune(s.scratch, r)
		default:
			s.scratch = append(s.scratch, c)
		}
	}
	return s.scratch[from:len(s.scratch):len(s.scratch)]
}
