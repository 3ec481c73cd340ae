// Package ledger is the durable account of which stretch of the log has gone where. It is what makes ingest exactly
// once in effect:
//
//   - A range (partition, first, last) is fixed here before either sink is written, so after a crash the next owner
//     finishes exactly that range, under the same file names and insert tokens, and never cuts another across it.
//   - Ranges of a partition follow each other without gap or overlap, and one at most is open.
//   - All of it is about one log, the one in the book of followed logs (internal/logid). Another cluster's topic, or one made
//     again under the same name, is refused until it is adopted. Offsets are kept here as positions: offsets of the log plus
//     a base, which is 0 unless a log was adopted.
//   - Whoever takes a partition over raises its epoch. Every later write is conditional on the epoch, so an owner that
//     lost the partition without noticing is fenced: its writes here fail, and what it may still write to a sink is
//     what the new owner writes too.
//
// The consumer group's committed offsets play no part in this; they only show the lag.
package ledger

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/uptrace/bun"

	"marquee/internal/db"
	"marquee/internal/lake"
	"marquee/internal/logid"
)

//go:embed migrations
var migrations embed.FS

// ErrFenced means another consumer has taken the partition over: drop everything about it.
var ErrFenced = errors.New("the partition has a newer owner")

// ErrOrder means that the range asked for does not continue the ledger's: the caller has lost its place.
var ErrOrder = errors.New("the range does not start where the last one ended")

// State is where a range stands.
type State string

// The states.
const (
	// Open: fixed, and not yet in both sinks.
	Open State = "open"
	// Done: in both sinks.
	Done State = "done"
	// Lost: the broker removed the records before they were in both sinks.
	Lost State = "lost"
)

// Ledger is safe for concurrent use, in any number of processes.
type Ledger struct {
	db   *db.DB
	book *logid.Book
	now  func() time.Time
}

// New opens the ledger in a database and brings its tables up to date.
func New(ctx context.Context, database *db.DB) (*Ledger, error) {
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open the ledger's migrations: %w", err)
	}
	if err := database.Migrate(ctx, "ingest_ledger", steps); err != nil {
		return nil, err
	}
	book, err := logid.OpenBook(ctx, database)
	if err != nil {
		return nil, err
	}
	return &Ledger{db: database, book: book, now: time.Now}, nil
}

// Range is a stretch of a partition's log, both ends included.
type Range struct {
	Topic     string
	Partition int32
	First     int64
	Last      int64
	// Epoch is the epoch it was fixed under; whoever finishes it does not change it.
	Epoch int64
	State State
	// Events and Dead count the records that became events and dead letters; known when the range is done.
	Events int64
	Dead   int64
	// InWarehouse and InLake say which sinks have it.
	InWarehouse bool
	InLake      bool
	// Files are the lake files it became, when InLake.
	Files []lake.FileInfo
}

// String is the range's name wherever one is needed: it is unique in a topic and the same for whoever writes it.
func (r Range) String() string {
	return fmt.Sprintf("%s/%d/%d-%d", r.Topic, r.Partition, r.First, r.Last)
}

type partitionRow struct {
	bun.BaseModel `bun:"table:ingest_partitions"`

	Topic       string
	PartitionNo int32
	Epoch       int64
	NextOffset  int64
	Holder      string
	UpdatedAt   int64
}

type rangeRow struct {
	bun.BaseModel `bun:"table:ingest_ranges"`

	Topic         string
	PartitionNo   int32
	FirstOffset   int64
	LastOffset    int64
	Epoch         int64
	State         State
	EventCount    int64
	DeadCount     int64
	WarehouseDone bool
	LakeDone      bool
	Files         string
	OpenedAt      int64
	FinishedAt    int64
}

func (r *rangeRow) toRange() (Range, error) {
	out := Range{
		Topic: r.Topic, Partition: r.PartitionNo, First: r.FirstOffset, Last: r.LastOffset, Epoch: r.Epoch, State: r.State,
		Events: r.EventCount, Dead: r.DeadCount, InWarehouse: r.WarehouseDone, InLake: r.LakeDone,
	}
	if err := json.Unmarshal([]byte(r.Files), &out.Files); err != nil {
		return Range{}, fmt.Errorf("the ledger's files of range %s are damaged: %w", out, err)
	}
	return out, nil
}

// Owner is the right to write one partition's ranges, until somebody else claims it. It is safe for concurrent use.
type Owner struct {
	ledger    *Ledger
	topic     string
	partition int32
	epoch     int64
	base      int64
}

// Epoch is the fencing token of this ownership.
func (o *Owner) Epoch() int64 { return o.epoch }

// Base is what is added to an offset of the log to make the position that the ledger, the lake and the warehouse keep.
func (o *Owner) Base() int64 { return o.base }

// Claim makes the caller (named by holder, for people to read) the owner of a partition of the log it reads. It returns the
// position the next new range starts at and, when the last owner left one, the range to finish first. start is the offset
// at which a partition that the ledger has never seen begins. When the ledger follows another log, the error is a
// *logid.OtherError.
func (l *Ledger) Claim(ctx context.Context, log logid.Log, partition int32, holder string, start int64) (owner *Owner, next int64, open *Range, err error) {
	topic := log.Topic
	row := partitionRow{Topic: topic, PartitionNo: partition, Epoch: 1, Holder: holder, UpdatedAt: l.now().UnixMicro()}
	var base int64
	err = l.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if base, err = l.base(ctx, tx, log, partition); err != nil {
			return err
		}
		row.NextOffset = max(start+base, 0)
		// The upsert takes the row's lock, so claims of one partition follow each other.
		if _, err := tx.NewInsert().Model(&row).
			On("CONFLICT (topic, partition_no) DO UPDATE").
			Set("epoch = partition_row.epoch + 1").Set("holder = EXCLUDED.holder").Set("updated_at = EXCLUDED.updated_at").
			Returning("epoch, next_offset").Exec(ctx); err != nil {
			return err
		}
		open, err = openRange(ctx, tx, topic, partition)
		return err
	})
	if err != nil {
		return nil, 0, nil, fmt.Errorf("claim partition %d of %s in the ledger: %w", partition, topic, err)
	}
	return &Owner{ledger: l, topic: topic, partition: partition, epoch: row.Epoch, base: base}, row.NextOffset, open, nil
}

// openRange returns the partition's open range, or nil.
func openRange(ctx context.Context, q bun.IDB, topic string, partition int32) (*Range, error) {
	var row rangeRow
	err := q.NewSelect().Model(&row).Where("topic = ? AND partition_no = ? AND state = ?", topic, partition, Open).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := row.toRange()
	return &r, err
}

// Fix records that the partition's next range ends at last, both ends included, before anything of it is written
// anywhere. first must be the offset after the last range. Fixing the same range again is harmless. Each condition must hold, and
// is to see to it that it does until the transaction it is given ends; its error is Fix's.
func (o *Owner) Fix(ctx context.Context, first, last int64, conditions ...func(context.Context, bun.IDB) error) (Range, error) {
	r := Range{Topic: o.topic, Partition: o.partition, First: first, Last: last, Epoch: o.epoch, State: Open}
	now := o.ledger.now().UnixMicro()
	err := o.ledger.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		for _, holds := range conditions {
			if err := holds(ctx, tx); err != nil {
				return err
			}
		}
		moved, err := affected(tx.NewUpdate().Model((*partitionRow)(nil)).
			Set("next_offset = ?", last+1).Set("updated_at = ?", now).
			Where("topic = ? AND partition_no = ? AND epoch = ? AND next_offset = ?", o.topic, o.partition, o.epoch, first).Exec(ctx))
		if err != nil {
			return err
		}
		if !moved {
			return o.fixedAlready(ctx, tx, r)
		}
		_, err = tx.NewInsert().Model(&rangeRow{
			Topic: o.topic, PartitionNo: o.partition, FirstOffset: first, LastOffset: last, Epoch: o.epoch, State: Open,
			Files: "[]", OpenedAt: now,
		}).Exec(ctx)
		return err
	})
	if err != nil {
		return Range{}, fmt.Errorf("fix range %s in the ledger: %w", r, err)
	}
	return r, nil
}

// fixedAlready tells the three reasons apart why a range could not be fixed: it was, by an attempt whose answer got
// lost; another consumer owns the partition; or the caller's offsets are not the ledger's.
func (o *Owner) fixedAlready(ctx context.Context, tx bun.Tx, want Range) error {
	if err := o.check(ctx, tx); err != nil {
		return err
	}
	open, err := openRange(ctx, tx, o.topic, o.partition)
	if err != nil {
		return err
	}
	if open != nil && open.First == want.First && open.Last == want.Last && open.Epoch == want.Epoch {
		return nil
	}
	return ErrOrder
}

// check says whether this owner still is, and keeps it so until the transaction ends.
func (o *Owner) check(ctx context.Context, tx bun.Tx) error {
	ours, err := affected(tx.NewUpdate().Model((*partitionRow)(nil)).Set("epoch = epoch").
		Where("topic = ? AND partition_no = ? AND epoch = ?", o.topic, o.partition, o.epoch).Exec(ctx))
	if err != nil {
		return err
	}
	if !ours {
		return ErrFenced
	}
	return nil
}

// InWarehouse records that the warehouse has the range; with InLake the range is done.
func (o *Owner) InWarehouse(ctx context.Context, r Range, events, dead int64) error {
	return o.mark(ctx, r, func(q *bun.UpdateQuery) *bun.UpdateQuery {
		return q.Set("warehouse_done = ?", true).Set("event_count = ?", events).Set("dead_count = ?", dead).
			Set("state = CASE WHEN lake_done THEN ? ELSE state END", Done)
	})
}

// InLake records the files the range became in the lake; with InWarehouse the range is done.
func (o *Owner) InLake(ctx context.Context, r Range, files []lake.FileInfo) error {
	if files == nil {
		files = []lake.FileInfo{}
	}
	text, err := json.Marshal(files)
	if err != nil {
		return fmt.Errorf("encode the files of range %s: %w", r, err)
	}
	return o.mark(ctx, r, func(q *bun.UpdateQuery) *bun.UpdateQuery {
		return q.Set("lake_done = ?", true).Set("files = ?", string(text)).
			Set("state = CASE WHEN warehouse_done THEN ? ELSE state END", Done)
	})
}

// Lose closes an open range whose records the broker no longer has.
func (o *Owner) Lose(ctx context.Context, r Range) error {
	return o.mark(ctx, r, func(q *bun.UpdateQuery) *bun.UpdateQuery { return q.Set("state = ?", Lost) })
}

// mark changes an open range of this owner's partition. A range that is done already stays as it is: the answer of the
// attempt that did it got lost.
func (o *Owner) mark(ctx context.Context, r Range, set func(*bun.UpdateQuery) *bun.UpdateQuery) error {
	err := o.ledger.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := o.check(ctx, tx); err != nil {
			return err
		}
		_, err := set(tx.NewUpdate().Model((*rangeRow)(nil))).Set("finished_at = ?", o.ledger.now().UnixMicro()).
			Where("topic = ? AND partition_no = ? AND first_offset = ? AND state = ?", r.Topic, r.Partition, r.First, Open).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("mark range %s in the ledger: %w", r, err)
	}
	return nil
}

// Skip moves the partition's next offset forward over records the broker removed before they were read.
func (o *Owner) Skip(ctx context.Context, from, to int64) error {
	moved, err := affected(o.ledger.db.NewUpdate().Model((*partitionRow)(nil)).Set("next_offset = ?", to).
		Where("topic = ? AND partition_no = ? AND epoch = ? AND next_offset = ? AND next_offset < ?", o.topic, o.partition, o.epoch, from, to).Exec(ctx))
	if err == nil && !moved {
		err = ErrFenced
	}
	if err != nil {
		return fmt.Errorf("skip partition %d of %s to offset %d in the ledger: %w", o.partition, o.topic, to, err)
	}
	return nil
}

// Advance moves a partition whose ledger is behind the lake to after the lake's last range. An open range is done then: the
// lake has it and others after it. With reopen, the last range itself is open, in the lake, to be brought into the
// warehouse (again).
func (o *Owner) Advance(ctx context.Context, from int64, last Range, reopen bool) error {
	files := last.Files
	if files == nil {
		files = []lake.FileInfo{}
	}
	text, err := json.Marshal(files)
	if err != nil {
		return fmt.Errorf("encode the files of range %s: %w", last, err)
	}
	now := o.ledger.now().UnixMicro()
	err = o.ledger.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		moved, err := affected(tx.NewUpdate().Model((*partitionRow)(nil)).Set("next_offset = ?", last.Last+1).Set("updated_at = ?", now).
			Where("topic = ? AND partition_no = ? AND epoch = ? AND next_offset = ? AND next_offset <= ?", o.topic, o.partition, o.epoch, from, last.Last).
			Exec(ctx))
		if err != nil {
			return err
		}
		if !moved {
			return ErrFenced
		}
		_, err = tx.NewUpdate().Model((*rangeRow)(nil)).Set("state = ?", Done).Set("warehouse_done = ?", true).Set("lake_done = ?", true).
			Set("finished_at = ?", now).Where("topic = ? AND partition_no = ? AND state = ?", o.topic, o.partition, Open).Exec(ctx)
		if err != nil || !reopen {
			return err
		}
		_, err = tx.NewInsert().Model(&rangeRow{
			Topic: o.topic, PartitionNo: o.partition, FirstOffset: last.First, LastOffset: last.Last, Epoch: last.Epoch, State: Open,
			LakeDone: true, Files: string(text), OpenedAt: now,
		}).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("move partition %d of %s on to %s in the ledger: %w", o.partition, o.topic, last, err)
	}
	return nil
}

func affected(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}
