package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// sqliteFile is the database's name in a data folder.
	sqliteFile = "marquee.db"
	// sqliteReaders bounds the read-only connections; each keeps a page cache of 2 MB.
	sqliteReaders = 8
	// busyTimeout is how long SQLite itself waits for another process's write. Writes are short; past this something hangs.
	busyTimeout = 15 * time.Second
)

func openSQLite(ctx context.Context, path, dataDir string) (*DB, error) {
	path, err := sqlitePath(path, dataDir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("make the folder of database %s: %w", path, err)
	}
	// The writer comes first: it makes the file and turns the write-ahead log on, which a read-only connection cannot.
	// IMMEDIATE takes the write lock when a transaction begins, so no transaction fails half way because another
	// process wrote since its first read. FULL syncs the log at every commit: acknowledged means durable.
	writer, err := sqlitePool(path, 1, "_txlock=immediate", "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)", "_pragma=foreign_keys(1)")
	if err != nil {
		return nil, err
	}
	if err := pingSQLite(ctx, writer); err != nil {
		return nil, errors.Join(openError(path, err), writer.Close())
	}
	if err := checkPages(ctx, writer); err != nil {
		return nil, errors.Join(openError(path, err), writer.Close())
	}
	readers, err := sqlitePool(path, sqliteReaders, "_pragma=query_only(1)")
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	b := bun.NewDB(writer, sqlitedialect.New(), bun.WithConnResolver(readPool{readers}))
	return &DB{DB: b, engine: SQLite, path: path}, nil
}

// sqlitePath resolves what follows "sqlite:" to an absolute file path.
func sqlitePath(path, dataDir string) (string, error) {
	switch {
	case path == "" && dataDir == "":
		return "", errors.New("database URL sqlite: needs a data folder: set --data-dir or use sqlite:PATH")
	case path == "":
		path = filepath.Join(dataDir, sqliteFile)
	case strings.Contains(path, ":memory:"):
		return "", errors.New("database URL sqlite::memory: is not supported, what is acknowledged must survive: " + validURLs)
	case strings.HasPrefix(path, "//") && !strings.HasPrefix(path, "///"):
		return "", fmt.Errorf("database URL sqlite:%s names a host: write sqlite:PATH, or sqlite:/PATH for an absolute one", path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("resolve database path %s: %w", path, err)
	}
	if info, err := os.Stat(abs); err == nil && info.IsDir() {
		return "", fmt.Errorf("database path %s is a folder: name a file in it, such as %s", abs, filepath.Join(abs, sqliteFile))
	}
	return abs, nil
}

func sqlitePool(path string, conns int, params ...string) (*sql.DB, error) {
	params = append(params, fmt.Sprintf("_pragma=busy_timeout(%d)", busyTimeout.Milliseconds()))
	file := url.URL{Path: path}
	connector, err := sqlite.NewConnector("file:" + file.EscapedPath() + "?" + strings.Join(params, "&"))
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	return pool, nil
}

// pingSQLite opens the first connection. Turning the write-ahead log on needs the file alone and does not heed
// busy_timeout, so two processes that make the same file at once collide here: try again for as long as a write may take.
func pingSQLite(ctx context.Context, pool *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	for {
		err := pool.PingContext(ctx)
		if !isBusy(err) {
			return err
		}
		if sleep(ctx, 10*time.Millisecond) != nil {
			return err
		}
	}
}

// ErrDamaged is what Open's error wraps when the file is no sound database.
var ErrDamaged = errors.New("the database file is damaged")

// checkedBytes bounds the databases that are read through at opening: a command must not wait long for it.
const checkedBytes = 512 << 20

// checkPages has SQLite read every page and follow every link between them. It does not know what the rows should say.
func checkPages(ctx context.Context, pool *sql.DB) error {
	var found string
	var bytes int64
	if err := pool.QueryRowContext(ctx, "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()").Scan(&bytes); err != nil || bytes > checkedBytes {
		return err
	}
	if err := pool.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found); err != nil {
		return err
	}
	if found != "ok" {
		return fmt.Errorf("%w: %s", ErrDamaged, found)
	}
	return nil
}

// openError says what is wrong with a database file and what would help.
func openError(path string, err error) error {
	var e *sqlite.Error
	code := 0
	if errors.As(err, &e) {
		code = e.Code() & 0xff
	}
	switch code {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("open database %s: the file and its folder must be there to be written: %w", path, err)
	}
	if errors.Is(err, ErrDamaged) {
		return fmt.Errorf("open database %s: %w. Stop every process that uses it, keep %s and what stands beside it, and put a copy of an earlier day in its place; "+
			"the ingest ledger goes on from the lake by itself", path, err, filepath.Base(path))
	}
	return fmt.Errorf("open database %s: %w", path, err)
}

// isBusy reports whether another connection's lock was in the way.
func isBusy(err error) bool {
	var e *sqlite.Error
	// The low byte is the primary code; the rest says which kind of busy it was.
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// readPool sends selects to the read-only connections and leaves all else to the writer. Bun does not ask it for
// queries of a transaction.
type readPool struct{ *sql.DB }

// ResolveConn implements bun.ConnResolver.
func (p readPool) ResolveConn(_ context.Context, q bun.Query) bun.IConn {
	if _, ok := q.(*bun.SelectQuery); ok {
		return p.DB
	}
	return nil
}
