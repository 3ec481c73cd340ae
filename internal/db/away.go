package db

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Away says that a statement failed for what ends by itself or by its operator's hand, and not for what it asked: the
// server does not answer or is stopping, it has no connection or no memory left, the disk is full, the file is locked. The
// same statement may be right a moment later. Whether a transaction that failed so was committed is not known.
func Away(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return isAwayState(pg.Code)
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		// The low byte is the kind; the rest says more.
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
			sqlite3.SQLITE_CANTOPEN:
			return true
		}
		return false
	}
	var dial *pgconn.ConnectError
	var network net.Error
	for _, gone := range []error{driver.ErrBadConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed} {
		if errors.Is(err, gone) {
			return true
		}
	}
	// pgx tells of a connection that broke before the statement by its text alone.
	return errors.As(err, &dial) || errors.As(err, &network) || err != nil && strings.HasSuffix(err.Error(), "conn closed")
}

// isAwayState knows the classes of SQLSTATE that are the server's own trouble: connection exception, insufficient
// resources, operator intervention, system error; and a server that takes no writes, as one that was just replaced.
func isAwayState(code string) bool {
	for _, class := range []string{"08", "53", "57", "58"} {
		if strings.HasPrefix(code, class) {
			return true
		}
	}
	return code == "25006"
}
