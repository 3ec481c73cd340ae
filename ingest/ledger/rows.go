package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
)

// ErrDamaged is wrapped where a row is not what was written. What is lost of the ledger is made up from the lake, so that the rows of
// that partition need only go; the error says how.
var ErrDamaged = errors.New("the ledger is damaged")

// unsummed is the checksum of rows from before there were any.
const unsummed = -1

type partitionRow struct {
	bun.BaseModel `bun:"table:ingest_partitions"`

	Topic       string
	PartitionNo int32
	Epoch       int64
	NextOffset  int64
	Holder      string
	UpdatedAt   int64
	Checksum    int64
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
	Checksum      int64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func crc(format string, of ...any) int64 {
	return int64(crc32.Checksum(fmt.Appendf(nil, format, of...), castagnoli))
}

func (r *partitionRow) sum() int64 {
	return crc("%q %d %d %d %q %d", r.Topic, r.PartitionNo, r.Epoch, r.NextOffset, r.Holder, r.UpdatedAt)
}

func (r *rangeRow) sum() int64 {
	return crc("%q %d %d %d %d %q %d %d %t %t %q %d %d", r.Topic, r.PartitionNo, r.FirstOffset, r.LastOffset, r.Epoch, r.State, r.EventCount, r.DeadCount,
		r.WarehouseDone, r.LakeDone, r.Files, r.OpenedAt, r.FinishedAt)
}

func (r *partitionRow) check() error {
	if r.Checksum == unsummed || r.Checksum == r.sum() {
		return nil
	}
	return damaged("ingest_partitions", r.Topic, r.PartitionNo, fmt.Sprintf("next offset %d, epoch %d", r.NextOffset, r.Epoch))
}

func (r *rangeRow) check() error {
	if r.Checksum == unsummed || r.Checksum == r.sum() {
		return nil
	}
	return damaged("ingest_ranges", r.Topic, r.PartitionNo, fmt.Sprintf("%s range %d-%d, epoch %d", r.State, r.FirstOffset, r.LastOffset, r.Epoch))
}

func damaged(table, topic string, partition int32, says string) error {
	where := fmt.Sprintf("WHERE topic = '%s' AND partition_no = %d;", strings.ReplaceAll(topic, "'", "''"), partition)
	return fmt.Errorf("%w: a row of %s (%s of partition %d of %s) does not match its checksum. Nothing was changed. The lake has what the ledger had: stop what uses the database, run "+
		"DELETE FROM ingest_ranges %s DELETE FROM ingest_partitions %s in it, and start again", ErrDamaged, table, says, partition, topic, where, where)
}

func (r *rangeRow) toRange() (Range, error) {
	out := Range{
		Topic: r.Topic, Partition: r.PartitionNo, First: r.FirstOffset, Last: r.LastOffset, Epoch: r.Epoch, State: r.State,
		Events: r.EventCount, Dead: r.DeadCount, InWarehouse: r.WarehouseDone, InLake: r.LakeDone,
	}
	if err := r.check(); err != nil {
		return Range{}, err
	}
	if err := json.Unmarshal([]byte(r.Files), &out.Files); err != nil {
		return Range{}, fmt.Errorf("%w: the files of range %s: %w", ErrDamaged, out, err)
	}
	return out, nil
}

// locked makes a query keep the rows it reads from being changed until the transaction ends. SQLite has one writer at a time anyway.
func locked(tx bun.Tx, q *bun.SelectQuery) *bun.SelectQuery {
	if tx.Dialect().Name() == dialect.SQLite {
		return q
	}
	return q.For("UPDATE")
}

// partitionOf reads and locks a partition's row.
func partitionOf(ctx context.Context, tx bun.Tx, topic string, partition int32) (*partitionRow, error) {
	row := new(partitionRow)
	if err := locked(tx, tx.NewSelect().Model(row).Where("topic = ? AND partition_no = ?", topic, partition)).Scan(ctx); err != nil {
		return nil, err
	}
	return row, row.check()
}

// insert adds a row, unless the partition has one already: then it is known.
func (r *partitionRow) insert(ctx context.Context, tx bun.Tx) (known bool, err error) {
	r.Checksum = r.sum()
	res, err := tx.NewInsert().Model(r).On("CONFLICT (topic, partition_no) DO NOTHING").Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 0, err
}

// fence takes the partition from whoever owns it.
func (r *partitionRow) fence(ctx context.Context, tx bun.Tx, holder string, now time.Time) error {
	r.Epoch, r.Holder, r.UpdatedAt = r.Epoch+1, holder, now.UnixMicro()
	return r.save(ctx, tx)
}

// fenceAll takes all of a topic's partitions from whoever owns them, and locks their rows: who claims meanwhile comes before, and is
// fenced, or after.
func (l *Ledger) fenceAll(ctx context.Context, tx bun.Tx, topic, holder string) ([]partitionRow, error) {
	var rows []partitionRow
	if err := locked(tx, tx.NewSelect().Model(&rows).Where("topic = ?", topic).Order("partition_no")).Scan(ctx); err != nil {
		return nil, err
	}
	for i := range rows {
		if err := rows[i].check(); err != nil {
			return nil, err
		}
		if err := rows[i].fence(ctx, tx, holder, l.now()); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// openRows reads and locks a topic's open ranges.
func openRows(ctx context.Context, tx bun.Tx, topic string) ([]rangeRow, error) {
	var rows []rangeRow
	if err := locked(tx, tx.NewSelect().Model(&rows).Where("topic = ? AND state = ?", topic, Open).Order("partition_no")).Scan(ctx); err != nil {
		return nil, err
	}
	for i := range rows {
		if err := rows[i].check(); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// save writes a row that partitionOf read.
func (r *partitionRow) save(ctx context.Context, tx bun.Tx) error {
	r.Checksum = r.sum()
	_, err := tx.NewUpdate().Model(r).Where("topic = ? AND partition_no = ?", r.Topic, r.PartitionNo).Exec(ctx)
	return err
}

// openRow reads and locks the row of a partition's open range, or returns nil.
func openRow(ctx context.Context, tx bun.Tx, topic string, partition int32) (*rangeRow, error) {
	row := new(rangeRow)
	err := locked(tx, tx.NewSelect().Model(row).Where("topic = ? AND partition_no = ? AND state = ?", topic, partition, Open)).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return row, row.check()
}

// save writes a row that openRow read.
func (r *rangeRow) save(ctx context.Context, tx bun.Tx) error {
	r.Checksum = r.sum()
	_, err := tx.NewUpdate().Model(r).Where("topic = ? AND partition_no = ? AND first_offset = ?", r.Topic, r.PartitionNo, r.FirstOffset).Exec(ctx)
	return err
}

// insert adds a row.
func (r *rangeRow) insert(ctx context.Context, tx bun.Tx) error {
	r.Checksum = r.sum()
	_, err := tx.NewInsert().Model(r).Exec(ctx)
	return err
}
