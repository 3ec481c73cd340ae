package db

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"marquee/internal/testkit"
)

// eachEngine runs a test on every engine the machine has, on a database the test has to itself.
func eachEngine(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, testkit.NeedPostgres(t))
	})
}

func open(t *testing.T, url string) *DB {
	t.Helper()
	d, err := Open(t.Context(), url, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

// steps is a migration set of one step for each of the statements, the same on both engines.
func steps(statements ...string) fs.FS {
	fsys := fstest.MapFS{}
	for i, s := range statements {
		for _, dialect := range []Engine{SQLite, Postgres} {
			fsys[fmt.Sprintf("%s/%05d_step.sql", dialect, i+1)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + s + "\n")}
		}
	}
	return fsys
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// together runs the functions at once and waits for all of them.
func together(fns ...func()) {
	var wg sync.WaitGroup
	for _, fn := range fns {
		wg.Go(fn)
	}
	wg.Wait()
}
