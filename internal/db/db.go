// Package db opens the SQL database by URL, brings its schema up to date and hands out leases with fencing tokens.
//
// One node keeps everything in an SQLite file; a cluster shares PostgreSQL. Callers write bun queries that run on both
// and one migration set a dialect; which engine answers is the URL's business alone.
package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

// Engine names a kind of database. It is also the name of the folder a migration set keeps for it.
type Engine string

// The engines there are.
const (
	SQLite   Engine = "sqlite"
	Postgres Engine = "postgres"
)

// validURLs is what an error about a database URL ends with.
const validURLs = "use sqlite: (marquee.db in the data folder), sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE"

// DB is an open database, safe for concurrent use.
//
// On SQLite a committed transaction is on disk when Commit returns, there is one writing connection, and a transaction
// holds it from its first moment: do not run other statements on the DB while the same goroutine has a transaction
// open, use the transaction. Selects built with NewSelect outside a transaction go to a pool of read-only connections
// and see everything committed before them.
type DB struct {
	*bun.DB
	engine Engine
	// path is the SQLite file, else empty.
	path string
}

// Open opens the database at url: sqlite: is marquee.db inside dataDir, sqlite:PATH that file (made with its folder
// when missing), postgres://… or postgresql://… a server. It fails when the engine cannot be reached. Errors never
// contain the password.
func Open(ctx context.Context, url, dataDir string) (*DB, error) {
	engine, rest, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	var d *DB
	if engine == SQLite {
		d, err = openSQLite(ctx, rest, dataDir)
	} else {
		d, err = openPostgres(ctx, url)
	}
	if err != nil {
		return nil, err
	}
	if err := d.makeLeases(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// CheckURL says what is wrong with a database URL, without opening it.
func CheckURL(url string) error {
	_, _, err := parseURL(url)
	return err
}

// parseURL gives the engine a URL names and what follows its scheme.
func parseURL(url string) (Engine, string, error) {
	scheme, rest, ok := strings.Cut(url, ":")
	if !ok {
		return "", "", errors.New("database URL has no scheme: " + validURLs)
	}
	switch scheme {
	case "sqlite":
		return SQLite, rest, nil
	case "postgres", "postgresql":
		return Postgres, rest, nil
	}
	return "", "", fmt.Errorf("database URL has the unknown scheme %q: %s", scheme, validURLs)
}

// Engine says which kind of database this is. (Dialect is bun's, so that a *DB is a bun.IDB.)
func (d *DB) Engine() Engine { return d.engine }

// inTx runs fn in a transaction of the engine's default isolation: on SQLite alone, on PostgreSQL READ COMMITTED.
func (d *DB) inTx(ctx context.Context, fn func(ctx context.Context, tx bun.Tx) error) error {
	return d.RunInTx(ctx, nil, fn)
}

// sleep waits, and reports why when the context ends first.
func sleep(ctx context.Context, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
