package ann

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// A file of a Live is a header, the file of its base, and what has changed since, all little-endian:
//
//	header  0 magic   8 version u32   12 CRC-32C of the changes u32   16 length of the base u64   24 words of the bitmap u64
//	       32 rows of the delta u64   60 CRC-32C of the header up to here u32
//	base    at 64, to the next multiple of 8
//	changes the bitmap of the ids to be found in the base, then for each row of the delta its id u32 and dim components f32
const (
	liveMagic      = "MARQLIV\n"
	liveVersion    = 1
	liveHeaderSize = 64
)

// WriteTo writes what there is now as a file that OpenLive reads. Searches and changes go on meanwhile.
func (l *Live) WriteTo(w io.Writer) (int64, error) {
	if !littleEndian() {
		return 0, errForeignOrder
	}
	st := l.state.Load()
	base := &countingWriter{w: io.Discard}
	if _, err := st.base.WriteTo(base); err != nil { // to learn its length
		return 0, err
	}
	tail := st.changes()
	h := make([]byte, liveHeaderSize)
	le := binary.LittleEndian
	copy(h, liveMagic)
	le.PutUint32(h[8:], liveVersion)
	le.PutUint32(h[12:], crc(tail))
	le.PutUint64(h[16:], uint64(base.n))
	le.PutUint64(h[24:], uint64(len(st.inBase)))
	le.PutUint64(h[32:], uint64(st.deltaLive))
	le.PutUint32(h[60:], crc(h[:60]))
	c := &countingWriter{w: w}
	c.write(h)
	if c.err == nil {
		_, c.err = st.base.WriteTo(c)
	}
	c.write(make([]byte, roundUp(int(base.n), 8)-int(base.n)))
	c.write(tail)
	if c.err != nil {
		return c.n, fmt.Errorf("ann: write live index: %w", c.err)
	}
	return c.n, nil
}

// changes is what a file has after the base.
func (st *liveState) changes() []byte {
	tail := append([]byte(nil), bytesOf(st.inBase)...)
	for row, id := range st.ids {
		if st.inDelta.Has(uint32(row)) {
			tail = binary.LittleEndian.AppendUint32(tail, id)
			tail = append(tail, bytesOf(st.delta.row(row))...)
		}
	}
	return tail
}

// Save stores the index at path as WriteFile does.
func (l *Live) Save(path string) error { return writeFile(path, l) }

// OpenLive maps a file that Save wrote into memory, on the terms of Open. Compactions make the new base by build (nil
// means Build) with the options given, and leave the file as it is until the next Save.
func OpenLive(path string, opts Options, build Builder) (*Live, error) {
	if build == nil {
		build = Build
	}
	data, unmap, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("open live index: %w", err)
	}
	l, err := parseLive(data, unmap, opts, build)
	if err != nil {
		_ = unmap() // what matters is the first error
		return nil, fmt.Errorf("open live index %s: %w", path, err)
	}
	return l, nil
}

func parseLive(data []byte, unmap func() error, opts Options, build Builder) (*Live, error) {
	if !littleEndian() {
		return nil, errForeignOrder
	}
	if len(data) < liveHeaderSize || string(data[:8]) != liveMagic {
		return nil, corrupt("not a file of a live index")
	}
	le := binary.LittleEndian
	h := data[:liveHeaderSize]
	if v := le.Uint32(h[8:]); v != liveVersion {
		return nil, fmt.Errorf("ann: live index file of format version %d, this program reads version %d", v, liveVersion)
	}
	if le.Uint32(h[60:]) != crc(h[:60]) {
		return nil, corrupt("checksum of the header does not match")
	}
	length, words, rows := le.Uint64(h[16:]), le.Uint64(h[24:]), le.Uint64(h[32:])
	rest := uint64(len(data) - liveHeaderSize)
	if length > rest || words > rest/8 || rows > rest/4 {
		return nil, corrupt("file of %d bytes, with a base of %d, %d words and %d rows", len(data), length, words, rows)
	}
	f, err := newFile(data[liveHeaderSize:liveHeaderSize+length], unmap)
	if err != nil {
		return nil, err
	}
	dim := f.Dim()
	at := liveHeaderSize + (length+7)/8*8
	if at > uint64(len(data)) || words != uint64(bitmapWords(f.Len())) || uint64(len(data))-at != words*8+rows*uint64(4+4*dim) {
		return nil, corrupt("file of %d bytes, with a base of %d, %d words and %d rows", len(data), length, words, rows)
	}
	tail := data[at:]
	if crc(tail) != le.Uint32(h[12:]) {
		return nil, corrupt("checksum of the changes does not match")
	}
	inBase := NewBitmap(f.Len())
	for i := range inBase {
		inBase[i] = le.Uint64(tail[8*i:])
	}
	if _, err := checkFilter(inBase, f.Len()); err != nil {
		return nil, corrupt("%v", err)
	}
	opts.Metric = f.Metric()
	l := newLive(f, inBase, opts, build)
	tail = tail[8*words:]
	changes := make([]Change, rows)
	for i := range changes {
		row := tail[i*(4+4*dim):]
		changes[i] = Change{ID: le.Uint32(row), Vector: make([]float32, dim)}
		for j := range dim {
			changes[i].Vector[j] = math.Float32frombits(le.Uint32(row[4+4*j:]))
		}
	}
	if err := l.Apply(changes...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return l, nil
}

// Close closes the file of the base, if it is in one, after the searches under way have ended. Searches fail from then on.
func (l *Live) Close() error {
	l.compact.Lock()
	defer l.compact.Unlock()
	if f, ok := l.state.Load().base.(io.Closer); ok {
		return f.Close()
	}
	return nil
}
