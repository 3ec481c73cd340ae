package ledger

import (
	"context"
	"fmt"
	"time"
)

// Position is how far a partition has come, in positions: an offset of the log is one of them less Base.
type Position struct {
	// Next is the offset the next new range starts at.
	Next int64
	// Through is the last offset up to which everything is in both sinks; -1 when nothing is.
	Through int64
	// Base is what was added to the log's offsets to make these.
	Base int64
}

// Positions returns how far every partition of a topic that was ever claimed has come.
func (l *Ledger) Positions(ctx context.Context, topic string) (map[int32]Position, error) {
	var rows []struct {
		PartitionNo int32
		NextOffset  int64
		OpenFirst   *int64
	}
	// One statement, so that a range being fixed meanwhile is seen wholly or not at all.
	err := l.db.NewSelect().Model((*partitionRow)(nil)).
		ColumnExpr("partition_row.partition_no, partition_row.next_offset, r.first_offset AS open_first").
		Join("LEFT JOIN ingest_ranges AS r ON r.topic = partition_row.topic AND r.partition_no = partition_row.partition_no AND r.state = ?", Open).
		Where("partition_row.topic = ?", topic).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("read the positions of %s from the ledger: %w", topic, err)
	}
	e, _, err := l.Followed(ctx, topic)
	if err != nil {
		return nil, err
	}
	positions := make(map[int32]Position, len(rows))
	for _, row := range rows {
		p := Position{Next: row.NextOffset, Through: row.NextOffset - 1, Base: e.Bases[row.PartitionNo]}
		if row.OpenFirst != nil {
			p.Through = *row.OpenFirst - 1
		}
		positions[row.PartitionNo] = p
	}
	return positions, nil
}

// Ranges returns a partition's ranges in order.
func (l *Ledger) Ranges(ctx context.Context, topic string, partition int32) ([]Range, error) {
	var rows []rangeRow
	err := l.db.NewSelect().Model(&rows).Where("topic = ? AND partition_no = ?", topic, partition).Order("first_offset").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the ranges of partition %d of %s from the ledger: %w", partition, topic, err)
	}
	ranges := make([]Range, len(rows))
	for i := range rows {
		if ranges[i], err = rows[i].toRange(); err != nil {
			return nil, err
		}
	}
	return ranges, nil
}

// Check reads all there is of a topic. Where a row is not what was written, the error is an ErrDamaged.
func (l *Ledger) Check(ctx context.Context, topic string) error {
	var partitions []partitionRow
	if err := l.db.NewSelect().Model(&partitions).Where("topic = ?", topic).Order("partition_no").Scan(ctx); err != nil {
		return fmt.Errorf("read the ledger's partitions of %s: %w", topic, err)
	}
	for i := range partitions {
		if err := partitions[i].check(); err != nil {
			return err
		}
	}
	var ranges []rangeRow
	if err := l.db.NewSelect().Model(&ranges).Where("topic = ?", topic).Order("partition_no", "first_offset").Scan(ctx); err != nil {
		return fmt.Errorf("read the ledger's ranges of %s: %w", topic, err)
	}
	for i := range ranges {
		if err := ranges[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// Prune forgets ranges that were finished before the given time and returns how many. The lake's manifests keep the
// lasting record.
func (l *Ledger) Prune(ctx context.Context, before time.Time) (int64, error) {
	res, err := l.db.NewDelete().Model((*rangeRow)(nil)).
		Where("state <> ? AND finished_at < ?", Open, before.UnixMicro()).Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("prune the ledger: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("prune the ledger: %w", err)
	}
	return n, nil
}
