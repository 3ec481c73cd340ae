package native

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func put(t *testing.T, parts ...string) string {
	t.Helper()
	path := filepath.Join(parts...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("library"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	above := put(t, root, folder, Platform(), string(ChDB))
	deep := filepath.Join(root, "a", "b")
	named := t.TempDir()
	flat := put(t, named, string(ChDB))
	for name, c := range map[string]struct {
		named string
		from  []string
		want  string
	}{
		"above the folder":            {"", []string{deep}, above},
		"second place":                {"", []string{t.TempDir(), deep}, above},
		"named folder wins":           {named, []string{deep}, flat},
		"named folder by platform":    {filepath.Join(root, folder), nil, above},
		"nowhere":                     {"", []string{t.TempDir()}, ""},
		"named folder without it":     {t.TempDir(), []string{deep}, ""},
		"a folder is not the library": {"", []string{folderInPlace(t)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := find(ChDB, c.named, c.from...)
			if got != c.want {
				t.Errorf("find = %q, %v; want %q", got, err, c.want)
			}
			if c.want == "" && (!errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "make setup")) {
				t.Errorf("error %v does not say what to do", err)
			}
		})
	}
}

func folderInPlace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, folder, Platform(), string(ChDB)), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
