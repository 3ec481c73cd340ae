package ann

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"unsafe"
)

// verifyAlways is the size up to which opening a file compares all of it with its checksums: a few milliseconds.
const verifyAlways = 64 << 20

// WriteFile stores an index at path: in a temporary file beside it first, synced and renamed, so that path is at any
// time the file there was before or all of the new one.
func WriteFile(path string, ix Index) error { return writeFile(path, ix) }

func writeFile(path string, ix io.WriterTo) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-*")
	if err != nil {
		return fmt.Errorf("ann: write index: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close() // what matters is the first error
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := ix.WriteTo(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("ann: write index: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("ann: write index: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("ann: write index: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename in a folder outlast a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("ann: write index: %w", err)
	}
	defer func() { _ = d.Close() }() // opened for reading
	if err := d.Sync(); err != nil {
		return fmt.Errorf("ann: write index: sync %s: %w", dir, err)
	}
	return nil
}

// File is an index in a file mapped into memory. Its searches return ErrClosed once it is closed. The file must not
// change while it is open: replace it by renaming another over it, as WriteFile does.
type File struct {
	ix *index

	mu    sync.RWMutex // held for reading by whoever uses the mapping
	data  []byte       // nil once closed
	unmap func() error
}

var _ Index = (*File)(nil)

// Open maps an index file into memory, read-only. It checks the header, the table of sections and that all is there;
// up to 64 MB it also checks all checksums, for which larger files have Verify: opening does not read them.
//
// An error about the content wraps ErrCorrupt.
func Open(path string) (*File, error) {
	data, unmap, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("ann: open index: %w", err)
	}
	f, err := newFile(data, unmap)
	if err != nil {
		_ = unmap() // what matters is the first error
		return nil, fmt.Errorf("open index %s: %w", path, err)
	}
	return f, nil
}

// newFile makes a File of an index in memory mapped, all of it or a part.
func newFile(data []byte, unmap func() error) (*File, error) {
	f := &File{data: data, unmap: unmap}
	var err error
	if f.ix, err = parse(data); err == nil && len(data) <= verifyAlways {
		err = verify(data)
	}
	return f, err
}

// Load makes an index of the content of an index file, with all checksums checked. It keeps data, which must not change
// from then on.
func Load(data []byte) (Index, error) {
	if len(data) > 0 && uintptr(unsafe.Pointer(unsafe.SliceData(data)))%sectionAlign != 0 {
		data = aligned(data)
	}
	ix, err := parse(data)
	if err != nil {
		return nil, err
	}
	if err := verify(data); err != nil {
		return nil, err
	}
	return ix, nil
}

// aligned returns a copy of data that starts at a multiple of sectionAlign.
func aligned(data []byte) []byte {
	b := make([]byte, len(data)+sectionAlign)
	off := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % sectionAlign
	b = b[off : int(off)+len(data) : int(off)+len(data)]
	copy(b, data)
	return b
}

// Close unmaps the file, after the searches under way have ended. Closing twice is no error.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.data == nil {
		return nil
	}
	f.data = nil
	if err := f.unmap(); err != nil {
		return fmt.Errorf("ann: close index: %w", err)
	}
	return nil
}

// Verify reads the whole file and compares it with its checksums.
func (f *File) Verify() error {
	if !f.acquire() {
		return ErrClosed
	}
	defer f.mu.RUnlock()
	return verify(f.data)
}

// acquire takes the read lock, unless the file is closed.
func (f *File) acquire() bool {
	f.mu.RLock()
	if f.data == nil {
		f.mu.RUnlock()
		return false
	}
	return true
}

// Len is the number of vectors.
func (f *File) Len() int { return f.ix.Len() }

// Dim is the number of components of a vector.
func (f *File) Dim() int { return f.ix.Dim() }

// Metric is what the index ranks by.
func (f *File) Metric() Metric { return f.ix.Metric() }

// Info describes the index.
func (f *File) Info() Info { return f.ix.Info() }

// Vector is Index.Vector.
func (f *File) Vector(id uint32, dst []float32) error {
	if !f.acquire() {
		return ErrClosed
	}
	defer f.mu.RUnlock()
	return f.ix.Vector(id, dst)
}

// Plan is Index.Plan.
func (f *File) Plan(k int, opts SearchOptions) (Plan, error) { return f.ix.Plan(k, opts) }

// Search is Index.Search.
func (f *File) Search(query []float32, k int, opts SearchOptions, dst []Neighbor) ([]Neighbor, Plan, error) {
	if !f.acquire() {
		return dst[:0], Plan{}, ErrClosed
	}
	defer f.mu.RUnlock()
	return f.ix.Search(query, k, opts, dst)
}

// SearchBatch is Index.SearchBatch.
func (f *File) SearchBatch(ctx context.Context, queries []float32, k int, opts SearchOptions, dst [][]Neighbor) ([][]Neighbor, error) {
	if !f.acquire() {
		return nil, ErrClosed
	}
	defer f.mu.RUnlock()
	return f.ix.SearchBatch(ctx, queries, k, opts, dst)
}

// WriteTo writes the file as it is.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	if !f.acquire() {
		return 0, ErrClosed
	}
	defer f.mu.RUnlock()
	n, err := w.Write(f.data)
	if err != nil {
		return int64(n), fmt.Errorf("ann: write index: %w", err)
	}
	return int64(n), nil
}
