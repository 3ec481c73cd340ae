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
	var row *partitionRow
	var base int64
	err = l.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if base, err = l.base(ctx, tx, log, partition); err != nil {
			return err
		}
		row = &partitionRow{Topic: topic, PartitionNo: partition, Epoch: 1, NextOffset: max(start+base, 0), Holder: holder, UpdatedAt: l.now().UnixMicro()}
		known, err := row.insert(ctx, tx)
		if err != nil {
			return err
		}
		if known {
			// With the row locked, claims of one partition follow each other.
			if row, err = partitionOf(ctx, tx, topic, partition); err != nil {
				return err
			}
			if err := row.fence(ctx, tx, holder, l.now()); err != nil {
				return err
			}
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
func openRange(ctx context.Context, tx bun.Tx, topic string, partition int32) (*Range, error) {
	row, err := openRow(ctx, tx, topic, partition)
	if err != nil || row == nil {
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
		partition, err := o.hold(ctx, tx)
		if err != nil {
			return err
		}
		if partition.NextOffset != first {
			return o.fixedAlready(ctx, tx, r)
		}
		partition.NextOffset, partition.UpdatedAt = last+1, now
		if err := partition.save(ctx, tx); err != nil {
			return err
		}
		row := &rangeRow{Topic: o.topic, PartitionNo: o.partition, FirstOffset: first, LastOffset: last, Epoch: o.epoch, State: Open, Files: "[]", OpenedAt: now}
		return row.insert(ctx, tx)
	})
	if err != nil {
		return Range{}, fmt.Errorf("fix range %s in the ledger: %w", r, err)
	}
	return r, nil
}

// fixedAlready tells the two reasons apart why an owner's range could not be fixed: it was, by an attempt whose answer got lost, or
// the caller's offsets are not the ledger's.
func (o *Owner) fixedAlready(ctx context.Context, tx bun.Tx, want Range) error {
	open, err := openRange(ctx, tx, o.topic, o.partition)
	if err != nil {
		return err
	}
	if open != nil && open.First == want.First && open.Last == want.Last && open.Epoch == want.Epoch {
		return nil
	}
	return ErrOrder
}

// hold returns the partition's row if this owner still is its owner, and keeps it so until the transaction ends.
func (o *Owner) hold(ctx context.Context, tx bun.Tx) (*partitionRow, error) {
	row, err := partitionOf(ctx, tx, o.topic, o.partition)
	if errors.Is(err, sql.ErrNoRows) || err == nil && row.Epoch != o.epoch {
		return nil, ErrFenced
	}
	return row, err
}

// InWarehouse records that the warehouse has the range; with InLake the range is done.
func (o *Owner) InWarehouse(ctx context.Context, r Range, events, dead int64) error {
	return o.mark(ctx, r, func(row *rangeRow) {
		row.WarehouseDone, row.EventCount, row.DeadCount = true, events, dead
		if row.LakeDone {
			row.State = Done
		}
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
	return o.mark(ctx, r, func(row *rangeRow) {
		row.LakeDone, row.Files = true, string(text)
		if row.WarehouseDone {
			row.State = Done
		}
	})
}

// Lose closes an open range whose records the broker no longer has.
func (o *Owner) Lose(ctx context.Context, r Range) error {
	return o.mark(ctx, r, func(row *rangeRow) { row.State = Lost })
}

// mark changes an open range of this owner's partition. A range that is done already stays as it is: the answer of the
// attempt that did it got lost.
func (o *Owner) mark(ctx context.Context, r Range, set func(*rangeRow)) error {
	err := o.ledger.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := o.hold(ctx, tx); err != nil {
			return err
		}
		row, err := openRow(ctx, tx, r.Topic, r.Partition)
		if err != nil || row == nil || row.FirstOffset != r.First {
			return err
		}
		set(row)
		row.FinishedAt = o.ledger.now().UnixMicro()
		return row.save(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("mark range %s in the ledger: %w", r, err)
	}
	return nil
}

// Skip moves the partition's next offset forward over records the broker removed before they were read.
func (o *Owner) Skip(ctx context.Context, from, to int64) error {
	err := o.ledger.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		row, err := o.hold(ctx, tx)
		if err != nil {
			return err
		}
		if row.NextOffset != from || from >= to {
			return ErrFenced
		}
		row.NextOffset, row.UpdatedAt = to, o.ledger.now().UnixMicro()
		return row.save(ctx, tx)
	})
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
		partition, err := o.hold(ctx, tx)
		if err != nil {
			return err
		}
		if partition.NextOffset != from || from > last.Last {
			return ErrFenced
		}
		partition.NextOffset, partition.UpdatedAt = last.Last+1, now
		if err := partition.save(ctx, tx); err != nil {
			return err
		}
		open, err := openRow(ctx, tx, o.topic, o.partition)
		if err != nil {
			return err
		}
		if open != nil {
			open.State, open.WarehouseDone, open.LakeDone, open.FinishedAt = Done, true, true, now
			if err := open.save(ctx, tx); err != nil {
				return err
			}
		}
		if !reopen {
			return nil
		}
		row := &rangeRow{
			Topic: o.topic, PartitionNo: o.partition, FirstOffset: last.First, LastOffset: last.Last, Epoch: last.Epoch, State: Open,
			LakeDone: true, Files: string(text), OpenedAt: now,
		}
		return row.insert(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("move partition %d of %s on to %s in the ledger: %w", o.partition, o.topic, last, err)
	}
	return nil
}
