// Package suppression is the list of erased profiles: events of theirs are taken in no more, whoever sends them and however
// often the log is read again.
//
// The list holds no profile id, only an HMAC-SHA-256 of it under a key that is made once and kept in the same database: the list says
// of an id at hand whether it is on it, and tells nobody without the database which ids those are. A generation counts its
// changes. Who writes something durable holds the generation it filtered by in the same transaction (Set.Hold), so that a
// change of the list and a write come one after the other, never at once.
package suppression

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"sync"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"marquee/internal/db"
)

//go:embed migrations
var migrations embed.FS

// ErrChanged says that the list is another than the set at hand.
var ErrChanged = errors.New("the list of erased profiles has changed")

// Digest stands for a profile id: the HMAC of it.
type Digest [sha256.Size]byte

// String is the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// List is the list in a database. It is safe for concurrent use.
type List struct {
	db *db.DB

	mu  sync.Mutex
	set *Set
	at  time.Time
}

// Set is the list as it was at one generation. It is safe for concurrent use and does not change.
type Set struct {
	generation int64
	key        []byte
	digests    map[Digest]struct{}
	macs       sync.Pool
}

type stateRow struct {
	bun.BaseModel `bun:"table:suppression_state"`

	ID         int64
	Generation int64
	HashKey    string
}

type profileRow struct {
	bun.BaseModel `bun:"table:suppressed_profiles"`

	Digest       string `bun:",pk"`
	SuppressedAt int64
}

// Open opens the list in a database and brings its tables up to date.
func Open(ctx context.Context, d *db.DB) (*List, error) {
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open the suppression list's migrations: %w", err)
	}
	if err := d.Migrate(ctx, "suppression", steps); err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make a key for the suppression list: %w", err)
	}
	// The first to open the list makes its key; all others find it.
	state := &stateRow{ID: 1, Generation: 1, HashKey: hex.EncodeToString(key)}
	if _, err := d.NewInsert().Model(state).On("CONFLICT (id) DO NOTHING").Exec(ctx); err != nil {
		return nil, fmt.Errorf("make the suppression list: %w", err)
	}
	l := &List{db: d}
	_, err = l.Now(ctx)
	return l, err
}

// Now returns the list as it is now.
func (l *List) Now(ctx context.Context) (*Set, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refresh(ctx); err != nil {
		return nil, fmt.Errorf("read the suppression list: %w", err)
	}
	return l.set, nil
}

// Recent returns the list as it was at most a given time ago. Where it cannot be read, it is the last one that could be: for those
// whose work a later reader, who must know, looks over again.
func (l *List) Recent(ctx context.Context, age time.Duration) *Set {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.at) >= age {
		// The time is of the attempt: a database that does not answer is not asked for every event.
		l.at = time.Now()
		_ = l.refresh(ctx) // the caller wants what there is
	}
	return l.set
}

// refresh reads the list, if it is another than the one at hand.
func (l *List) refresh(ctx context.Context) error {
	var state stateRow
	if err := l.db.NewSelect().Model(&state).Where("id = 1").Scan(ctx); err != nil {
		return err
	}
	l.at = time.Now()
	if l.set != nil && l.set.generation == state.Generation {
		return nil
	}
	return l.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		set, err := load(ctx, tx)
		if err == nil {
			l.set = set
		}
		return err
	})
}

// load reads state and list in one transaction, which holds the state's row against changes.
func load(ctx context.Context, tx bun.Tx) (*Set, error) {
	state, err := lock(ctx, tx)
	if err != nil {
		return nil, err
	}
	var rows []profileRow
	if err := tx.NewSelect().Model(&rows).Scan(ctx); err != nil {
		return nil, err
	}
	s := &Set{generation: state.Generation, digests: make(map[Digest]struct{}, len(rows))}
	if s.key, err = hex.DecodeString(state.HashKey); err != nil || len(s.key) != 32 {
		return nil, errors.New("the key of the suppression list is damaged: restore the database from a copy; under another key the list is of no use")
	}
	s.macs.New = func() any { return hmac.New(sha256.New, s.key) }
	for _, row := range rows {
		d, err := ParseDigest(row.Digest)
		if err != nil {
			return nil, err
		}
		s.digests[d] = struct{}{}
	}
	return s, nil
}

// lock reads the state and keeps it from changing until the transaction ends; another transaction may hold it likewise.
func lock(ctx context.Context, tx bun.IDB) (stateRow, error) {
	var state stateRow
	q := tx.NewSelect().Model(&state).Where("id = 1")
	if tx.Dialect().Name() == dialect.PG {
		q = q.For("SHARE")
	}
	return state, q.Scan(ctx)
}

// ParseDigest reads what Digest.String wrote.
func ParseDigest(s string) (d Digest, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(d) {
		return d, fmt.Errorf("%q is no digest of a profile: 64 hexadecimal digits are right", s)
	}
	return Digest(b), nil
}

// Add puts a profile on the list, if it is not on it, and returns its digest.
func (l *List) Add(ctx context.Context, profileID string) (Digest, error) {
	return l.change(ctx, profileID, "erase", func(ctx context.Context, tx bun.Tx, d Digest) (bool, error) {
		row := &profileRow{Digest: d.String(), SuppressedAt: time.Now().UnixMicro()}
		return changed(tx.NewInsert().Model(row).On("CONFLICT (digest) DO NOTHING").Exec(ctx))
	})
}

// Lift takes a profile off the list: its events are taken in again from now on. It fails with ErrNotListed when it is not on it.
func (l *List) Lift(ctx context.Context, profileID string) (Digest, error) {
	return l.change(ctx, profileID, "lift the erasure of", func(ctx context.Context, tx bun.Tx, d Digest) (bool, error) {
		was, err := changed(tx.NewDelete().Model((*profileRow)(nil)).Where("digest = ?", d.String()).Exec(ctx))
		if err == nil && !was {
			err = ErrNotListed
		}
		return was, err
	})
}

// ErrNotListed says that a profile is not on the list.
var ErrNotListed = errors.New("the profile is not erased")

// change changes the list and, if that changed anything, its generation, in one transaction.
func (l *List) change(ctx context.Context, profileID, what string, do func(context.Context, bun.Tx, Digest) (bool, error)) (Digest, error) {
	set, err := l.Now(ctx)
	if err != nil {
		return Digest{}, err
	}
	d := set.Digest(profileID)
	err = l.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		// First, and always: it waits for those who hold the generation, and keeps others from reading it until the list is another.
		if _, err := tx.NewUpdate().Model((*stateRow)(nil)).Set("generation = generation + 1").Where("id = 1").Exec(ctx); err != nil {
			return err
		}
		_, err := do(ctx, tx, d)
		return err
	})
	if err != nil {
		return d, fmt.Errorf("%s a profile: %w", what, err)
	}
	_, err = l.Now(ctx)
	return d, err
}

func changed(res interface{ RowsAffected() (int64, error) }, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// Generation is the generation of the list.
func (s *Set) Generation() int64 { return s.generation }

// Len is how many profiles are on the list.
func (s *Set) Len() int { return len(s.digests) }

// Has says whether a profile is on the list. On an empty list it costs nothing.
func (s *Set) Has(profileID string) bool {
	if len(s.digests) == 0 {
		return false
	}
	_, ok := s.digests[s.Digest(profileID)]
	return ok
}

// Holds says whether a digest is on the list.
func (s *Set) Holds(d Digest) bool {
	_, ok := s.digests[d]
	return ok
}

// Digest is what stands for a profile on this list.
func (s *Set) Digest(profileID string) (d Digest) {
	mac := s.macs.Get().(hash.Hash)
	defer s.macs.Put(mac)
	mac.Reset()
	_, _ = mac.Write([]byte(profileID)) // a hash takes everything
	mac.Sum(d[:0])
	return d
}

// Hold makes sure, within a transaction, that the list is this set and stays so until the transaction ends. It fails with
// ErrChanged when it is another by now.
func (s *Set) Hold(ctx context.Context, tx bun.IDB) error {
	state, err := lock(ctx, tx)
	if err != nil {
		return fmt.Errorf("hold the suppression list: %w", err)
	}
	if state.Generation != s.generation {
		return ErrChanged
	}
	return nil
}
