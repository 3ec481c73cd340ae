// Package lake is the file store of events, features and models: a folder or an object store, chosen by URL.
//
// A lake file appears complete or not at all, and once WriteFile has returned it survives a power loss as far as the
// operating system keeps its promises: a file:// lake writes beside the target, fsyncs, renames and fsyncs the folder;
// the object stores give the same by themselves. There is no rename between keys, so a set of files becomes visible
// through a manifest that is written last.
package lake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"
)

// tempFolder holds files being written in a file:// lake. It is on the lake's own file system, so that the final
// rename is atomic, and under a name no key can have.
const tempFolder = ".tmp"

// staleTemp is the age past which a temporary file is certainly a dead writer's.
const staleTemp = 24 * time.Hour

// Lake is an open file store. Every method is safe for concurrent use.
//
// The embedded bucket serves deletes, attributes and streaming reads. Write through WriteFile or WriteBytes only: the
// bucket's own writers do not fsync.
type Lake struct {
	*blob.Bucket
	// dir is the absolute root of a file:// lake, else empty.
	dir string
	// url is what was opened, without credentials.
	url string
}

// Open opens the lake at a URL: file:///DIR (made when missing), s3://BUCKET?region=…&prefix=…, gs://BUCKET?prefix=… or
// mem:// (its content dies with the process). Query parameters are those of gocloud.dev/blob.
func Open(ctx context.Context, rawURL string) (*Lake, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "file":
		return openDir(u)
	case "mem":
		return &Lake{Bucket: memblob.OpenBucket(nil), url: "mem://"}, nil
	default:
		bucket, err := blob.OpenBucket(ctx, rawURL)
		if err != nil {
			return nil, fmt.Errorf("open lake %s: %w", u.Redacted(), err)
		}
		return &Lake{Bucket: bucket, url: u.Redacted()}, nil
	}
}

// CheckURL says what is wrong with a lake's URL, without opening it.
func CheckURL(rawURL string) error {
	_, err := parseURL(rawURL)
	return err
}

func parseURL(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("lake URL cannot be parsed: use file:///DIR, s3://BUCKET, gs://BUCKET or mem://")
	}
	switch u.Scheme {
	case "file", "mem", s3blob.Scheme, gcsblob.Scheme:
		return u, nil
	}
	return nil, fmt.Errorf("lake URL %q has the unknown scheme %q: use file:///DIR, s3://BUCKET, gs://BUCKET or mem://",
		u.Redacted(), u.Scheme)
}

// openDir opens a folder. Its attributes are not kept beside the files (no .attrs), so any tool can read the folder.
func openDir(u *url.URL) (*Lake, error) {
	path := u.Path
	if u.Host == "." {
		path = strings.TrimPrefix(path, "/")
	} else if u.Host != "" && u.Host != "localhost" {
		return nil, fmt.Errorf("lake URL %q names the host %q: a folder is file:///DIR with three slashes", u.Redacted(), u.Host)
	}
	if path == "" || path == "/" {
		return nil, fmt.Errorf("lake URL %q names no folder: use file:///DIR", u.Redacted())
	}
	dir, err := filepath.Abs(filepath.FromSlash(path))
	if err != nil {
		return nil, fmt.Errorf("lake folder %q: %w", path, err)
	}
	if err := makeDirs(filepath.Join(dir, tempFolder)); err != nil {
		return nil, fmt.Errorf("make lake folder: %w", err)
	}
	if err := removeStale(filepath.Join(dir, tempFolder), time.Now().Add(-staleTemp)); err != nil {
		return nil, fmt.Errorf("clear the lake's temporary files: %w", err)
	}
	bucket, err := fileblob.OpenBucket(dir, &fileblob.Options{Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		return nil, fmt.Errorf("open lake folder %s: %w", dir, err)
	}
	return &Lake{Bucket: bucket, dir: dir, url: "file://" + filepath.ToSlash(dir)}, nil
}

// removeStale deletes what writers that died before the given time left behind.
func removeStale(dir string, before time.Time) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if info.ModTime().Before(before) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// URL returns what was opened, without credentials.
func (l *Lake) URL() string { return l.url }

// Dir returns the absolute folder of a file:// lake, and whether it is one.
func (l *Lake) Dir() (string, bool) { return l.dir, l.dir != "" }

// IsNotExist reports whether an error of this package, or of the bucket, says that a key is not there.
func IsNotExist(err error) bool {
	return err != nil && (errors.Is(err, fs.ErrNotExist) || gcerrors.Code(err) == gcerrors.NotFound)
}

// checkKey refuses keys that would not mean the same in a folder and in an object store.
func checkKey(key string) error {
	if key == "" || len(key) > 1024 {
		return fmt.Errorf("lake key %q: 1 to 1024 bytes are right, it has %d", key, len(key))
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || strings.HasPrefix(segment, ".") {
			return fmt.Errorf("lake key %q: no segment may be empty or start with a dot", key)
		}
	}
	for _, r := range key {
		if r < 0x20 || r == 0x7f || r == '\\' || r == 0xfffd {
			return fmt.Errorf("lake key %q: control characters, backslashes and invalid UTF-8 are not allowed", key)
		}
	}
	if strings.HasSuffix(key, ".attrs") {
		return fmt.Errorf("lake key %q: the ending .attrs is reserved", key)
	}
	return nil
}
