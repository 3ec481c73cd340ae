package testkit

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// NeedPython returns the interpreter of a Python environment in the user's cache folder, outside the project: the one of that
// name, which `make NAME` installs from a file of pinned requirements. It is there when its file "ready" is a copy of that
// file.
func NeedPython(t testing.TB, name, requirements string) string {
	t.Helper()
	want, err := os.ReadFile(requirements)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		LeftOut(t, "Python environment "+name, err.Error())
	}
	dir := filepath.Join(cache, "marquee-peers", name)
	if have, err := os.ReadFile(filepath.Join(dir, "ready")); err != nil || !bytes.Equal(have, want) {
		LeftOut(t, "Python environment "+name, "run make "+name)
	}
	return filepath.Join(dir, "bin", "python")
}
