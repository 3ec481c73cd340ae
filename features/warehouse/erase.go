package warehouse

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"
)

const (
	// retiredFor is for how many seconds the engine keeps a part that another replaced, while a profile is erased.
	retiredFor = 1
	// retiredPoll and retiredWait bound the wait until the engine has deleted such parts.
	retiredPoll = 500 * time.Millisecond
	retiredWait = 5 * time.Minute
)

// EraseProfile deletes a profile's events and what was served to it, copies included, and returns when no part on disk has them any
// more, those that were replaced by deleting included. On a cluster the last is each server's own business, within its
// old_parts_lifetime.
func (w *Warehouse) EraseProfile(ctx context.Context, profileID string) error {
	for _, table := range []string{"events_raw", "served_raw"} {
		if err := w.eraseFrom(ctx, table, profileID); err != nil {
			return err
		}
	}
	return nil
}

func (w *Warehouse) eraseFrom(ctx context.Context, name, profileID string) error {
	table, onCluster := w.Storage(name)
	alter := "ALTER TABLE " + table + onCluster
	// What deleting writes is synced before what it replaces goes. The engine keeps the texts of finished mutations, and may log
	// statements: the id is in none of them.
	digest := sha256.Sum256([]byte(profileID))
	for _, statement := range []string{
		fmt.Sprintf("%s MODIFY SETTING old_parts_lifetime = %d, min_rows_to_fsync_after_merge = 1", alter, retiredFor),
		fmt.Sprintf("%s DELETE WHERE hex(SHA256(profile_id)) = '%X' SETTINGS mutations_sync = 2", alter, digest),
	} {
		if err := w.conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("delete a profile from the warehouse's %s: %w", name, err)
		}
	}
	err := w.awaitRetired(ctx, table)
	// Whatever became of the wait: from here on parts are kept as long as usual again.
	if reset := w.conn.Exec(context.WithoutCancel(ctx), alter+" RESET SETTING old_parts_lifetime, min_rows_to_fsync_after_merge"); err == nil && reset != nil {
		err = fmt.Errorf("keep replaced parts for as long as usual: %w", reset)
	}
	return err
}

// awaitRetired waits until this server has no part of the table that another replaced.
func (w *Warehouse) awaitRetired(ctx context.Context, table string) error {
	ctx, cancel := context.WithTimeout(ctx, retiredWait)
	defer cancel()
	for {
		var left uint64
		err := w.conn.QueryRow(ctx, "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = ? AND NOT active", table).Scan(&left)
		if err != nil {
			return fmt.Errorf("look for replaced parts: %w", err)
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %d replaced parts are deleted: %w", left, ctx.Err())
		case <-time.After(retiredPoll):
		}
	}
}
