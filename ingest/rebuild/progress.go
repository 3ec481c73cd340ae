package rebuild

import (
	"context"
	"errors"
	"fmt"

	"marquee/ingest/events"
)

// readProgress returns the identity of the table that an interrupted run was filling, empty if none was, and remembers the
// files it has.
func (j *job) readProgress(ctx context.Context) (known string, err error) {
	rows, err := j.Conn.Query(ctx, "SELECT table_id, key, max(rows) FROM rebuild_progress GROUP BY table_id, key")
	if err != nil {
		return "", fmt.Errorf("read how far an earlier rebuild came: %w", err)
	}
	defer rows.Close()
	j.done = make(map[string]int64)
	for rows.Next() {
		var id, key string
		var n uint64
		if err := rows.Scan(&id, &key, &n); err != nil {
			return "", fmt.Errorf("read how far an earlier rebuild came: %w", err)
		}
		if known != "" && id != known {
			// Two runs left traces: neither is to be trusted.
			j.done = make(map[string]int64)
			return "", rows.Err()
		}
		known = id
		if key != "" {
			j.done[key] = int64(n)
		}
	}
	if err := rows.Err(); err != nil {
		return "", fmt.Errorf("read how far an earlier rebuild came: %w", err)
	}
	return known, nil
}

func (j *job) beginProgress(ctx context.Context) error {
	if err := j.clearProgress(ctx); err != nil {
		return err
	}
	j.done = make(map[string]int64)
	return j.recordProgress(ctx, []events.File{{}})
}

func (j *job) clearProgress(ctx context.Context) error {
	if err := j.Truncate(ctx, "rebuild_progress"); err != nil {
		return fmt.Errorf("forget how far the rebuild came: %w", err)
	}
	return nil
}

// recordProgress says that files are wholly in the shadow; the one without a key says that the shadow is this rebuild's.
func (j *job) recordProgress(ctx context.Context, files []events.File) error {
	batch, err := j.Conn.PrepareBatch(ctx, "INSERT INTO rebuild_progress (table_id, key, rows)")
	if err != nil {
		return fmt.Errorf("record how far the rebuild came: %w", err)
	}
	for _, f := range files {
		if err := batch.Append(j.shadow.ID(), f.Key, uint64(f.Rows)); err != nil {
			return errors.Join(fmt.Errorf("record how far the rebuild came: %w", err), batch.Abort())
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("record how far the rebuild came: %w", err)
	}
	return nil
}
