package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/uptrace/bun"

	"marquee/internal/lake"
)

// grow makes a ledger with a range that is done, one that is open and in the lake, and a partition that moved on.
func grow(t *testing.T, l *Ledger) *Owner {
	t.Helper()
	owner, _, _ := claim(t, l, 0)
	files := []lake.FileInfo{{Key: "events/x.parquet", Bytes: 10, SHA256: strings.Repeat("0", 64)}}
	done := fix(t, owner, 0, 9)
	must(t, errors.Join(owner.InWarehouse(t.Context(), done, 9, 1), owner.InLake(t.Context(), done, files)))
	must(t, owner.Skip(t.Context(), 10, 20))
	must(t, owner.InLake(t.Context(), fix(t, owner, 20, 29), files))
	return owner
}

// TestAnyChangeOfARowIsFound changes each column of each row as a flipped bit or a foreign hand would.
func TestAnyChangeOfARowIsFound(t *testing.T) {
	engines(t, func(t *testing.T, l *Ledger) {
		grow(t, l)
		must(t, l.Check(t.Context(), topic))
		changes := map[string][]string{
			"ingest_partitions": {
				"epoch = epoch + 1", "next_offset = next_offset - 1", "next_offset = next_offset + 1024", "holder = holder || 'x'", "updated_at = updated_at + 1",
				"partition_no = 5", "checksum = checksum + 1",
			},
			"ingest_ranges": {
				"first_offset = first_offset + 1", "last_offset = last_offset + 4096", "epoch = epoch + 1", "state = 'lost'", "event_count = event_count + 1",
				"dead_count = dead_count + 1", "warehouse_done = NOT warehouse_done", "lake_done = NOT lake_done", "files = '[]'", "opened_at = 0",
				"finished_at = finished_at + 1", "partition_no = 5", "checksum = checksum + 1",
			},
		}
		for table, all := range changes {
			for _, change := range all {
				t.Run(table+" "+change, func(t *testing.T) {
					tx, err := l.db.BeginTx(t.Context(), nil)
					must(t, err)
					one := ""
					if table == "ingest_ranges" {
						one = " WHERE first_offset = 20"
					}
					_, err = tx.ExecContext(t.Context(), fmt.Sprintf("UPDATE %s SET %s%s", table, change, one))
					must(t, err)
					must(t, tx.Commit())
					if err := l.Check(t.Context(), topic); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), table) {
						t.Errorf("%v", err)
					}
					for _, table := range []string{"ingest_ranges", "ingest_partitions"} {
						_, err := l.db.ExecContext(t.Context(), "DELETE FROM "+table)
						must(t, err)
					}
					grow(t, l)
					must(t, l.Check(t.Context(), topic))
				})
			}
		}
	})
}

// TestADamagedRowIsNotWorkedWith changes rows under a running owner and under the next.
func TestADamagedRowIsNotWorkedWith(t *testing.T) {
	engines(t, func(t *testing.T, l *Ledger) {
		ctx := t.Context()
		owner := grow(t, l)
		open := Range{Topic: topic, Partition: 0, First: 20, Last: 29}
		exec := func(statement string) {
			t.Helper()
			_, err := l.db.ExecContext(ctx, statement)
			must(t, err)
		}
		exec("UPDATE ingest_ranges SET warehouse_done = NOT warehouse_done WHERE state = 'open'")
		_, _, _, claimed := l.Claim(ctx, theLog, 0, "next", 0)
		_, redone := l.RedoWarehouse(ctx, topic, "rebuild", func(context.Context, bun.IDB) error { return nil })
		_, listed := l.Ranges(ctx, topic, 0)
		for what, err := range map[string]error{
			"mark": owner.InWarehouse(ctx, open, 10, 0), "claim": claimed, "redo": redone, "list": listed, "advance": owner.Advance(ctx, 30, Range{First: 30, Last: 40}, false),
		} {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s beside a damaged range: %v", what, err)
			}
		}
		exec("UPDATE ingest_ranges SET warehouse_done = NOT warehouse_done WHERE state = 'open'")
		must(t, l.Check(ctx, topic))
		exec("UPDATE ingest_partitions SET next_offset = next_offset + 1")
		_, fixed := owner.Fix(ctx, 30, 39)
		_, _, _, claimed = l.Claim(ctx, theLog, 0, "next", 0)
		for what, err := range map[string]error{"fix": fixed, "claim": claimed, "skip": owner.Skip(ctx, 31, 40)} {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s with a damaged partition: %v", what, err)
			}
		}
	})
}

// TestRowsFromBeforeChecksumsAreRead has rows as an earlier release left them; they get a checksum when they change.
func TestRowsFromBeforeChecksumsAreRead(t *testing.T) {
	engines(t, func(t *testing.T, l *Ledger) {
		grow(t, l)
		for _, table := range []string{"ingest_ranges", "ingest_partitions"} {
			_, err := l.db.ExecContext(t.Context(), "UPDATE "+table+" SET checksum = -1")
			must(t, err)
		}
		must(t, l.Check(t.Context(), topic))
		owner, next, open := claim(t, l, 0)
		if next != 30 || open == nil || open.First != 20 {
			t.Fatalf("next %d, open %v", next, open)
		}
		must(t, owner.InWarehouse(t.Context(), *open, 10, 0))
		var unknown int
		must(t, l.db.NewRaw("SELECT (SELECT count(*) FROM ingest_partitions WHERE checksum = -1) + (SELECT count(*) FROM ingest_ranges WHERE checksum = -1)").Scan(t.Context(), &unknown))
		if unknown != 1 { // The range that was done before.
			t.Errorf("%d rows without a checksum", unknown)
		}
		must(t, l.Check(t.Context(), topic))
	})
}
