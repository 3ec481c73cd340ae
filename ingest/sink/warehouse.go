package sink

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"marquee/ingest/ledger"
)

// columns are the columns of events_raw, in the order append fills them.
const columns = "event_id, schema_version, profile_id, title_id, playable_id, play_id, type, occurred_at, received_at, " +
	"session_id, device_class, country, surface, autoplay, position_ms, watched_ms, duration_ms, query, request_id, row, " +
	"rank, seen_title_ids, import_id, clock_skew, kafka_partition, kafka_offset, unknown_fields"

// Warehouse writes ranges into the table events_raw.
type Warehouse struct {
	conn driver.Conn
}

// NewWarehouse makes the sink over an open connection, whose migrations have run.
func NewWarehouse(conn driver.Conn) *Warehouse { return &Warehouse{conn: conn} }

// Write inserts a range as one block. One that arrived before its answer got lost is inserted again: the events view counts each
// event_id once, and merges leave one row of it.
func (w *Warehouse) Write(ctx context.Context, r ledger.Range, b *Batch) error {
	if b.Len() == 0 {
		return nil
	}
	if err := w.Insert(ctx, "events_raw", b); err != nil {
		return fmt.Errorf("range %s: %w", r, err)
	}
	return nil
}

// Insert puts the batch as one block into a table of events_raw's shape.
//
// The warehouse must not leave a block out because it remembers it: a MergeTree notes a block in its deduplication log before
// the block's part is in place, so that one killed in between remembers what it does not have. So each insert has a token of its own;
// the settings that switch the memory off differ from version to version.
func (w *Warehouse) Insert(ctx context.Context, table string, b *Batch) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": uuid.NewString()}))
	insert, err := w.conn.PrepareBatch(ctx, "INSERT INTO "+table+" ("+columns+")")
	if err != nil {
		return fmt.Errorf("prepare the insert into %s: %w", table, err)
	}
	if err := b.appendTo(insert); err != nil {
		return fmt.Errorf("fill the insert into %s: %w", table, abort(insert, err))
	}
	if err := insert.Send(); err != nil {
		return fmt.Errorf("insert into %s: %w", table, err)
	}
	return nil
}

// abort releases the insert's connection.
func abort(insert driver.Batch, cause error) error {
	if err := insert.Abort(); err != nil {
		return fmt.Errorf("%w (and abort it: %w)", cause, err)
	}
	return cause
}

func (b *Batch) appendTo(insert driver.Batch) error {
	names := strings.Split(columns, ", ")
	for i, values := range []any{
		b.eventID, b.schemaVersion, b.profileID, b.titleID, b.playableID, b.playID, b.eventType, times(b.occurredAt),
		times(b.receivedAt), b.sessionID, b.deviceClass, b.country, b.surface, b.autoplay, b.positionMS, b.watchedMS,
		b.durationMS, b.query, b.requestID, b.row, b.rank, b.seen, b.importID, b.clockSkew, b.partition, b.offset,
		b.unknown,
	} {
		if err := insert.Column(i).Append(values); err != nil {
			return fmt.Errorf("column %s: %w", names[i], err)
		}
	}
	return nil
}

// times converts microseconds: the driver takes integers for milliseconds, whatever the column's precision.
func times(micros []int64) []time.Time {
	out := make([]time.Time, len(micros))
	for i, m := range micros {
		out[i] = time.UnixMicro(m).UTC()
	}
	return out
}
