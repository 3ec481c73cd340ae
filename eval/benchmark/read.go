package benchmark

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxID bounds users' and titles' numbers: a matrix has a row for each, so one wild number in a file must not take all memory.
const maxID = 1 << 26

// readLines calls f for each line that is not empty, with its number from 1. Errors name file and line.
func readLines(dir, name string, f func(fields []string) error, separators string) (err error) {
	path := filepath.Join(dir, name)
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return scan(file, name, f, separators)
}

func scan(r io.Reader, name string, f func(fields []string) error, separators string) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), 64<<20)
	n, empty := 0, 0
	for lines.Scan() {
		n++
		fields := strings.FieldsFunc(lines.Text(), func(c rune) bool { return c == '\r' || strings.ContainsRune(separators, c) })
		if len(fields) == 0 {
			empty = n
			continue
		}
		if empty > 0 { // In layouts of a line a user, all behind it would be somebody else's.
			return fmt.Errorf("%s:%d: %w: an empty line", name, empty, ErrFormat)
		}
		if strings.HasPrefix(fields[0], "#") {
			continue
		}
		if err := f(fields); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s:%d: %w", name, n+1, err)
	}
	if n == 0 {
		return fmt.Errorf("%s: %w: it is empty", name, ErrFormat)
	}
	return nil
}

// id reads a number of a user or title, of which the lowest in this layout is first.
func id(what, s string, first uint32) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n < uint64(first) || n > maxID {
		return 0, fmt.Errorf("%w: %s %q is not a whole number from %d to %d", ErrFormat, what, s, first, maxID)
	}
	return uint32(n) - first, nil
}
