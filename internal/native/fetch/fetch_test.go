package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"marquee/internal/native"
)

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func tarball(t *testing.T, name string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
	if err == nil {
		_, err = w.Write(content)
	}
	if err := errors.Join(err, w.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func wheel(t *testing.T, name string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err == nil {
		_, err = f.Write(content)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// shelf stands in for the registries: it hands out archives by client and counts the downloads.
type shelf struct {
	archives  map[string][]byte
	downloads int
}

func (s *shelf) download(_ context.Context, src source, into string) (string, error) {
	s.downloads++
	b, ok := s.archives[src.client]
	if !ok {
		return "", errors.New(src.client + " is not installed")
	}
	path := filepath.Join(into, map[string]string{"npm": "x.tgz", "pip": "x.whl"}[src.client])
	return path, os.WriteFile(path, b, 0o644)
}

func fixture(t *testing.T) (*fetcher, *shelf, []pin) {
	t.Helper()
	library := []byte("the library")
	tgz, whl := tarball(t, "package/lib.so", library), wheel(t, "lib/lib.so", library)
	s := &shelf{archives: map[string][]byte{"npm": tgz, "pip": whl}}
	pins := []pin{{native.ChDB, "linux-amd64", []source{
		{client: "npm", spec: "lib@1", archive: sum(tgz), path: "package/lib.so", member: sum(library)},
		{client: "pip", spec: "lib==1", archive: sum(whl), path: "lib/lib.so", member: sum(library)},
	}}}
	return &fetcher{dir: t.TempDir(), out: &bytes.Buffer{}, download: s.download}, s, pins
}

func check(t *testing.T, f *fetcher) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, "linux-amd64", string(native.ChDB)))
	if err != nil || string(b) != "the library" {
		t.Errorf("installed %q, %v", b, err)
	}
	entries, err := os.ReadDir(filepath.Join(f.dir, "linux-amd64"))
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind %v, %v", entries, err)
	}
}

func TestFetchOnceThenLeaveAlone(t *testing.T) {
	f, s, pins := fixture(t)
	for range 2 {
		if err := f.run(t.Context(), "linux-amd64", pins); err != nil {
			t.Fatal(err)
		}
	}
	check(t, f)
	if s.downloads != 1 {
		t.Errorf("%d downloads, want 1", s.downloads)
	}
}

func TestOtherClientWhenTheFirstIsMissing(t *testing.T) {
	f, s, pins := fixture(t)
	delete(s.archives, "npm")
	if err := f.run(t.Context(), "linux-amd64", pins); err != nil {
		t.Fatal(err)
	}
	check(t, f)
}

func TestNeitherClientSaysHowToGetIt(t *testing.T) {
	f, s, pins := fixture(t)
	s.archives = nil
	err := f.run(t.Context(), "linux-amd64", pins)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"npm is not installed", "pip is not installed", "lib@1", "lib==1", "package/lib.so", ".native/linux-amd64/libchdb.so", "make setup"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

func TestTamperedArchiveIsRefused(t *testing.T) {
	f, s, pins := fixture(t)
	s.archives["npm"] = tarball(t, "package/lib.so", []byte("evil"))
	delete(s.archives, "pip")
	if err := f.run(t.Context(), "linux-amd64", pins); err == nil || !strings.Contains(err.Error(), "pinned is") {
		t.Errorf("run = %v", err)
	}
	if _, err := os.Stat(filepath.Join(f.dir, "linux-amd64", string(native.ChDB))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was installed: %v", err)
	}
}

func TestTamperedMemberIsRefused(t *testing.T) {
	f, s, pins := fixture(t)
	evil := tarball(t, "package/lib.so", []byte("evil"))
	s.archives["npm"], pins[0].sources[0].archive = evil, sum(evil)
	delete(s.archives, "pip")
	if err := f.run(t.Context(), "linux-amd64", pins); err == nil || !strings.Contains(err.Error(), "package/lib.so") {
		t.Errorf("run = %v", err)
	}
}

func TestDamagedFileIsFetchedAgain(t *testing.T) {
	f, s, pins := fixture(t)
	if err := f.run(t.Context(), "linux-amd64", pins); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.place(pins[0]), []byte("the librarx"), 0o644); err != nil {
		t.Fatal(err)
	}
	// Of equal length, the damage shows only to -verify.
	f.verify = true
	if err := f.run(t.Context(), "linux-amd64", pins); err != nil {
		t.Fatal(err)
	}
	check(t, f)
	if err := os.Truncate(f.place(pins[0]), 3); err != nil {
		t.Fatal(err)
	}
	f.verify = false
	if err := f.run(t.Context(), "linux-amd64", pins); err != nil {
		t.Fatal(err)
	}
	check(t, f)
	if s.downloads != 3 {
		t.Errorf("%d downloads, want 3", s.downloads)
	}
}

func TestUnknownPlatformSaysSo(t *testing.T) {
	f, _, pins := fixture(t)
	if err := f.run(t.Context(), "plan9-mips", pins); err != nil {
		t.Fatal(err)
	}
	if got := f.out.(*bytes.Buffer).String(); !strings.Contains(got, "plan9-mips") {
		t.Errorf("printed %q", got)
	}
}

func TestPinsAreWhole(t *testing.T) {
	for _, p := range pins() {
		for _, s := range p.sources {
			if len(s.archive) != 64 || len(s.member) != 64 || s.path == "" || s.spec == "" {
				t.Errorf("%s for %s: incomplete source %+v", p.library, p.platform, s)
			}
		}
	}
}
