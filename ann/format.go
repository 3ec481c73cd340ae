package ann

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"unsafe"
)

// An index file is a header of headerSize bytes, a table of sections, and the sections, each the memory of one slice of
// an index, little-endian, at the next multiple of sectionAlign. All ten sections are in the table, in this order;
// those an index does without are empty. Bytes between sections are zero.
//
//	header  0 magic   8 version u32   12 sections u32   16 kind u8   17 metric u8   20 dim u32   24 n u64   32 file size u64
//	       40 m u32  44 efConstruction u32  48 layers u32  52 entry u32  56 seed u64  64 code scale f32 (0: no int8)  68 head u32  72 nodes u32
//	       76 ef of a search that does not say u32 (0: DefaultEF)
//	      120 CRC-32C of the table u32  124 CRC-32C of the header up to here u32
//	table  for each section: tag u32, CRC-32C u32, offset u64, length u64
const (
	magic         = "MARQANN\n"
	formatVersion = 1
	headerSize    = 128
	entrySize     = 24
	sectionAlign  = 64
	numSections   = 10
)

// Tags of the sections, and their order.
const (
	secRows = iota
	secCodes
	secCenter
	secCodeNorms
	secIDs
	secRowOf
	secBase
	secUpper
	secUpperAt
	secCopies
)

var sectionNames = [numSections]string{"vectors", "codes", "center", "code norms", "ids", "rows by id", "layer 0", "upper layers", "upper layer offsets", "copies"}

func crc(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// errForeignOrder is returned where memory and file differ in byte order.
var errForeignOrder = errors.New("ann: index files are for little-endian machines")

func littleEndian() bool { return binary.NativeEndian.Uint16([]byte{1, 0}) == 1 }

// bytesOf returns the memory of s.
func bytesOf[T any](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), sizeOf(s))
}

// sliceOf is the reverse: b as a slice of T, without copying. b must be aligned for T and a whole number of them.
func sliceOf[T any](b []byte) []T {
	if len(b) == 0 {
		return nil
	}
	var t T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(t)))
}

func (ix *index) sections() [numSections][]byte {
	sec := [numSections][]byte{
		secRows: bytesOf(ix.rows), secCodes: bytesOf(ix.codes), secCenter: bytesOf(ix.center), secCodeNorms: bytesOf(ix.codeNorms),
		secIDs: bytesOf(ix.ids), secRowOf: bytesOf(ix.rowOf),
	}
	if g := ix.graph; g != nil {
		sec[secBase], sec[secUpper], sec[secUpperAt], sec[secCopies] = bytesOf(g.base), bytesOf(g.upper), bytesOf(g.upperAt), bytesOf(g.copies)
	}
	return sec
}

// WriteTo writes the index as a file that Open reads.
func (ix *index) WriteTo(w io.Writer) (int64, error) {
	if !littleEndian() {
		return 0, errForeignOrder
	}
	sec := ix.sections()
	table := make([]byte, 0, numSections*entrySize)
	end := headerSize + numSections*entrySize
	for tag, b := range sec {
		at := roundUp(end, sectionAlign)
		table = binary.LittleEndian.AppendUint32(table, uint32(tag))
		table = binary.LittleEndian.AppendUint32(table, crc(b))
		table = binary.LittleEndian.AppendUint64(table, uint64(at))
		table = binary.LittleEndian.AppendUint64(table, uint64(len(b)))
		end = at + len(b)
	}
	c := &countingWriter{w: w}
	c.write(ix.header(crc(table), end))
	c.write(table)
	for _, b := range sec {
		c.write(make([]byte, roundUp(int(c.n), sectionAlign)-int(c.n)))
		c.write(b)
	}
	if c.err != nil {
		return c.n, fmt.Errorf("ann: write index: %w", c.err)
	}
	return c.n, nil
}

// countingWriter counts what is written and does nothing after the first error.
type countingWriter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *countingWriter) write(b []byte) {
	if c.err != nil || len(b) == 0 {
		return
	}
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.err = err
}

// Write makes a countingWriter an io.Writer for an index within a file.
func (c *countingWriter) Write(b []byte) (int, error) {
	c.write(b)
	if c.err != nil {
		return 0, c.err
	}
	return len(b), nil
}

func (ix *index) header(tableCRC uint32, size int) []byte {
	h := make([]byte, headerSize)
	le := binary.LittleEndian
	copy(h, magic)
	le.PutUint32(h[8:], formatVersion)
	le.PutUint32(h[12:], numSections)
	h[16], h[17] = byte(Exact), byte(ix.metric)
	le.PutUint32(h[20:], uint32(ix.dim))
	le.PutUint64(h[24:], uint64(ix.n))
	le.PutUint64(h[32:], uint64(size))
	if g := ix.graph; g != nil {
		h[16] = byte(HNSW)
		le.PutUint32(h[40:], uint32(g.m))
		le.PutUint32(h[44:], uint32(ix.efConstruction))
		le.PutUint32(h[48:], uint32(g.layers))
		le.PutUint32(h[52:], g.entry)
		le.PutUint64(h[56:], ix.seed)
		le.PutUint32(h[68:], uint32(g.head))
		le.PutUint32(h[72:], uint32(g.nodes))
		le.PutUint32(h[76:], uint32(ix.ef))
	}
	le.PutUint32(h[64:], math.Float32bits(ix.codeScale))
	le.PutUint32(h[120:], tableCRC)
	le.PutUint32(h[124:], crc(h[:124]))
	return h
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("ann: %w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// parse makes an index of the bytes of a file, which it keeps. It checks header and table with their checksums, and
// that every section is as long as the header makes it and inside the file. It does not look into the sections: a
// search checks every link and row number it follows.
func parse(data []byte) (*index, error) {
	if !littleEndian() {
		return nil, errForeignOrder
	}
	if len(data) < headerSize+numSections*entrySize {
		return nil, corrupt("%d bytes are too few for an index file", len(data))
	}
	if string(data[:8]) != magic {
		return nil, corrupt("not an index file")
	}
	le := binary.LittleEndian
	if v := le.Uint32(data[8:]); v != formatVersion {
		return nil, fmt.Errorf("ann: index file of format version %d, this program reads version %d", v, formatVersion)
	}
	h, table := data[:headerSize], data[headerSize:headerSize+numSections*entrySize]
	switch {
	case le.Uint32(h[124:]) != crc(h[:124]):
		return nil, corrupt("checksum of the header does not match")
	case le.Uint32(h[120:]) != crc(table):
		return nil, corrupt("checksum of the section table does not match")
	case le.Uint64(h[32:]) != uint64(len(data)):
		return nil, corrupt("file of %d bytes, written with %d", len(data), le.Uint64(h[32:]))
	}
	sec, err := parseTable(data, table)
	if err != nil {
		return nil, err
	}
	return assemble(h, sec)
}

// parseTable cuts the sections out of a file.
func parseTable(data, table []byte) (sec [numSections][]byte, err error) {
	le := binary.LittleEndian
	end := uint64(headerSize + len(table))
	for tag := range sec {
		e := table[tag*entrySize:]
		at, length := le.Uint64(e[8:]), le.Uint64(e[16:])
		want := (end + sectionAlign - 1) / sectionAlign * sectionAlign
		if le.Uint32(e) != uint32(tag) || at != want || at > uint64(len(data)) || length > uint64(len(data))-at {
			return sec, corrupt("section %d (%s) is not where it should be", tag, sectionNames[tag])
		}
		end = at + length
		sec[tag] = data[at:end:end]
	}
	if end != uint64(len(data)) {
		return sec, corrupt("%d bytes after the last section", uint64(len(data))-end)
	}
	return sec, nil
}

// assemble makes an index of a header and the sections, whose lengths it checks.
func assemble(h []byte, sec [numSections][]byte) (*index, error) {
	le := binary.LittleEndian
	n, dim := le.Uint64(h[24:]), le.Uint32(h[20:])
	kind, metric := Strategy(h[16]), Metric(h[17])
	if n > MaxLen || dim < 1 || dim > MaxDim || metric > L2 || kind != Exact && kind != HNSW {
		return nil, corrupt("%v index of %d vectors of dimension %d by %v", kind, n, dim, metric)
	}
	st := &store{metric: metric, n: int(n), dim: int(dim), stride: roundUp(int(dim), 8), codeStride: roundUp(int(dim), 32)}
	st.codeScale = math.Float32frombits(le.Uint32(h[64:]))
	ix := &index{store: st, seed: le.Uint64(h[56:]), efConstruction: int(le.Uint32(h[44:]))}
	want := [numSections]int{secRows: st.n * st.stride * 4, secUpper: len(sec[secUpper])}
	if !(st.codeScale >= 0 && st.codeScale <= math.MaxFloat32) {
		return nil, corrupt("code scale %v", st.codeScale)
	}
	if st.int8s() {
		want[secCodes] = st.n * st.codeStride
		if metric == L2 {
			want[secCenter], want[secCodeNorms] = st.dim*4, st.n*4
		}
	}
	if kind == HNSW {
		g := &graph{m: int(le.Uint32(h[40:])), layers: int(le.Uint32(h[48:])), entry: le.Uint32(h[52:]), head: int(le.Uint32(h[68:])), nodes: int(le.Uint32(h[72:]))}
		if g.m < 4 || g.m > 64 || g.layers > math.MaxUint8+1 || g.nodes > st.n || g.head > g.nodes || g.head%64 != 0 ||
			n > 0 && (int(g.entry) >= g.nodes || g.layers < 1) {
			return nil, corrupt("graph of %d nodes with m %d, %d layers, entry %d, head %d", g.nodes, g.m, g.layers, g.entry, g.head)
		}
		if ix.ef = int(le.Uint32(h[76:])); ix.ef > MaxEF {
			return nil, corrupt("ef %d, at most %d", ix.ef, MaxEF)
		}
		ix.graph = g
		want[secIDs], want[secRowOf], want[secUpperAt], want[secBase] = st.n*4, st.n*4, g.nodes*4, g.nodes*2*g.m*4
		if g.nodes < st.n {
			want[secCopies] = (g.nodes + 1) * 4
		}
		want[secUpper] -= want[secUpper] % (g.m * 4)
	} else {
		want[secUpper] = 0
	}
	for tag, b := range sec {
		if len(b) != want[tag] {
			return nil, corrupt("section %s of %d bytes, should be %d", sectionNames[tag], len(b), want[tag])
		}
	}
	ix.attach(sec)
	return ix, nil
}

// attach makes the slices of the index views of the sections.
func (ix *index) attach(sec [numSections][]byte) {
	ix.rows, ix.codes = sliceOf[float32](sec[secRows]), sliceOf[int8](sec[secCodes])
	ix.center, ix.codeNorms = sliceOf[float32](sec[secCenter]), sliceOf[float32](sec[secCodeNorms])
	ix.ids, ix.rowOf = sliceOf[uint32](sec[secIDs]), sliceOf[uint32](sec[secRowOf])
	if g := ix.graph; g != nil {
		g.base, g.upper, g.upperAt = sliceOf[uint32](sec[secBase]), sliceOf[uint32](sec[secUpper]), sliceOf[uint32](sec[secUpperAt])
		g.copies = sliceOf[uint32](sec[secCopies])
	}
}

// verify compares every section of a file that parse accepted with its checksum.
func verify(data []byte) error {
	le := binary.LittleEndian
	end := uint64(headerSize + numSections*entrySize)
	for tag := range numSections {
		e := data[headerSize+tag*entrySize:]
		at, length := le.Uint64(e[8:]), le.Uint64(e[16:])
		if len(bytes.Trim(data[end:at], "\x00")) > 0 {
			return corrupt("bytes before section %s are not zero", sectionNames[tag])
		}
		end = at + length
		if crc(data[at:end]) != le.Uint32(e[4:]) {
			return corrupt("checksum of section %s does not match", sectionNames[tag])
		}
	}
	return nil
}
