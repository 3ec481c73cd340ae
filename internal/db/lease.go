package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/uptrace/bun"
)

// ErrLeaseHeld says that somebody else has the lease. What AcquireLease returns is a *HeldError, which matches it.
var ErrLeaseHeld = errors.New("lease is held")

// ErrLeaseLost says that a lease is no longer this holder's: it ran out, or another took it over since.
var ErrLeaseLost = errors.New("lease is lost")

// HeldError is ErrLeaseHeld with who has the lease and until when, unless that holder renews it.
type HeldError struct {
	Name    string
	Holder  string
	Expires time.Time
}

// Error implements error.
func (e *HeldError) Error() string {
	return fmt.Sprintf("lease %q is held by %s; unless that renews it, it is free at %s", e.Name, e.Holder, e.Expires.UTC().Format(time.RFC3339))
}

// Is makes errors.Is(err, ErrLeaseHeld) true.
func (e *HeldError) Is(target error) bool { return target == ErrLeaseHeld }

// Lease is the right to be the only one who does something, until it is released or runs out. It is renewed in the
// background every third of its time.
//
// A process that was paused may believe in a lease that another has taken over. So what the lease protects must be
// written in a transaction that calls Check, or carry Token to a store that refuses a lower one.
type Lease struct {
	db     *DB
	name   string
	holder string
	token  int64
	ttl    time.Duration

	ctx     context.Context
	lose    context.CancelCauseFunc
	stop    context.CancelFunc
	stopped chan struct{}
	once    sync.Once
	freed   error
}

// makeLeases creates the table of leases. A row is never deleted, so that its token never starts again.
func (d *DB) makeLeases(ctx context.Context) error {
	err := d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if d.engine == Postgres {
			// CREATE TABLE IF NOT EXISTS fails when two sessions run it at once.
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(?)", advisoryID("leases")); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS leases (
			name       TEXT   NOT NULL PRIMARY KEY,
			holder     TEXT   NOT NULL,
			token      BIGINT NOT NULL,
			expires_at BIGINT NOT NULL)`)
		return err
	})
	if err != nil {
		return fmt.Errorf("make the table of leases: %w", err)
	}
	return nil
}

// clock is the database's own time in microseconds since the Unix epoch, so that the processes' clocks do not matter.
// On PostgreSQL it is the time of the statement; now() would be that of the transaction's begin.
func (d *DB) clock() bun.Safe {
	if d.engine == Postgres {
		return "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"
	}
	return "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
}

// AcquireLease takes the lease called name for holder, which should name process and machine for people to read. It
// fails at once with ErrLeaseHeld (a *HeldError) when another has it, be it one of the same holder's name. ttl is how
// long the lease outlives a dead holder, at least 10 ms.
//
// Pass the context of the job, not one for the call: the lease's own context derives from it. The lease stays renewed
// until Release, also when ctx has ended, so that a job may wind down under it.
func (d *DB) AcquireLease(ctx context.Context, name, holder string, ttl time.Duration) (*Lease, error) {
	if name == "" || holder == "" {
		return nil, errors.New("acquire lease: name and holder must not be empty")
	}
	if ttl < 10*time.Millisecond {
		return nil, fmt.Errorf("acquire lease %q: time to live must be at least 10ms, is %s", name, ttl)
	}
	began := time.Now()
	token, held, err := d.takeLease(ctx, name, holder, ttl)
	if err != nil {
		return nil, fmt.Errorf("acquire lease %q: %w", name, err)
	}
	if held != nil {
		return nil, held
	}
	l := &Lease{db: d, name: name, holder: holder, token: token, ttl: ttl, stopped: make(chan struct{})}
	l.ctx, l.lose = context.WithCancelCause(ctx)
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	go l.renew(renewing, began.Add(ttl))
	return l, nil
}

// AwaitLease is AcquireLease that waits for its turn until ctx ends.
func (d *DB) AwaitLease(ctx context.Context, name, holder string, ttl time.Duration) (*Lease, error) {
	for {
		l, err := d.AcquireLease(ctx, name, holder, ttl)
		if !errors.Is(err, ErrLeaseHeld) {
			return l, err
		}
		// A holder may release early, so ask a few times a term rather than at its end.
		if waitErr := sleep(ctx, min(ttl/4, time.Second)); waitErr != nil {
			return nil, fmt.Errorf("%w (gave up: %w)", err, waitErr)
		}
	}
}

// OutliveLease is AcquireLease that waits out the term of a holder who died. A holder who renews is alive: then the error is
// ErrLeaseHeld, within a third of the term and a second.
func (d *DB) OutliveLease(ctx context.Context, name, holder string, ttl time.Duration) (*Lease, error) {
	var first *HeldError
	for {
		l, err := d.AcquireLease(ctx, name, holder, ttl)
		var held *HeldError
		if !errors.As(err, &held) {
			return l, err
		}
		if first == nil {
			first = held
		}
		if !held.Expires.Equal(first.Expires) {
			return nil, err
		}
		if waitErr := sleep(ctx, min(ttl/20, time.Second)); waitErr != nil {
			return nil, fmt.Errorf("%w (gave up: %w)", err, waitErr)
		}
	}
}

// takeLease takes a free or expired lease with the next token, or says who has it.
func (d *DB) takeLease(ctx context.Context, name, holder string, ttl time.Duration) (token int64, held *HeldError, err error) {
	err = d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if d.engine == Postgres {
			// Waits for transactions that have called Check, see there.
			if _, err := tx.ExecContext(ctx, "SELECT token FROM leases WHERE name = ? FOR UPDATE", name); err != nil {
				return err
			}
		}
		err := tx.QueryRowContext(ctx, `INSERT INTO leases (name, holder, token, expires_at) VALUES (?, ?, 1, ? + ?)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = leases.token + 1, expires_at = excluded.expires_at
			WHERE leases.expires_at <= ? RETURNING token`,
			name, holder, d.clock(), ttl.Microseconds(), d.clock()).Scan(&token)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		held = &HeldError{Name: name}
		var expires int64
		if err := tx.QueryRowContext(ctx, "SELECT holder, expires_at FROM leases WHERE name = ?", name).Scan(&held.Holder, &expires); err != nil {
			return err
		}
		held.Expires = time.UnixMicro(expires).UTC()
		return nil
	})
	return token, held, err
}

// Token is the fencing token: every acquisition of a lease of this name has a greater one, for ever.
func (l *Lease) Token() int64 { return l.token }

// Context ends when the lease is lost or released, or with the context it was acquired under. After a loss
// context.Cause of it is ErrLeaseLost.
func (l *Lease) Context() context.Context { return l.ctx }

// Check returns ErrLeaseLost unless the lease is still this holder's by the database's clock. Called in the transaction
// that writes what the lease protects, it also keeps a successor from taking over before that transaction has ended.
func (l *Lease) Check(ctx context.Context, tx bun.IDB) error {
	query := "SELECT 1 FROM leases WHERE name = ? AND token = ? AND expires_at > ?"
	if l.db.engine == Postgres {
		// KEY SHARE conflicts with the FOR UPDATE of a take-over but not with the plain UPDATE of our own renewal. On
		// SQLite the transaction has the write lock.
		query += " FOR KEY SHARE"
	}
	var one int
	err := tx.QueryRowContext(ctx, query, l.name, l.token, l.db.clock()).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return l.lost()
	}
	if err != nil {
		return fmt.Errorf("check lease %q: %w", l.name, err)
	}
	return nil
}

func (l *Lease) lost() error {
	return fmt.Errorf("lease %q of %s with token %d: %w", l.name, l.holder, l.token, ErrLeaseLost)
}

// Release ends the lease, so that another can have it at once, and its context. A lease already lost is no error.
// Later calls return what the first did.
func (l *Lease) Release(ctx context.Context) error {
	l.once.Do(func() {
		l.stop()
		<-l.stopped
		l.lose(context.Canceled)
		_, err := l.db.NewRaw("UPDATE leases SET expires_at = 0 WHERE name = ? AND token = ?", l.name, l.token).Exec(ctx)
		if err != nil {
			l.freed = fmt.Errorf("release lease %q: %w", l.name, err)
		}
	})
	return l.freed
}

// renew prolongs the lease until it is stopped or the lease is lost. A renewal that fails is tried again for as long as
// the last good one lasts; its term counts from before it was sent, so that we never outlast the database's view.
func (l *Lease) renew(ctx context.Context, deadline time.Time) {
	defer close(l.stopped)
	for sleep(ctx, l.ttl/3) == nil {
		began := time.Now()
		attempt, cancel := context.WithDeadline(ctx, deadline)
		lost, err := l.prolong(attempt)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && !lost:
			deadline = began.Add(l.ttl)
		case lost || !time.Now().Before(deadline):
			l.lose(errors.Join(l.lost(), err))
			return
		}
	}
}

func (l *Lease) prolong(ctx context.Context) (lost bool, err error) {
	res, err := l.db.NewRaw("UPDATE leases SET expires_at = ? + ? WHERE name = ? AND token = ? AND expires_at > ?",
		l.db.clock(), l.ttl.Microseconds(), l.name, l.token, l.db.clock()).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return err == nil && n == 0, err
}
