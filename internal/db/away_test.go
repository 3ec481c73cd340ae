package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestAway(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"nothing", nil, false},
		{"a constraint", &pgconn.PgError{Code: "23505"}, false},
		{"the server stops", &pgconn.PgError{Code: "57P01"}, true},
		{"too many connections", &pgconn.PgError{Code: "53300"}, true},
		{"a replaced primary", &pgconn.PgError{Code: "25006"}, true},
		{"a cut connection", fmt.Errorf("put: %w", io.ErrUnexpectedEOF), true},
		{"a closed one", errors.New("select: conn closed"), true},
		{"a fault of ours", errors.New("no such title"), false},
	} {
		if got := Away(tt.err); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestAwayOnRealEngines(t *testing.T) {
	// Nothing listens on port 1.
	_, err := Open(t.Context(), "postgres://u:secret@127.0.0.1:1/x", "")
	if !Away(err) {
		t.Errorf("a server that is not there: %v", err)
	}
	d, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "x.db"), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := d.ExecContext(t.Context(), "SELECT nonsense"); err == nil || Away(err) {
		t.Errorf("a wrong statement: %v", err)
	}
	if _, err := d.ExecContext(t.Context(), "CREATE TABLE t (b BLOB)"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ExecContext(t.Context(), "PRAGMA max_page_count = 10"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for err = nil; err == nil && ctx.Err() == nil; {
		_, err = d.ExecContext(ctx, "INSERT INTO t VALUES (zeroblob(4096))")
	}
	if !Away(err) {
		t.Errorf("no room: %v", err)
	}
}
