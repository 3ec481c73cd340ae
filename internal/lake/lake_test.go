package lake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// engines runs a test against every kind of lake a bare machine has.
func engines(t *testing.T, run func(t *testing.T, l *Lake)) {
	for name, url := range map[string]string{"file": "file://" + t.TempDir() + "/made/lake", "mem": "mem://"} {
		t.Run(name, func(t *testing.T) {
			l, err := Open(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}()
			run(t, l)
		})
	}
}

func TestWriteThenRead(t *testing.T) {
	engines(t, func(t *testing.T, l *Lake) {
		content := bytes.Repeat([]byte("watch events\n"), 50_000)
		info, err := l.WriteFile(t.Context(), "events/dt=2026-11-23/p0-0-9.parquet", func(w io.Writer) error {
			for chunk := range slices.Chunk(content, 999) {
				if _, err := w.Write(chunk); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		want := FileInfo{Key: "events/dt=2026-11-23/p0-0-9.parquet", Bytes: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
		if info != want {
			t.Fatalf("got %+v, want %+v", info, want)
		}
		if err := l.Verify(t.Context(), info); err != nil {
			t.Error(err)
		}
		r, size, release, err := l.ReaderAt(t.Context(), info.Key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(r, 0, size))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("read back %d bytes (%v), want %d", len(got), err, len(content))
		}
		if err := release(); err != nil {
			t.Error(err)
		}
	})
}

func TestFailedWriteLeavesTheKeyAsItWas(t *testing.T) {
	engines(t, func(t *testing.T, l *Lake) {
		if _, err := l.WriteBytes(t.Context(), "a/manifest.json", []byte("first")); err != nil {
			t.Fatal(err)
		}
		boom := errors.New("disk on fire")
		for _, key := range []string{"a/manifest.json", "a/never.json"} {
			_, err := l.WriteFile(t.Context(), key, func(w io.Writer) error {
				if _, err := w.Write([]byte("half of it")); err != nil {
					return err
				}
				return boom
			})
			if !errors.Is(err, boom) {
				t.Errorf("%s: got %v, want the writer's own error", key, err)
			}
		}
		got, err := l.ReadFile(t.Context(), "a/manifest.json")
		if err != nil || string(got) != "first" {
			t.Errorf("got %q, %v", got, err)
		}
		if keys := list(t, l, ""); !slices.Equal(keys, []string{"a/manifest.json"}) {
			t.Errorf("keys after failed writes: %q", keys)
		}
		if dir, ok := l.Dir(); ok {
			left, err := os.ReadDir(filepath.Join(dir, tempFolder))
			if err != nil || len(left) != 0 {
				t.Errorf("temporary files left: %v (%v)", left, err)
			}
		}
	})
}

func TestVerifyFindsDamage(t *testing.T) {
	engines(t, func(t *testing.T, l *Lake) {
		info, err := l.WriteBytes(t.Context(), "x", []byte("0123456789"))
		if err != nil {
			t.Fatal(err)
		}
		for name, damaged := range map[string]string{"flipped": "0123456780", "cut": "01234", "grown": "0123456789x"} {
			if _, err := l.WriteBytes(t.Context(), "x", []byte(damaged)); err != nil {
				t.Fatal(err)
			}
			if err := l.Verify(t.Context(), info); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: got %v, want ErrCorrupt", name, err)
			}
		}
		if err := l.Delete(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		if err := l.Verify(t.Context(), info); !IsNotExist(err) {
			t.Errorf("deleted: got %v, want not exist", err)
		}
	})
}

func TestMissingIsNotExist(t *testing.T) {
	engines(t, func(t *testing.T, l *Lake) {
		if _, _, _, err := l.ReaderAt(t.Context(), "no/such"); !IsNotExist(err) {
			t.Errorf("ReaderAt: %v", err)
		}
		if _, err := l.ReadFile(t.Context(), "no/such"); !IsNotExist(err) {
			t.Errorf("ReadFile: %v", err)
		}
		if keys := list(t, l, "no/such/"); len(keys) != 0 {
			t.Errorf("List: %q", keys)
		}
	})
}

func TestListIsInKeyOrderUnderPrefix(t *testing.T) {
	engines(t, func(t *testing.T, l *Lake) {
		all := []string{"a-c", "a/b", "a/b-1", "events/manifests/p0-0-1.json", "events/manifests/p0-2-3.json", "z"}
		for _, key := range slices.Backward(all) {
			if _, err := l.WriteBytes(t.Context(), key, []byte(key)); err != nil {
				t.Fatal(err)
			}
		}
		for prefix, want := range map[string][]string{
			"": all, "a/": {"a/b", "a/b-1"}, "a": {"a-c", "a/b", "a/b-1"}, "events/manifests/p0-2": {"events/manifests/p0-2-3.json"},
		} {
			if got := list(t, l, prefix); !slices.Equal(got, want) {
				t.Errorf("List(%q) = %q, want %q", prefix, got, want)
			}
		}
	})
}

func TestConcurrentWritersOfOneKey(t *testing.T) {
	engines(t, func(t *testing.T, l *Lake) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				content := strings.Repeat(string(rune('a'+i)), 100_000)
				if _, err := l.WriteBytes(t.Context(), "deep/er/key", []byte(content)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got, err := l.ReadFile(t.Context(), "deep/er/key")
		if err != nil || len(got) != 100_000 || strings.Trim(string(got), string(got[0])) != "" {
			t.Errorf("content is of several writers, or cut: %d bytes, %v", len(got), err)
		}
	})
}

func TestBadKeys(t *testing.T) {
	engines(t, func(t *testing.T, l *Lake) {
		for _, key := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", ".tmp/x", "a/.b", "a\nb", `a\b`, "a\xff", "x.attrs",
			strings.Repeat("k", 1025)} {
			if _, err := l.WriteBytes(t.Context(), key, nil); err == nil || !strings.Contains(err.Error(), "lake key") {
				t.Errorf("key %q: %v", key, err)
			}
		}
	})
}

func TestOpenErrorsSayWhatIsRight(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"hdfs://x/y":                   "unknown scheme \"hdfs\": use file:///DIR, s3://BUCKET, gs://BUCKET or mem://",
		"/var/lib/lake":                "unknown scheme \"\"",
		"file://var/lake":              "three slashes",
		"file:///":                     "names no folder",
		"file://" + file:               "is not a folder",
		"ftp://joe:secret@example/x":   "unknown scheme",
		"s3://bucket?no_such_param=aa": "open lake s3://bucket",
	} {
		_, err := Open(t.Context(), url)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q): %v, want %q", url, err, want)
		}
	}
}

func TestOpenClearsDeadWritersFilesOnly(t *testing.T) {
	dir := t.TempDir()
	temp := filepath.Join(dir, tempFolder)
	if err := os.MkdirAll(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dead", "alive"} {
		if err := os.WriteFile(filepath.Join(temp, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * staleTemp)
	if err := os.Chtimes(filepath.Join(temp, "dead"), old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "file://"+dir); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) != 1 || left[0].Name() != "alive" {
		t.Errorf("left %v (%v), want only the file of a writer that may be alive", left, err)
	}
}

func TestFolderHoldsNothingButTheFiles(t *testing.T) {
	l, err := Open(t.Context(), "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.WriteBytes(t.Context(), "a/b.parquet", []byte("x")); err != nil {
		t.Fatal(err)
	}
	dir, _ := l.Dir()
	entries, err := os.ReadDir(filepath.Join(dir, "a"))
	if err != nil || len(entries) != 1 || entries[0].Name() != "b.parquet" {
		t.Errorf("folder holds %v (%v)", entries, err)
	}
	info, err := os.Stat(filepath.Join(dir, "a", "b.parquet"))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v (%v), want readable by other tools", info.Mode(), err)
	}
}

func list(t *testing.T, l *Lake, prefix string) []string {
	t.Helper()
	var keys []string
	for o, err := range l.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

func TestOneWriterTakesAKey(t *testing.T) {
	for _, url := range []string{"file://" + t.TempDir(), "mem://"} {
		l, err := Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		const writers = 8
		results := make(chan error, writers)
		for i := range writers {
			go func() { results <- l.WriteNew(context.WithoutCancel(t.Context()), "a/b/c", []byte{byte(i)}) }()
		}
		won := 0
		for range writers {
			switch err := <-results; {
			case err == nil:
				won++
			case !errors.Is(err, ErrExists):
				t.Errorf("%s: %v", url, err)
			}
		}
		if content, err := l.ReadFile(t.Context(), "a/b/c"); won != 1 || err != nil || len(content) != 1 {
			t.Errorf("%s: %d writers won, %v (%v)", url, won, content, err)
		}
		n := 0
		for _, err := range l.List(t.Context(), "") {
			if n++; err != nil {
				t.Error(err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d files", url, n)
		}
	}
}
