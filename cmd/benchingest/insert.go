package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"marquee/ingest/events"
)

// bareTable takes the bare inserts: a table of the definition the service writes to.
const bareTable = "bench_events"

// block is one range of the log by column, as a program with nothing else to do would hold it.
type block struct {
	columns []any
	rows    int
}

// insertPhase inserts blocks the service wrote with bare clickhouse-go.
func (r *run) insertPhase(ctx context.Context) error {
	blocks, err := r.blocksOf(ctx, r.blocks)
	if err != nil {
		return err
	}
	rows := 0
	for _, b := range blocks {
		rows += b.rows
	}
	if rows == 0 {
		return errors.New("there are no blocks to insert again")
	}
	r.say("insert: %d blocks of the service's, %d rows, %d times", len(blocks), rows, r.rounds)
	var rates []float64
	for range r.rounds {
		rate, err := r.insertBare(ctx, blocks, rows)
		if err != nil {
			return err
		}
		rates = append(rates, rate)
	}
	slices.Sort(rates)
	r.result.BareInsert = round(rates[len(rates)/2])
	r.result.BareInsertRatio = round(r.result.RecordEvents / r.result.BareInsert)
	r.say("insert: bare %.0f rows a second; recorded events come at %.3f of that", r.result.BareInsert, r.result.BareInsertRatio)
	return nil
}

// blocksOf reads ranges back from the lake, the largest.
func (r *run) blocksOf(ctx context.Context, most int) ([]block, error) {
	set, err := events.Open(ctx, r.sinks.lake)
	if err != nil {
		return nil, err
	}
	ranges := slices.Clone(set.Manifests())
	slices.SortFunc(ranges, func(a, b *events.Manifest) int { return int(b.Rows() - a.Rows()) })
	type extent struct {
		partition   int32
		first, last int64
		columns     *rowColumns
	}
	var extents []extent
	for _, m := range ranges[:min(most, len(ranges))] {
		extents = append(extents, extent{m.Partition, m.First, m.Last, &rowColumns{}})
	}
	for row, err := range set.Raw(ctx) {
		if err != nil {
			return nil, err
		}
		for _, e := range extents {
			if row.KafkaPartition == e.partition && row.KafkaOffset >= e.first && row.KafkaOffset <= e.last {
				e.columns.add(row)
				break
			}
		}
	}
	var blocks []block
	for _, e := range extents {
		blocks = append(blocks, block{e.columns.list(), len(e.columns.id)})
	}
	return blocks, nil
}

func (r *run) insertBare(ctx context.Context, blocks []block, rows int) (_ float64, err error) {
	conn := r.sinks.conn
	if err := conn.Exec(ctx, "CREATE TABLE "+bareTable+" AS events_raw"); err != nil {
		return 0, fmt.Errorf("make the table for bare inserts: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Exec(context.WithoutCancel(ctx), "DROP TABLE "+bareTable)) }()
	start := time.Now()
	for _, b := range blocks {
		if err := insertBlock(ctx, conn, b); err != nil {
			return 0, err
		}
	}
	elapsed := time.Since(start)
	var n uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM "+bareTable).Scan(&n); err != nil {
		return 0, err
	}
	if int(n) != rows {
		return 0, fmt.Errorf("of %d rows inserted bare %d arrived", rows, n)
	}
	return float64(rows) / elapsed.Seconds(), nil
}

func insertBlock(ctx context.Context, conn driver.Conn, b block) error {
	insert, err := conn.PrepareBatch(ctx, "INSERT INTO "+bareTable+" (event_id, schema_version, profile_id, title_id, playable_id, play_id, "+
		"type, occurred_at, received_at, session_id, device_class, country, surface, autoplay, position_ms, watched_ms, duration_ms, query, "+
		"request_id, row, rank, seen_title_ids, import_id, clock_skew, kafka_partition, kafka_offset)")
	if err != nil {
		return fmt.Errorf("prepare a bare insert: %w", err)
	}
	for i, values := range b.columns {
		if err := insert.Column(i).Append(values); err != nil {
			return errors.Join(fmt.Errorf("fill column %d of a bare insert: %w", i, err), insert.Abort())
		}
	}
	if err := insert.Send(); err != nil {
		return fmt.Errorf("send a bare insert: %w", err)
	}
	return nil
}

// rowColumns gathers rows by column.
type rowColumns struct {
	id                                        []uuid.UUID
	version                                   []uint16
	profile, title, playable, play, kind      []string
	occurred, received                        []time.Time
	session, device, country, surface         []string
	autoplay                                  []bool
	position, watched, duration, skew, offset []int64
	query, request, importID                  []string
	row, rank                                 []*uint32
	seen                                      [][]string
	partition                                 []int32
}

func (c *rowColumns) add(r *events.Row) {
	c.id, c.version = append(c.id, r.EventID), append(c.version, uint16(r.SchemaVersion))
	c.profile, c.title, c.playable, c.play = append(c.profile, r.ProfileID), append(c.title, r.TitleID), append(c.playable, r.PlayableID), append(c.play, r.PlayID)
	c.kind, c.device = append(c.kind, r.Type), append(c.device, r.DeviceClass)
	c.occurred, c.received = append(c.occurred, time.UnixMicro(r.OccurredAt).UTC()), append(c.received, time.UnixMicro(r.ReceivedAt).UTC())
	c.session, c.country, c.surface = append(c.session, r.SessionID), append(c.country, r.Country), append(c.surface, r.Surface)
	c.autoplay = append(c.autoplay, r.Autoplay)
	c.position, c.watched, c.duration = append(c.position, r.PositionMS), append(c.watched, r.WatchedMS), append(c.duration, r.DurationMS)
	c.query, c.request, c.importID = append(c.query, r.Query), append(c.request, r.RequestID), append(c.importID, r.ImportID)
	c.row, c.rank, c.seen = append(c.row, copyOf(r.Row)), append(c.rank, copyOf(r.Rank)), append(c.seen, slices.Clone(r.SeenTitleIDs))
	c.skew, c.partition, c.offset = append(c.skew, r.ClockSkew), append(c.partition, r.KafkaPartition), append(c.offset, r.KafkaOffset)
}

func copyOf(n *uint32) *uint32 {
	if n == nil {
		return nil
	}
	v := *n
	return &v
}

// list is the columns in the order of the insert.
func (c *rowColumns) list() []any {
	return []any{
		c.id, c.version, c.profile, c.title, c.playable, c.play, c.kind, c.occurred, c.received, c.session, c.device, c.country, c.surface,
		c.autoplay, c.position, c.watched, c.duration, c.query, c.request, c.row, c.rank, c.seen, c.importID, c.skew, c.partition, c.offset,
	}
}
