package ann

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// liveFile is the file of a small Live with a base, tombstones and a delta.
func liveFile(t testing.TB, kind Strategy) []byte {
	t.Helper()
	m := newMixture(41, 5, 4, .5)
	l, err := NewLive(context.Background(), m.draw(70), 5, Options{Kind: kind, M: 4, EFConstruction: 8, Int8: true, Threads: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Apply(Change{ID: 3, Vector: m.draw(1)}, Change{ID: 80, Vector: m.draw(1)}, Change{ID: 9}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	n, err := l.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d of %d bytes: %v", n, b.Len(), err)
	}
	return aligned(b.Bytes())
}

func loadLive(data []byte) (*Live, error) {
	return parseLive(data, func() error { return nil }, Options{}, Build)
}

func TestDamagedLiveFiles(t *testing.T) {
	for _, kind := range []Strategy{Exact, HNSW} {
		whole := liveFile(t, kind)
		if l, err := loadLive(whole); err != nil || l.Len() != 70 {
			t.Fatalf("%v index: %v", kind, err)
		}
		for i := 0; i < len(whole); i += 1 + i/256 {
			damaged := aligned(whole)
			damaged[i] ^= 1
			if _, err := loadLive(damaged); err == nil {
				t.Fatalf("%v index: byte %d of %d was flipped unnoticed", kind, i, len(whole))
			}
		}
		for n := 0; n < len(whole); n += 1 + n/256 {
			if _, err := loadLive(aligned(whole[:n])); err == nil {
				t.Fatalf("%v index: cut to %d of %d bytes unnoticed", kind, n, len(whole))
			}
		}
	}
}

func TestOpenLiveErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenLive(filepath.Join(dir, "none"), Options{}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	path := filepath.Join(dir, "other")
	if err := os.WriteFile(path, bytes.Repeat([]byte("not a live index "), 20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLive(path, Options{}, nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("another file: %v, want ErrCorrupt", err)
	}
}

// FuzzParseLive is that no file makes opening, searching or compacting panic. The checksums are made right, so that what
// is behind them is reached.
func FuzzParseLive(f *testing.F) {
	f.Add(liveFile(f, Exact), uint16(0), byte(0))
	f.Add(liveFile(f, HNSW), uint16(24), byte(1))
	f.Add(liveFile(f, HNSW), uint16(64+24), byte(7))
	f.Fuzz(func(t *testing.T, data []byte, at uint16, with byte) {
		if len(data) > 1<<16 {
			return
		}
		data = aligned(data)
		if int(at) < len(data) {
			data[at] ^= with
		}
		if len(data) >= liveHeaderSize {
			le := binary.LittleEndian
			length, words := le.Uint64(data[16:]), le.Uint64(data[24:])
			if end := liveHeaderSize + (length+7)/8*8; length < 1<<20 && words < 1<<20 && end <= uint64(len(data)) {
				le.PutUint32(data[12:], crc(data[end:]))
			}
			le.PutUint32(data[60:], crc(data[:60]))
		}
		l, err := loadLive(data)
		if err != nil {
			return
		}
		query := make([]float32, l.Dim())
		for _, opts := range []SearchOptions{{}, {Force: Exact, Float32: true}} {
			if _, _, err := l.Search(query, 3, opts, nil); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
		}
		if info := l.Info(); info.Len < 1000 && info.Base.Dim < 100 && info.Base.Len < 1000 && info.Delta == 0 {
			if err := l.Compact(context.Background()); err != nil && !errors.Is(err, ErrCorrupt) && info.Base.Len == 0 {
				t.Fatal(err)
			}
		}
	})
}
