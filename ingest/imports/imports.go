// Package imports keeps how far each import of history has come, so that one that was interrupted goes on where it
// stopped and one that is run again publishes nothing twice.
//
// An import turns its source into one sequence of events, always the same for the same source, and publishes it in
// order. The cursor counts the events of that sequence the broker has acknowledged, with a digest of their ids: when the
// source has changed meanwhile, the digest tells whether it only grew at the end. Files too large to be read twice have a
// cursor that is a place in the file, and tells by size, time and both ends whether the file is still the same.
package imports

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"marquee/internal/db"
	"marquee/internal/logid"
)

//go:embed migrations
var migrations embed.FS

// leaseTime is how long an import that died keeps others out.
const leaseTime = 15 * time.Second

// Cursor is how far an import has come.
type Cursor struct {
	bun.BaseModel `bun:"table:ingest_imports"`

	// Namespace is the import's: two sources of one namespace are versions of one source.
	Namespace string `bun:",pk"`
	// Content is the SHA-256 of the source's files, in hexadecimal.
	Content string
	// Acknowledged is how many events of the sequence are on the broker, from the first.
	Acknowledged int64
	// PrefixDigest is the Digest of their ids.
	PrefixDigest string
	// StartedAt, UpdatedAt and FinishedAt are microseconds since the Unix epoch; FinishedAt is 0 while it is not.
	StartedAt  int64
	UpdatedAt  int64
	FinishedAt int64
	// ClusterID and TopicID name the log the acknowledged events are on, as logid.Log does; empty when that is not known.
	ClusterID string
	TopicID   string
}

// On says whether the cursor counts events of this log: another has none of them. A cursor from before logs were told
// apart is taken to be of the log at hand.
func (c Cursor) On(log logid.Log) bool {
	return c.ClusterID == "" && c.TopicID == "" ||
		log.Same(logid.Log{Topic: log.Topic, Cluster: c.ClusterID, ID: c.TopicID})
}

// Import is the right to run an import, held against other processes until Close.
type Import struct {
	db     *db.DB
	lease  *db.Lease
	cursor Cursor
}

// Open takes the right to import a namespace and reads its cursor. When somebody else is importing it, the error says
// who (db.ErrLeaseHeld).
func Open(ctx context.Context, database *db.DB, namespace, holder string) (*Import, error) {
	if err := migrate(ctx, database); err != nil {
		return nil, err
	}
	lease, err := database.OutliveLease(ctx, "import "+namespace, holder, leaseTime)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", namespace, err)
	}
	i := &Import{db: database, lease: lease, cursor: Cursor{Namespace: namespace}}
	err = database.NewSelect().Model(&i.cursor).WherePK().Scan(ctx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("read how far import %s has come: %w", namespace, err)
		return nil, errors.Join(err, lease.Release(ctx))
	}
	return i, nil
}

func migrate(ctx context.Context, database *db.DB) error {
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("open the imports' migrations: %w", err)
	}
	return database.Migrate(ctx, "ingest_imports", steps)
}

// Holder names this process to others that want the right it has.
func Holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s, process %d", host, os.Getpid())
}

// CheckNamespace keeps ids within the contract's 64 bytes and readable.
func CheckNamespace(ns string) error {
	const most = 40
	ok := len(ns) > 0 && len(ns) <= most
	for _, c := range []byte(ns) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-_.", c) >= 0)
	}
	if !ok {
		return fmt.Errorf("a namespace is 1 to %d of a-z, 0-9, -, _ and ., this is %q", most, ns)
	}
	return nil
}

// Cursor returns how far the import has come; a new one has acknowledged nothing.
func (i *Import) Cursor() Cursor { return i.cursor }

// Save stores the cursor, unless the right to import was lost.
func (i *Import) Save(ctx context.Context, c Cursor) error {
	c.Namespace = i.cursor.Namespace
	c.UpdatedAt = time.Now().UnixMicro()
	err := i.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := i.lease.Check(ctx, tx); err != nil {
			return err
		}
		_, err := tx.NewInsert().Model(&c).On("CONFLICT (namespace) DO UPDATE").
			Set("content = EXCLUDED.content").Set("acknowledged = EXCLUDED.acknowledged").
			Set("prefix_digest = EXCLUDED.prefix_digest").Set("started_at = EXCLUDED.started_at").
			Set("updated_at = EXCLUDED.updated_at").Set("finished_at = EXCLUDED.finished_at").
			Set("cluster_id = EXCLUDED.cluster_id").Set("topic_id = EXCLUDED.topic_id").Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("store how far import %s has come: %w", c.Namespace, err)
	}
	i.cursor = c
	return nil
}

// Close gives the right to import back.
func (i *Import) Close(ctx context.Context) error { return i.lease.Release(ctx) }

// Digest is a running digest of event ids.
type Digest struct{ hash hash.Hash }

// NewDigest is the digest of no ids.
func NewDigest() *Digest { return &Digest{hash: sha256.New()} }

// Add appends an id.
func (d *Digest) Add(id [16]byte) { d.hash.Write(id[:]) }

// String is the digest so far, in hexadecimal.
func (d *Digest) String() string { return hex.EncodeToString(d.hash.Sum(nil)) }
