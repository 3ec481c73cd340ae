package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// maxMember bounds what is taken out of an archive: the larger library has 567 MB.
const maxMember = 1 << 30

func (f *fetcher) place(p pin) string { return filepath.Join(f.dir, p.platform, string(p.library)) }

// present says whether the library is there. The stamp beside it holds the sum it had when it was put there and its
// size, so that a look costs nothing; -verify reads the whole file.
func (f *fetcher) present(p pin) (bool, error) {
	info, err := os.Stat(f.place(p))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	stamp, err := os.ReadFile(f.place(p) + ".sha256")
	if err == nil && !f.verify {
		return slices.ContainsFunc(p.sources, func(s source) bool { return string(stamp) == stampText(s.member, info.Size()) }), nil
	}
	sum, err := sumFile(f.place(p))
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(p.sources, func(s source) bool { return s.member == sum }) {
		fmt.Fprintf(f.out, "%s is not the pinned one; fetching it again\n", p.library)
		return false, nil
	}
	return true, os.WriteFile(f.place(p)+".sha256", []byte(stampText(sum, info.Size())), 0o644)
}

func stampText(sum string, size int64) string { return fmt.Sprintf("%s %d\n", sum, size) }

func sumFile(path string) (string, error) {
	r, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// from downloads one source's archive, checks it, and puts its member in place by a rename.
func (f *fetcher) from(ctx context.Context, p pin, s source) (err error) {
	if err := os.MkdirAll(filepath.Dir(f.place(p)), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(f.place(p)), ".fetch-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	archive, err := f.download(ctx, s, tmp)
	if err != nil {
		return err
	}
	sum, err := sumFile(archive)
	if err != nil {
		return err
	}
	if sum != s.archive {
		return fmt.Errorf("%s has SHA-256 %s, pinned is %s: it was changed or cut short on the way", s.spec, sum, s.archive)
	}
	member := filepath.Join(tmp, "member")
	size, err := extract(archive, s, member)
	if err != nil {
		return err
	}
	if err := os.Rename(member, f.place(p)); err != nil {
		return err
	}
	return os.WriteFile(f.place(p)+".sha256", []byte(stampText(s.member, size)), 0o644)
}

// extract writes the archive's member to path and returns its size, having checked its sum.
func extract(archive string, s source, path string) (int64, error) {
	var r io.ReadCloser
	var err error
	if strings.HasSuffix(archive, ".whl") {
		r, err = openZip(archive, s.path)
	} else {
		r, err = openTar(archive, s.path)
	}
	if err != nil {
		return 0, fmt.Errorf("find %s in %s: %w", s.path, s.spec, err)
	}
	defer r.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return 0, err
	}
	h := sha256.New()
	size, err := io.Copy(io.MultiWriter(out, h), io.LimitReader(r, maxMember))
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return 0, fmt.Errorf("unpack %s of %s: %w", s.path, s.spec, err)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != s.member {
		return 0, fmt.Errorf("%s of %s has SHA-256 %s, pinned is %s", s.path, s.spec, sum, s.member)
	}
	return size, nil
}

// member is one file of an open archive.
type member struct {
	io.Reader
	close []io.Closer
}

func (m *member) Close() error {
	var errs []error
	for _, c := range m.close {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func openZip(archive, path string) (io.ReadCloser, error) {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return nil, err
	}
	r, err := z.Open(path)
	if err != nil {
		return nil, errors.Join(err, z.Close())
	}
	return &member{r, []io.Closer{r, z}}, nil
}

func openTar(archive, path string) (io.ReadCloser, error) {
	file, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	gz, err := gzip.NewReader(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	m := &member{close: []io.Closer{gz, file}}
	t := tar.NewReader(gz)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			err = os.ErrNotExist
		}
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		if h.Name == path {
			m.Reader = t
			return m, nil
		}
	}
}

// download runs the source's client in the folder and returns the one archive it left there.
func download(ctx context.Context, s source, into string) (string, error) {
	var name string
	var args []string
	switch s.client {
	case "npm":
		name, args = "npm", []string{"pack", "--ignore-scripts", "--silent", s.spec}
	case "pip":
		python, err := findPip(ctx)
		if err != nil {
			return "", err
		}
		name, args = python, []string{"-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
			"--only-binary=:all:", "--platform", s.platform, "--python-version", "311", "--implementation", "cp", "--dest", ".", s.spec}
	default:
		return "", fmt.Errorf("no client called %s", s.client)
	}
	if _, err := exec.LookPath(name); err != nil {
		return "", fmt.Errorf("%s is not installed", name)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = into
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd, err, strings.TrimSpace(string(out)))
	}
	entries, err := os.ReadDir(into)
	if err != nil {
		return "", err
	}
	if len(entries) != 1 {
		return "", fmt.Errorf("%s left %d files, not one archive", cmd, len(entries))
	}
	return filepath.Join(into, entries[0].Name()), nil
}

// findPip is the first Python that has pip.
func findPip(ctx context.Context) (string, error) {
	for _, python := range []string{"python3", "python"} {
		if exec.CommandContext(ctx, python, "-m", "pip", "--version").Run() == nil {
			return python, nil
		}
	}
	return "", errors.New("pip is not installed")
}
