package model

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// errNotEmpty is what renaming a folder onto a full one gives besides fs.ErrExist.
const errNotEmpty = syscall.ENOTEMPTY

// mapping is a read-only memory-mapped file.
type mapping struct{ data []byte }

// mapFile maps a file of the given size.
func mapFile(path string, size int64) (*mapping, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing", ErrCorrupt, filepath.Base(path))
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // opened for reading; the mapping outlives it
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() != size {
		return nil, fmt.Errorf("%w: %s has %d bytes, its manifest says %d", ErrCorrupt, filepath.Base(path), info.Size(), size)
	}
	data, err := syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return &mapping{data: data}, nil
}

func (m *mapping) close() error {
	data := m.data
	m.data = nil
	return syscall.Munmap(data)
}

// checkFile compares a file with what its manifest says of it.
func checkFile(path string, want File) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s is missing", ErrCorrupt, filepath.Base(path))
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // opened for reading
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if n != want.Bytes {
		return fmt.Errorf("%w: %s has %d bytes, its manifest says %d", ErrCorrupt, filepath.Base(path), n, want.Bytes)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want.SHA256 {
		return fmt.Errorf("%w: %s has SHA-256 %s, its manifest says %s", ErrCorrupt, filepath.Base(path), got, want.SHA256)
	}
	return nil
}
