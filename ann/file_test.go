package ann

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// encoded returns an index as the bytes of its file.
func encoded(t testing.TB, ix Index) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := ix.WriteTo(&b)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(b.Len()) {
		t.Fatalf("WriteTo says %d bytes, wrote %d", n, b.Len())
	}
	return aligned(b.Bytes())
}

// smallIndexes returns an index of every form a file can have.
func smallIndexes(t testing.TB) map[string]Index {
	t.Helper()
	m := newMixture(61, 5, 6, 0.4)
	vectors := m.zipfNorms(m.draw(70))
	copy(vectors[40*5:], vectors[:12*5])
	out := map[string]Index{}
	for _, metric := range metrics {
		for _, kind := range []Strategy{Exact, HNSW} {
			for _, int8s := range []bool{false, true} {
				opts := Options{Metric: metric, Kind: kind, Int8: int8s, M: 4, EFConstruction: 12, Seed: 2, Threads: 1}
				out[fmt.Sprintf("%v %v int8=%v", kind, metric, int8s)] = build(t, vectors, 5, opts)
				out[fmt.Sprintf("empty %v %v int8=%v", kind, metric, int8s)] = build(t, nil, 5, opts)
			}
		}
	}
	return out
}

// allSearches runs every kind of search the index can do, and returns what they found.
func allSearches(ix Index, query []float32) (found [][]Neighbor, err error) {
	filter, most := NewBitmap(ix.Len()), NewBitmap(ix.Len())
	filter.Fill(ix.Len() / 5)
	most.Fill(ix.Len() - ix.Len()/5)
	for _, f := range []Bitmap{nil, filter, most} {
		for _, force := range []Strategy{Auto, Exact, HNSW} {
			for _, f32 := range []bool{false, true} {
				opts := SearchOptions{Filter: f, Force: force, Float32: f32}
				if force == HNSW && ix.Info().Kind != HNSW {
					continue
				}
				got, _, searchErr := ix.Search(query, 6, opts, nil)
				found, err = append(found, got), errors.Join(err, searchErr)
			}
		}
	}
	return found, err
}

func TestFileRoundTrip(t *testing.T) {
	query := []float32{1, -1, 0.5, 0.2, 2}
	for name, ix := range smallIndexes(t) {
		t.Run(name, func(t *testing.T) {
			want, err := allSearches(ix, query)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "items.ann")
			if err := WriteFile(path, ix); err != nil {
				t.Fatal(err)
			}
			f, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			if err := f.Verify(); err != nil {
				t.Error(err)
			}
			if f.Info() != ix.Info() || f.Len() != ix.Len() || f.Dim() != ix.Dim() || f.Metric() != ix.Metric() {
				t.Errorf("opened %+v, wrote %+v", f.Info(), ix.Info())
			}
			got, err := allSearches(f, query)
			if err != nil || !slices.EqualFunc(got, want, slices.Equal) {
				t.Errorf("opened index finds %v, %v, want %v", got, err, want)
			}
			if again := encoded(t, f); !bytes.Equal(again, encoded(t, ix)) {
				t.Error("written again, the file is another")
			}
			loaded, err := Load(append([]byte{0}, encoded(t, ix)...)[1:]) // at an odd address
			if err != nil {
				t.Fatal(err)
			}
			if got, err := allSearches(loaded, query); err != nil || !slices.EqualFunc(got, want, slices.Equal) {
				t.Errorf("loaded index finds %v, %v, want %v", got, err, want)
			}
		})
	}
}

// TestEveryFlippedByteIsNoticed damages a file at every byte.
func TestEveryFlippedByteIsNoticed(t *testing.T) {
	data := encoded(t, build(t, newMixture(67, 3, 4, 0.5).draw(40), 3, Options{Metric: L2, Kind: HNSW, Int8: true, M: 4}))
	for i := range data {
		data[i] ^= 0x10
		if _, err := Load(data); err == nil {
			t.Fatalf("byte %d changed, and nobody noticed", i)
		} else if !errors.Is(err, ErrCorrupt) && !strings.Contains(err.Error(), "format version") {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		data[i] ^= 0x10
	}
	if _, err := Load(data); err != nil {
		t.Fatal(err)
	}
}

func TestTruncatedFiles(t *testing.T) {
	data := encoded(t, build(t, newMixture(71, 3, 4, 0.5).draw(40), 3, Options{Kind: HNSW, M: 4}))
	path := filepath.Join(t.TempDir(), "items.ann")
	for _, n := range []int{0, 1, 7, 8, headerSize - 1, headerSize, headerSize + 100, len(data) / 2, len(data) - 1, len(data) + 1} {
		short := append(slices.Clone(data), 0)[:n]
		if err := os.WriteFile(path, short, 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := Open(path); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d of %d bytes: opened %v, error %v", n, len(data), f, err)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("error %q does not name the file", err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	data := encoded(t, build(t, nil, 3, Options{}))
	binary.LittleEndian.PutUint32(data[8:], 2)
	if _, err := Load(data); err == nil || !strings.Contains(err.Error(), "version 2, this program reads version 1") {
		t.Errorf("error %v", err)
	}
	if _, err := Load([]byte("not an index at all")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("error %v", err)
	}
}

// reseal corrects the checksums of header and table, as whoever damages a file on purpose would.
func reseal(data []byte) {
	table := data[headerSize : headerSize+numSections*entrySize]
	binary.LittleEndian.PutUint32(data[120:], crc(table))
	binary.LittleEndian.PutUint32(data[124:], crc(data[:124]))
}

// TestHeadersThatContradictThemselves has right checksums on wrong headers and tables.
func TestHeadersThatContradictThemselves(t *testing.T) {
	good := encoded(t, build(t, newMixture(73, 3, 4, 0.5).draw(40), 3, Options{Kind: HNSW, Int8: true, M: 4}))
	le := binary.LittleEndian
	cases := map[string]func(h []byte){
		"kind":            func(h []byte) { h[16] = 0 },
		"kind exact":      func(h []byte) { h[16] = byte(Exact) },
		"metric":          func(h []byte) { h[17] = 3 },
		"metric l2":       func(h []byte) { h[17] = byte(L2) },
		"no dimension":    func(h []byte) { le.PutUint32(h[20:], 0) },
		"dimension":       func(h []byte) { le.PutUint32(h[20:], 9) },
		"large dimension": func(h []byte) { le.PutUint32(h[20:], 1<<31) },
		"length":          func(h []byte) { le.PutUint64(h[24:], 41) },
		"huge length":     func(h []byte) { le.PutUint64(h[24:], 1<<60) },
		"empty":           func(h []byte) { le.PutUint64(h[24:], 0) },
		"file size":       func(h []byte) { le.PutUint64(h[32:], 5) },
		"m":               func(h []byte) { le.PutUint32(h[40:], 8) },
		"no m":            func(h []byte) { le.PutUint32(h[40:], 0) },
		"layers":          func(h []byte) { le.PutUint32(h[48:], 1<<30) },
		"no layers":       func(h []byte) { le.PutUint32(h[48:], 0) },
		"ef":              func(h []byte) { le.PutUint32(h[76:], MaxEF+1) },
		"entry":           func(h []byte) { le.PutUint32(h[52:], 40) },
		"scale":           func(h []byte) { le.PutUint32(h[64:], 0x7fc00000) },
		"no scale":        func(h []byte) { le.PutUint32(h[64:], 0) },
		"head":            func(h []byte) { le.PutUint32(h[68:], 64) },
		"nodes":           func(h []byte) { le.PutUint32(h[72:], 39) },
		"many nodes":      func(h []byte) { le.PutUint32(h[72:], 41) },
		"tag":             func(h []byte) { h[headerSize] = 1 },
		"offset":          func(h []byte) { le.PutUint64(h[headerSize+8:], 1<<62) },
		"shifted":         func(h []byte) { le.PutUint64(h[headerSize+8:], le.Uint64(h[headerSize+8:])+64) },
		"length of rows":  func(h []byte) { le.PutUint64(h[headerSize+16:], 1<<63) },
		"rows too short":  func(h []byte) { le.PutUint64(h[headerSize+16:], 3) },
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			data := aligned(good)
			damage(data)
			reseal(data)
			if _, err := parse(data); !errors.Is(err, ErrCorrupt) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestDamagedLinks opens a file past its checksums, as one too large to be verified on opening is, and follows what is
// wrong in it.
func TestDamagedLinks(t *testing.T) {
	query := []float32{1, 0.5, -1}
	vectors := newMixture(79, 3, 4, 0.5).draw(300)
	copy(vectors[600:], vectors[:90])
	good := encoded(t, build(t, vectors, 3, Options{Kind: HNSW, Int8: true, M: 4}))
	for _, tag := range []int{secIDs, secRowOf, secBase, secUpper, secUpperAt, secCopies} {
		for _, value := range []uint32{300, 1 << 20, 1<<31 - 1, 1 << 31, none - 1, none} {
			data := aligned(good)
			ix, err := parse(data)
			if err != nil {
				t.Fatal(err)
			}
			section := sliceOf[uint32](ix.sections()[tag])
			for i := range section {
				section[i] = value
			}
			_, err = allSearches(ix, query) // must not panic
			if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s of %d: %v", sectionNames[tag], value, err)
			}
			if err == nil && value != none && (tag == secIDs || tag == secRowOf || tag == secBase) {
				t.Errorf("%s of %d: no error", sectionNames[tag], value)
			}
			if verify(data) == nil {
				t.Errorf("%s of %d: verify finds nothing", sectionNames[tag], value)
			}
		}
	}
}

func TestClosedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "items.ann")
	m := newMixture(83, 4, 4, 0.5)
	if err := WriteFile(path, build(t, m.draw(500), 4, Options{Kind: HNSW, EFConstruction: 20})); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	// Searches under way finish; those that come later are told.
	query := m.draw(1)
	started := make(chan struct{}, 4)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				got, _, err := f.Search(query, 5, SearchOptions{}, nil)
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil || len(got) != 5 {
					t.Errorf("search while closing: %v, %v", got, err)
					return
				}
				if i == 0 {
					started <- struct{}{}
				}
			}
		})
	}
	for range 4 {
		<-started
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := f.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := f.SearchBatch(context.Background(), query, 5, SearchOptions{}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("SearchBatch: %v", err)
	}
	if _, err := f.WriteTo(io.Discard); !errors.Is(err, ErrClosed) {
		t.Errorf("WriteTo: %v", err)
	}
	if err := f.Verify(); !errors.Is(err, ErrClosed) {
		t.Errorf("Verify: %v", err)
	}
}

// failingWriter takes n bytes and then fails.
type failingWriter struct{ n int }

var errFull = errors.New("disk full")

func (w *failingWriter) Write(b []byte) (int, error) {
	if len(b) > w.n {
		return w.n, errFull
	}
	w.n -= len(b)
	return len(b), nil
}

func TestWriteErrors(t *testing.T) {
	ix := build(t, newMixture(89, 3, 4, 0.5).draw(40), 3, Options{Kind: HNSW, M: 4})
	size := len(encoded(t, ix))
	for _, n := range []int{0, headerSize, headerSize + 50, size - 1} {
		written, err := ix.WriteTo(&failingWriter{n})
		if !errors.Is(err, errFull) || written != int64(n) {
			t.Errorf("room for %d of %d: wrote %d, %v", n, size, written, err)
		}
	}
	dir := filepath.Join(t.TempDir(), "missing")
	if err := WriteFile(filepath.Join(dir, "items.ann"), ix); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestWriteFileReplacesAndLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "items.ann")
	m := newMixture(97, 3, 4, 0.5)
	for _, n := range []int{40, 50} {
		if err := WriteFile(path, build(t, m.draw(n), 3, Options{})); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if f.Len() != 50 {
		t.Errorf("%d vectors", f.Len())
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("folder holds %v, %v", files, err)
	}
}

// FuzzParse feeds files past the checksums of their sections, seals included, to parse and to every kind of search:
// whatever is in them, the answer is neighbours or an error.
func FuzzParse(f *testing.F) {
	for _, ix := range smallIndexes(f) {
		f.Add(bytes.Clone(encoded(f, ix)), uint32(1), uint32(2))
	}
	f.Add([]byte(magic), uint32(0), uint32(0))
	f.Fuzz(func(t *testing.T, data []byte, at, value uint32) {
		data = aligned(data)
		if len(data) >= headerSize+numSections*entrySize {
			// One word anywhere, besides what the fuzzer does to the bytes.
			if i := int(at) * 4 % (len(data) - 3); i >= 0 {
				binary.LittleEndian.PutUint32(data[i:], value)
			}
			copy(data, magic)
			binary.LittleEndian.PutUint32(data[8:], formatVersion)
			binary.LittleEndian.PutUint64(data[32:], uint64(len(data)))
			reseal(data)
		}
		ix, err := parse(data)
		if err != nil {
			return
		}
		if err := verify(data); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("verify: %v", err)
		}
		if ix.dim > 1000 || ix.n > 100_000 {
			return
		}
		query := make([]float32, ix.dim)
		for i := range query {
			query[i] = float32(i%5) - 2
		}
		found, err := allSearches(ix, query)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("search: %v", err)
		}
		for _, neighbors := range found {
			for _, n := range neighbors {
				if int(n.ID) >= ix.n {
					t.Errorf("id %d of %d vectors", n.ID, ix.n)
				}
			}
		}
	})
}

// FuzzLoad holds Load to its word: what it accepts is a file written by WriteTo, byte for byte.
func FuzzLoad(f *testing.F) {
	for _, ix := range smallIndexes(f) {
		f.Add(bytes.Clone(encoded(f, ix)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ix, err := Load(data)
		if err != nil {
			return
		}
		if _, err := allSearches(ix, make([]float32, ix.Dim())); err != nil {
			t.Errorf("search: %v", err)
		}
	})
}
