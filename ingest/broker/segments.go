package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// DamageError says that a segment of an embedded broker's log is damaged in its middle. kfake would cut it off there, and whole
// batches behind the damage with it; so it is not let at it.
type DamageError struct {
	Dir     string
	Segment string
	Byte    int64
	Reason  string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("segment %s is damaged at byte %d: %s. Restore the folder from a copy; or give up what the segment holds from "+
		"there on and open embedded:%s?accept_loss=true once", e.Segment, e.Byte, e.Reason, e.Dir)
}

// checkSegments reads every segment of every partition before the broker does. A torn end of a partition's newest segment is what a
// crash leaves of writes nobody was told of, and passes; anything else is a *DamageError.
func checkSegments(dir string) error {
	partitions, err := os.ReadDir(filepath.Join(dir, "partitions"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, p := range partitions {
		pdir := filepath.Join(dir, "partitions", p.Name())
		segments, err := listSegments(pdir)
		if err != nil {
			return err
		}
		for i, s := range segments {
			if err := checkSegment(filepath.Join(pdir, s.name()), s.base, i == len(segments)-1); err != nil {
				if damage := (*DamageError)(nil); errors.As(err, &damage) {
					damage.Dir = dir
				}
				return err
			}
		}
	}
	return nil
}

// segment is a file of a partition's log, named by the offset of its first record.
type segment struct {
	base, bytes int64
}

func (s segment) name() string { return strconv.FormatInt(s.base, 10) + ".dat" }

// listSegments lists a partition's segments, oldest first.
func listSegments(pdir string) ([]segment, error) {
	entries, err := os.ReadDir(pdir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []segment
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), ".dat")
		base, err := strconv.ParseInt(name, 10, 64)
		if !ok || err != nil {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // Deleted meanwhile.
		}
		if err != nil {
			return nil, err
		}
		out = append(out, segment{base, info.Size()})
	}
	slices.SortFunc(out, func(a, b segment) int { return int(min(max(a.base-b.base, -1), 1)) })
	return out, nil
}

func checkSegment(path string, base int64, newest bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	at, reason, err := scanBatches(f, info.Size(), base)
	if err != nil {
		return fmt.Errorf("read segment %s: %w", path, err)
	}
	if reason == "" {
		return nil
	}
	if newest {
		torn, err := isTorn(f, info.Size(), at)
		if err != nil || torn {
			return err
		}
	}
	return &DamageError{Segment: path, Byte: at, Reason: reason}
}

// A record batch begins with its first offset (8 bytes) and the length of what follows (4). A CRC-32C at byte 17 covers
// everything from byte 21; the last record's offset from the first stands at byte 23. All are big-endian.
const (
	batchPrefix = 12
	batchLeast  = 61 // a batch without records
)

// scanBatches reads batches until the end or one that is not whole; then it returns where that begins, and what is wrong.
func scanBatches(r io.Reader, size, next int64) (at int64, reason string, err error) {
	in := bufio.NewReaderSize(r, 1<<16)
	var buf []byte
	for {
		buf, reason, err = readBatch(in, size-at, buf)
		if errors.Is(err, io.EOF) {
			return at, "", nil
		}
		if err != nil || reason != "" {
			return at, reason, err
		}
		first := int64(binary.BigEndian.Uint64(buf))
		if first < next {
			return at, fmt.Sprintf("offset %d after %d", first, next-1), nil
		}
		// The offset is not under the check sum. A jump is what compaction or an accepted loss leaves, within reason.
		if first-next > 1<<40 {
			return at, fmt.Sprintf("offset %d after %d", first, next-1), nil
		}
		next = first + int64(binary.BigEndian.Uint32(buf[23:])) + 1
		at += int64(len(buf))
	}
}

// readBatch reads one batch, of the size bytes that are left, into buf. The error is io.EOF where nothing is left.
func readBatch(in io.Reader, size int64, buf []byte) (batch []byte, reason string, err error) {
	buf = slices.Grow(buf[:0], batchPrefix)[:batchPrefix]
	if _, err := io.ReadFull(in, buf); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return buf, "it ends within a batch", nil
		}
		return buf, "", err
	}
	length := int64(binary.BigEndian.Uint32(buf[8:]))
	if length < batchLeast-batchPrefix {
		return buf, fmt.Sprintf("a batch of %d bytes", length), nil
	}
	if length > size-batchPrefix {
		return buf, "it ends within a batch", nil
	}
	buf = slices.Grow(buf, int(length))[:batchPrefix+length]
	if _, err := io.ReadFull(in, buf[batchPrefix:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // The file became shorter meanwhile; io.EOF would say that all is well.
		}
		return buf, "", err
	}
	if crc32.Checksum(buf[21:], castagnoli()) != binary.BigEndian.Uint32(buf[17:]) {
		return buf, "a check sum is wrong", nil
	}
	return buf, "", nil
}

// isTorn says that what begins at byte at, and is no whole batch, is the segment's unfinished end: no whole batch follows it
// where its own length says that it ends.
func isTorn(f io.ReaderAt, size, at int64) (bool, error) {
	if size-at < batchPrefix {
		return true, nil
	}
	var prefix [batchPrefix]byte
	if _, err := f.ReadAt(prefix[:], at); err != nil {
		return false, err
	}
	after := at + batchPrefix + int64(binary.BigEndian.Uint32(prefix[8:]))
	if after >= size {
		return true, nil
	}
	_, reason, err := readBatch(io.NewSectionReader(f, after, size-after), size-after, nil)
	return reason != "", err
}
