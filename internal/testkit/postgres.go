package testkit

import (
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"

	"marquee/internal/testkit/port"
	"marquee/internal/testkit/postgres"
)

// One PostgreSQL server a test binary, begun by the first test that asks: initdb takes longer than most tests.
var sharedPostgres = sync.OnceValues(func() (*postgres.Server, error) { return postgres.Start(postgres.Options{}) })

// NeedPostgres returns the postgres:// URL of a new, empty database on a private PostgreSQL server. The database is dropped
// when the test ends, the server stops and its files go when the test binary does.
func NeedPostgres(t testing.TB) string {
	t.Helper()
	server, err := sharedPostgres()
	if errors.Is(err, postgres.ErrMissing) {
		LeftOut(t, "PostgreSQL", "install it (Debian: apt-get install postgresql)")
	}
	if err != nil {
		t.Fatal(err)
	}
	name := "test_" + strings.ToLower(rand.Text()[:12])
	if err := server.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Exec("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return server.URL(name)
}

// FreePort is a TCP port on 127.0.0.1 that nobody listened on a moment ago.
func FreePort() (int, error) { return port.Free() }
