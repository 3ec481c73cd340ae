package movielens

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLine bounds a line; the longest of the published files has some 300 bytes.
const maxLine = 64 << 10

// lines reads a file line by line. Unlike bufio.Scanner it goes on after a line that is too long.
type lines struct {
	r      *bufio.Reader
	number int
	// text is the line without its end; valid until the next call of next.
	text []byte
	// tooLong is set when the line exceeds maxLine; text is then empty.
	tooLong bool
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, maxLine)} }

// next moves to the next line and reports whether there is one.
func (l *lines) next() (bool, error) {
	l.number++
	l.tooLong = false
	text, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		l.tooLong = true
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = l.r.ReadSlice('\n')
		}
		text = nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if errors.Is(err, io.EOF) && len(text) == 0 && !l.tooLong {
		return false, nil
	}
	text = bytes.TrimSuffix(text, []byte("\n"))
	l.text = bytes.TrimSuffix(text, []byte("\r"))
	return true, nil
}
