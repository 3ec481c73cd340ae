package ledger

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"
)

// RedoWarehouse is for a warehouse whose content was replaced by the lake's: every owner of a topic's partitions is fenced,
// and open ranges are to be brought into the warehouse again, whatever was recorded of them. Ranges that are done are in the
// lake. It returns the open ranges. check is called in the transaction: its error undoes it.
func (l *Ledger) RedoWarehouse(ctx context.Context, topic, holder string, check func(context.Context, bun.IDB) error) ([]Range, error) {
	var open []Range
	err := l.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := check(ctx, tx); err != nil {
			return err
		}
		if _, err := l.fenceAll(ctx, tx, topic, holder); err != nil {
			return err
		}
		rows, err := openRows(ctx, tx, topic)
		if err != nil {
			return err
		}
		open = make([]Range, len(rows))
		for i := range rows {
			rows[i].WarehouseDone = false
			if err := rows[i].save(ctx, tx); err != nil {
				return err
			}
			if open[i], err = rows[i].toRange(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("have the open ranges of %s written to the warehouse again: %w", topic, err)
	}
	return open, nil
}

// Missing returns the finished ranges of a topic for which covered is false, as far as the ledger remembers: what it says is in
// the lake.
func (l *Ledger) Missing(ctx context.Context, topic string, covered func(partition int32, first, last int64) bool) ([]Range, error) {
	var rows []rangeRow
	err := l.db.NewSelect().Model(&rows).Where("topic = ? AND state = ?", topic, Done).Order("partition_no", "first_offset").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the finished ranges of %s from the ledger: %w", topic, err)
	}
	var missing []Range
	for i := range rows {
		r, err := rows[i].toRange()
		if err != nil {
			return nil, err
		}
		if !covered(r.Partition, r.First, r.Last) {
			missing = append(missing, r)
		}
	}
	return missing, nil
}
