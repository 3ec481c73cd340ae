// Package testkit gives tests what they need of the world outside: the project's folders, public data, a log that goes to
// the test, and real engines started on first use and gone with the test binary.
//
// What is not installed is left out visibly: Need… functions skip with a line that begins "LEFT OUT:". Under CI=true nothing
// may be left out, and the same absence fails the test.
package testkit

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// LeftOut skips the test because what is not on this machine, or fails it under CI=true. remedy says how to get it.
func LeftOut(t testing.TB, what, remedy string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing, and CI=true leaves nothing out: %s", what, remedy)
	}
	t.Skipf("LEFT OUT: %s: %s", what, remedy)
}

// ProjectRoot is the absolute path of the folder that holds go.mod, looked for upward of the working directory.
func ProjectRoot(t testing.TB) string {
	t.Helper()
	root, err := projectRoot()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func projectRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod in the working directory or above it")
		}
		dir = parent
	}
}

// DataDir is the folder of the named public data set, such as "ml-100k". Data sets lie in ../shared/data beside the project
// and are never part of it.
func DataDir(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join(ProjectRoot(t), "..", "shared", "data", name)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		LeftOut(t, "data set "+name, "put it at ../shared/data/"+name+" beside the project")
	}
	return dir
}
