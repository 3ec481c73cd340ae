package testkit

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Disk is a file system of a test's own, in memory, that can be full or read-only.
type Disk struct {
	// Dir is where it is mounted.
	Dir string

	bytes  int64
	filler string
}

// NeedDisk mounts a file system of so many bytes for the test. Mounting is root's: for others the test is left out.
func NeedDisk(t testing.TB, bytes int64) *Disk {
	t.Helper()
	d := &Disk{Dir: t.TempDir(), bytes: bytes}
	err := unix.Mount("tmpfs", d.Dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes))
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENODEV) {
		LeftOut(t, "a disk of the test's own", "run the tests as root, who may mount a tmpfs")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Detached, so that the end of the test does not hang on a file that somebody still holds.
		if err := unix.Unmount(d.Dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return d
}

// Fill takes all of the disk that is free.
func (d *Disk) Fill(t testing.TB) {
	t.Helper()
	d.filler = filepath.Join(d.Dir, "filler")
	f, err := os.OpenFile(d.filler, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<16)
	rand.Read(block)
	for n := len(block); n > 0; {
		if _, err := f.Write(block[:n]); errors.Is(err, unix.ENOSPC) {
			n /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// Free gives back what Fill took.
func (d *Disk) Free(t testing.TB) {
	t.Helper()
	if err := os.Remove(d.filler); err != nil {
		t.Fatal(err)
	}
}

// ReadOnly lets nobody write from now on. What is open for writing must be closed before.
func (d *Disk) ReadOnly(t testing.TB) {
	t.Helper()
	if err := unix.Mount("", d.Dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, fmt.Sprintf("size=%d", d.bytes)); err != nil {
		t.Fatal(err)
	}
}
