package tabular

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const windowBytes = 256 << 10

// errRowTooLarge says that what was looked for is further away than a row may be long.
var errRowTooLarge = errors.New("row too large")

// window is the part of a text that is in memory: from the start of the row at hand on.
type window struct {
	r   io.Reader
	buf []byte
	// start and end bound the bytes that are there and not consumed.
	start, end int
	// offset is the text's offset of buf[start].
	offset int64
	eof    bool
	max    int
}

func newWindow(r io.Reader, offset int64, max int) *window {
	return &window{r: r, buf: make([]byte, min(windowBytes, max+1)), offset: offset, max: max}
}

func (w *window) bytes() []byte { return w.buf[w.start:w.end] }

// consume lets go of the first n bytes.
func (w *window) consume(n int) {
	w.start += n
	w.offset += int64(n)
}

// more reads on. It reports false at the end of the text, and errRowTooLarge when the window may not grow further.
// Slices of bytes() are void afterwards.
func (w *window) more() (bool, error) {
	if w.eof {
		return false, nil
	}
	if w.end-w.start > w.max {
		return false, errRowTooLarge
	}
	if w.start > 0 && w.end == len(w.buf) {
		copy(w.buf, w.buf[w.start:w.end])
		w.end -= w.start
		w.start = 0
	}
	if w.end == len(w.buf) {
		grown := make([]byte, min(2*len(w.buf), w.max+windowBytes))
		copy(grown, w.buf[:w.end])
		w.buf = grown
	}
	for range 100 {
		n, err := w.r.Read(w.buf[w.end:])
		w.end += n
		if errors.Is(err, io.EOF) {
			w.eof = true
			return n > 0, nil
		}
		if err != nil {
			return false, fmt.Errorf("at byte %d: %w", w.offset+int64(w.end-w.start), err)
		}
		if n > 0 {
			return true, nil
		}
	}
	return false, io.ErrNoProgress
}

// line returns the length of the line at hand with its end, and whether there is one. A line beyond the limit is
// errRowTooLarge; skipLine gets over it.
func (w *window) line() (n int, ok bool, err error) {
	from := 0
	for {
		text := w.bytes()
		if i := bytes.IndexByte(text[from:], '\n'); i >= 0 {
			if n = from + i + 1; n > w.max+1 {
				return 0, false, errRowTooLarge
			}
			return n, true, nil
		}
		from = len(text)
		grew, err := w.more()
		if err != nil {
			return 0, false, err
		}
		if !grew {
			return from, from > 0, nil
		}
	}
}

// skipLine consumes the line at hand, however long.
func (w *window) skipLine() error {
	for {
		text := w.bytes()
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			w.consume(i + 1)
			return nil
		}
		w.consume(len(text))
		if grew, err := w.more(); err != nil || !grew {
			return err
		}
	}
}

// trimEnd takes the line's end off.
func trimEnd(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r"))
}
