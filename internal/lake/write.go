package lake

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// writeBuffer is how much a file:// write gathers before it reaches the kernel.
const writeBuffer = 256 << 10

// FileInfo describes a complete file in the lake.
type FileInfo struct {
	Key   string `json:"key"`
	Bytes int64  `json:"bytes"`
	// SHA256 of the whole file, 64 lower-case hexadecimal digits.
	SHA256 string `json:"sha256"`
}

// WriteFile writes one file through the given function and returns its size and checksum. The file replaces what the
// key held in one step, when the function has returned nil and everything is on disk; otherwise the key is untouched.
func (l *Lake) WriteFile(ctx context.Context, key string, write func(io.Writer) error) (FileInfo, error) {
	if err := checkKey(key); err != nil {
		return FileInfo{}, err
	}
	info, err := l.writeFile(ctx, key, write)
	if err != nil {
		return FileInfo{}, fmt.Errorf("write lake file %s: %w", key, err)
	}
	return info, nil
}

// WriteBytes is WriteFile for content already in memory.
func (l *Lake) WriteBytes(ctx context.Context, key string, content []byte) (FileInfo, error) {
	return l.WriteFile(ctx, key, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// ErrExists is what WriteNew's errors wrap when the key is taken.
var ErrExists = errors.New("the lake has such a file already")

// WriteNew writes a file under a key that must be free; of several writers one succeeds, also in several processes.
func (l *Lake) WriteNew(ctx context.Context, key string, content []byte) error {
	err := checkKey(key)
	if err == nil && l.dir != "" {
		err = l.writeLocal(ctx, key, &summer{hash: sha256.New()}, linkInto, func(w io.Writer) error {
			_, err := w.Write(content)
			return err
		})
	} else if err == nil {
		err = l.Bucket.WriteAll(ctx, key, content, &blob.WriterOptions{ContentType: "application/octet-stream", IfNotExist: true})
	}
	if errors.Is(err, fs.ErrExist) || gcerrors.Code(err) == gcerrors.FailedPrecondition {
		err = ErrExists
	}
	if err != nil {
		return fmt.Errorf("write lake file %s: %w", key, err)
	}
	return nil
}

func (l *Lake) writeFile(ctx context.Context, key string, write func(io.Writer) error) (FileInfo, error) {
	sum := &summer{hash: sha256.New()}
	var err error
	if l.dir != "" {
		err = l.writeLocal(ctx, key, sum, renameInto, write)
	} else {
		err = l.writeObject(ctx, key, sum, write)
	}
	if err != nil {
		return FileInfo{}, err
	}
	return FileInfo{Key: key, Bytes: sum.bytes, SHA256: hex.EncodeToString(sum.hash.Sum(nil))}, nil
}

// writeObject uploads to an object store, where an object appears when its upload is closed. Cancelling the upload's
// context is the bucket's way to abandon it.
func (l *Lake) writeObject(ctx context.Context, key string, sum *summer, write func(io.Writer) error) error {
	ctx, abandon := context.WithCancel(ctx)
	defer abandon()
	w, err := l.NewWriter(ctx, key, &blob.WriterOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return err
	}
	sum.to = w
	if err := write(sum); err != nil {
		abandon()
		// The upload was abandoned on purpose; that it says so is no news.
		_ = w.Close()
		return err
	}
	return w.Close()
}

// writeLocal writes beside the target and puts it in its place: file, then folder, each fsynced.
func (l *Lake) writeLocal(ctx context.Context, key string, sum *summer, place func(from, target string) error, write func(io.Writer) error) (err error) {
	temp, err := os.CreateTemp(filepath.Join(l.dir, tempFolder), filepath.Base(key)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreNotExist(os.Remove(temp.Name())))
		}
	}()
	if err := fill(temp, sum, write); err != nil {
		return errors.Join(err, ignoreClosed(temp.Close()))
	}
	if err := temp.Close(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	target := filepath.Join(l.dir, filepath.FromSlash(key))
	if err := place(temp.Name(), target); err != nil {
		return err
	}
	return syncDir(filepath.Dir(target))
}

// fill writes the content and brings it to disk.
func fill(f *os.File, sum *summer, write func(io.Writer) error) error {
	buffered := bufio.NewWriterSize(f, writeBuffer)
	sum.to = buffered
	if err := write(sum); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	// os.CreateTemp makes files only their owner can read; a lake is read by other tools too.
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	return f.Sync()
}

// renameInto renames, making the target's folder when it is missing.
func renameInto(from, target string) error {
	err := os.Rename(from, target)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeDirs(filepath.Dir(target)); err != nil {
		return err
	}
	return os.Rename(from, target)
}

// linkInto is renameInto that fails when the target is there.
func linkInto(from, target string) error {
	err := os.Link(from, target)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDirs(filepath.Dir(target)); err != nil {
			return err
		}
		err = os.Link(from, target)
	}
	if err != nil {
		return err
	}
	return os.Remove(from)
}

// makeDirs is os.MkdirAll whose new folders survive a power loss: each one's parent is fsynced.
func makeDirs(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a folder", dir)
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDirs(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

// summer counts and hashes what passes through it.
type summer struct {
	to    io.Writer
	hash  hash.Hash
	bytes int64
}

func (s *summer) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	s.hash.Write(p[:n])
	s.bytes += int64(n)
	return n, err
}
