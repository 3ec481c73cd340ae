package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"regexp"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// moduleName is what a migration set may be called: it becomes part of a table's name.
var moduleName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// migrateWaitSeconds is how long a process waits for another one's migrations on PostgreSQL.
const migrateWaitSeconds = 600

// ErrNewer is what Migrate's error wraps when a newer program made the tables.
var ErrNewer = errors.New("a newer program made them")

// Migrate applies the steps of fsys that the database has not had yet, each in a transaction of its own. fsys holds one
// folder a dialect, sqlite/ and postgres/, with goose's files (00001_name.sql). name is the owning module's; it has a
// version table of its own, marquee_migrations_NAME. Tables of a version that fsys does not have are an
// ErrNewer. Any number of processes may call it at once: one works, the others wait for it and find nothing left to do.
func (d *DB) Migrate(ctx context.Context, name string, fsys fs.FS) (err error) {
	if !moduleName.MatchString(name) {
		return fmt.Errorf("migration set %q: a name is 1 to 40 of a-z, 0-9 and _, starting with a letter", name)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("migrate the %s tables: %w", name, err)
		}
	}()
	steps, err := fs.Sub(fsys, string(d.engine))
	if err != nil {
		return err
	}
	options := []goose.ProviderOption{
		goose.WithTableName("marquee_migrations_" + name),
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()),
	}
	dialect := goose.DialectSQLite3
	switch d.engine {
	case Postgres:
		dialect = goose.DialectPostgres
		locker, err := advisoryLock(name)
		if err != nil {
			return err
		}
		options = append(options, goose.WithSessionLocker(locker))
	case SQLite:
		unlock, err := d.lockMigrations(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unlock()) }()
	}
	provider, err := goose.NewProvider(dialect, d.DB.DB, steps, options...)
	if errors.Is(err, goose.ErrNoMigrations) {
		return fmt.Errorf("no %s/*.sql among the steps", d.engine)
	}
	if err != nil {
		return err
	}
	switch current, target, err := provider.GetVersions(ctx); {
	case err != nil:
		return err
	case current > target:
		return fmt.Errorf("%w: they have version %d and this program knows %d; use the program that made them, or a newer one. Nothing was changed", ErrNewer, current, target)
	}
	_, err = provider.Up(ctx)
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		return fmt.Errorf("%s: %w", partial.Failed.Source.Path, partial.Err)
	}
	return err
}

// advisoryLock holds one module's migrations for a session; the server frees it when the session dies.
func advisoryLock(name string) (lock.SessionLocker, error) {
	return lock.NewPostgresSessionLocker(
		lock.WithLockID(advisoryID("migrate "+name)),
		lock.WithLockTimeout(1, migrateWaitSeconds),
	)
}

// advisoryID turns a name into a key of PostgreSQL's advisory locks, which the whole database shares.
func advisoryID(name string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("marquee " + name)) // never fails
	return int64(h.Sum64())
}

// lockMigrations keeps other processes from migrating the same SQLite file. A step's own transaction cannot do it, the
// list of steps left is read before; a lease cannot either, one long step would outlive it. So an empty second database
// beside the first is held exclusively: the operating system frees it however the process ends.
func (d *DB) lockMigrations(ctx context.Context) (unlock func() error, err error) {
	pool, err := sqlitePool(d.path+"-migrate", 1, "_txlock=exclusive")
	if err != nil {
		return nil, err
	}
	for {
		var tx *sql.Tx
		tx, err = pool.BeginTx(ctx, nil)
		if err == nil {
			return func() error { return errors.Join(tx.Rollback(), pool.Close()) }, nil
		}
		if !isBusy(err) {
			break
		}
		if waitErr := sleep(ctx, 50*time.Millisecond); waitErr != nil {
			err = fmt.Errorf("another process is migrating %s: %w", d.path, waitErr)
			break
		}
	}
	return nil, errors.Join(err, pool.Close())
}
