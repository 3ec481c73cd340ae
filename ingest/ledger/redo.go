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
		// The update takes the rows' locks: who claims meanwhile comes before, and is fenced, or after.
		if _, err := tx.NewUpdate().Model((*partitionRow)(nil)).Set("epoch = epoch + 1").Set("holder = ?", holder).
			Set("updated_at = ?", l.now().UnixMicro()).Where("topic = ?", topic).Exec(ctx); err != nil {
			return err
		}
		var rows []rangeRow
		if err := tx.NewSelect().Model(&rows).Where("topic = ? AND state = ?", topic, Open).Order("partition_no").Scan(ctx); err != nil {
			return err
		}
		open = make([]Range, len(rows))
		for i := range rows {
			var err error
			if open[i], err = rows[i].toRange(); err != nil {
				return err
			}
			open[i].InWarehouse = false
		}
		_, err := tx.NewUpdate().Model((*rangeRow)(nil)).Set("warehouse_done = ?", false).Where("topic = ? AND state = ?", topic, Open).Exec(ctx)
		return err
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
