package imports

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"marquee/internal/db"
	"marquee/internal/logid"
)

// FileCursor is how far the import of one file has come.
type FileCursor struct {
	bun.BaseModel `bun:"table:ingest_import_files"`

	// Name says what is imported: the kind, the namespace and the file's path.
	Name string `bun:",pk"`
	// Size, ModifiedAt (microseconds since the Unix epoch), Head and Tail tell whether the file is the one it was.
	Size       int64
	ModifiedAt int64
	Head       string
	Tail       string
	// Mapping is a digest of how rows became events.
	Mapping string
	// Bytes, Line and RowCount are the place in the file everything before which is on the broker, or was left out.
	Bytes    int64
	Line     int64
	RowCount int64
	// Events, Skipped and Rejected are what became of the rows so far.
	Events   int64
	Skipped  int64
	Rejected int64
	// FirstAt and LastAt are the earliest and the latest occurred_at so far, in microseconds since the Unix epoch.
	FirstAt int64
	LastAt  int64
	// ClusterID and TopicID name the log the events are on, as logid.Log does; empty when that is not known.
	ClusterID string
	TopicID   string
	// StartedAt, UpdatedAt and FinishedAt are microseconds since the Unix epoch; FinishedAt is 0 while it is not.
	StartedAt  int64
	UpdatedAt  int64
	FinishedAt int64
}

// On says whether the cursor counts events of this log: another has none of them.
func (c FileCursor) On(log logid.Log) bool {
	return Cursor{ClusterID: c.ClusterID, TopicID: c.TopicID}.On(log)
}

// FileImport is the right to import a file, held against other processes until Close.
type FileImport struct {
	db     *db.DB
	lease  *db.Lease
	cursor FileCursor
}

// OpenFile takes the right to an import and reads its cursor. When somebody else has it, the error says who
// (db.ErrLeaseHeld).
func OpenFile(ctx context.Context, database *db.DB, name, holder string) (*FileImport, error) {
	if err := migrate(ctx, database); err != nil {
		return nil, err
	}
	lease, err := database.OutliveLease(ctx, "import "+name, holder, leaseTime)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", name, err)
	}
	i := &FileImport{db: database, lease: lease, cursor: FileCursor{Name: name}}
	err = database.NewSelect().Model(&i.cursor).WherePK().Scan(ctx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("read how far import %s has come: %w", name, err)
		return nil, errors.Join(err, lease.Release(ctx))
	}
	return i, nil
}

// Cursor returns how far the import has come; that of a new one has no StartedAt.
func (i *FileImport) Cursor() FileCursor { return i.cursor }

// Save stores the cursor, unless the right to import was lost.
func (i *FileImport) Save(ctx context.Context, c FileCursor) error {
	c.Name = i.cursor.Name
	c.UpdatedAt = time.Now().UnixMicro()
	err := i.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := i.lease.Check(ctx, tx); err != nil {
			return err
		}
		insert := tx.NewInsert().Model(&c).On("CONFLICT (name) DO UPDATE")
		for _, column := range []string{
			"size", "modified_at", "head", "tail", "mapping", "bytes", "line", "row_count", "events", "skipped", "rejected", "first_at", "last_at",
			"cluster_id", "topic_id", "started_at", "updated_at", "finished_at",
		} {
			insert = insert.Set(column + " = EXCLUDED." + column)
		}
		_, err := insert.Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("store how far import %s has come: %w", c.Name, err)
	}
	i.cursor = c
	return nil
}

// Close gives the right to import back.
func (i *FileImport) Close(ctx context.Context) error { return i.lease.Release(ctx) }
