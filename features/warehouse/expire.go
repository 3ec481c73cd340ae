package warehouse

import (
	"context"
	"fmt"
	"time"
)

// ExpireEvents deletes a type's events that were received before an instant, copies included. It returns when they are gone
// from what readers see and from the disk.
func (w *Warehouse) ExpireEvents(ctx context.Context, kind string, before time.Time) error {
	where := fmt.Sprintf("type = %s AND received_at < fromUnixTimestamp64Micro(%d)", quoteText(kind), before.UnixMicro())
	var there uint64
	if err := w.conn.QueryRow(ctx, "SELECT count() FROM events_raw WHERE "+where).Scan(&there); err != nil {
		return fmt.Errorf("look for %s events before %s: %w", kind, before.Format(time.RFC3339), err)
	}
	if there == 0 {
		return nil
	}
	table, onCluster := w.Storage("events_raw")
	statement := "ALTER TABLE " + table + onCluster + " DELETE WHERE " + where + " SETTINGS mutations_sync = 2"
	if err := w.conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("delete %d %s events before %s: %w", there, kind, before.Format(time.RFC3339), err)
	}
	return nil
}
