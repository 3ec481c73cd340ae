package lake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"
)

// Object is one entry of a listing.
type Object struct {
	Key     string
	Bytes   int64
	ModTime time.Time
}

// ErrCorrupt is what Verify's errors wrap when a file is not what its FileInfo says.
var ErrCorrupt = errors.New("corrupt lake file")

// ReaderAt opens a file for random access, returning also its size in bytes and what releases it. A folder's file is
// read in place; an object is first downloaded to a temporary file, which release removes.
func (l *Lake) ReaderAt(ctx context.Context, key string) (r io.ReaderAt, size int64, release func() error, err error) {
	if err := checkKey(key); err != nil {
		return nil, 0, nil, err
	}
	var f *os.File
	if l.dir != "" {
		f, err = os.Open(filepath.Join(l.dir, filepath.FromSlash(key)))
	} else {
		f, err = l.download(ctx, key)
	}
	if err != nil {
		return nil, 0, nil, fmt.Errorf("open lake file %s: %w", key, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, nil, errors.Join(fmt.Errorf("open lake file %s: %w", key, err), f.Close())
	}
	return f, info.Size(), f.Close, nil
}

// download copies an object to a file that is already unlinked, so it is gone when closed, however the process ends.
func (l *Lake) download(ctx context.Context, key string) (*os.File, error) {
	f, err := os.CreateTemp("", "marquee-lake-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := l.Download(ctx, key, f, nil); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ReadFile returns a whole file. Use it for manifests and the like.
func (l *Lake) ReadFile(ctx context.Context, key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	content, err := l.ReadAll(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read lake file %s: %w", key, err)
	}
	return content, nil
}

// Verify reads a file and compares its size and SHA-256 with the given ones. A difference is an ErrCorrupt.
func (l *Lake) Verify(ctx context.Context, want FileInfo) error {
	r, size, release, err := l.ReaderAt(ctx, want.Key)
	if err != nil {
		return err
	}
	defer func() { _ = release() }()
	if size != want.Bytes {
		return fmt.Errorf("%w: %s has %d bytes, its manifest says %d", ErrCorrupt, want.Key, size, want.Bytes)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(r, 0, size)); err != nil {
		return fmt.Errorf("read lake file %s: %w", want.Key, err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != want.SHA256 {
		return fmt.Errorf("%w: %s has SHA-256 %s, its manifest says %s", ErrCorrupt, want.Key, got, want.SHA256)
	}
	return nil
}

// List yields the files whose keys start with prefix, in key order, and stops at the first error. A folder that cannot
// be read is an error, never a shorter listing.
func (l *Lake) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	if l.dir != "" {
		return l.listDir(ctx, prefix)
	}
	return func(yield func(Object, error) bool) {
		it := l.Bucket.List(&blob.ListOptions{Prefix: prefix})
		for {
			o, err := it.Next(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Object{}, fmt.Errorf("list lake files under %q: %w", prefix, err))
				return
			}
			if !yield(Object{Key: o.Key, Bytes: o.Size, ModTime: o.ModTime}, nil) {
				return
			}
		}
	}
}

// listDir walks the folder once. (The bucket's own listing walks it once a page and skips what it cannot read.)
func (l *Lake) listDir(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		objects, err := l.walk(ctx, prefix)
		if err != nil {
			yield(Object{}, fmt.Errorf("list lake files under %q: %w", prefix, err))
			return
		}
		for _, o := range objects {
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (l *Lake) walk(ctx context.Context, prefix string) ([]Object, error) {
	root := l.dir
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		if err := checkKey(prefix[:i]); err != nil {
			return nil, err
		}
		root = filepath.Join(root, filepath.FromSlash(prefix[:i]))
	}
	var objects []Object
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == root && errors.Is(err, fs.ErrNotExist) {
				return fs.SkipAll
			}
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if d.IsDir() {
			if path == filepath.Join(l.dir, tempFolder) {
				return fs.SkipDir
			}
			return nil
		}
		key := filepath.ToSlash(path[len(l.dir)+1:])
		if !strings.HasPrefix(key, prefix) {
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted since its folder was read
		}
		if err != nil {
			return err
		}
		objects = append(objects, Object{Key: key, Bytes: info.Size(), ModTime: info.ModTime()})
		return nil
	})
	// A walk visits a/b before a-c, though the keys sort the other way round.
	slices.SortFunc(objects, func(a, b Object) int { return strings.Compare(a.Key, b.Key) })
	return objects, err
}
