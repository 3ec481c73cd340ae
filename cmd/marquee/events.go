package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"marquee/ingest/consumer"
	"marquee/ingest/events"
	"marquee/ingest/ledger"
)

type eventsCommands struct {
	Count eventsCountCommand `cmd:"" help:"Count the events in the warehouse and in the lake."`

	Dead eventsDeadCommands `cmd:"" help:"Look after records that were refused."`
	Tail eventsTailCommand  `cmd:"" help:"Print events as they arrive."`

	AdoptLog eventsAdoptLogCommand `cmd:"" name:"adopt-log" help:"Go on with the log of another broker, when the one that was followed is gone for good."`
}

// eventCounts are the same events counted at each end.
type eventCounts struct {
	// Warehouse counts what the events view holds; Lake the distinct events of the lake's files, LakeRows their rows with
	// repeats.
	Warehouse uint64 `json:"warehouse"`
	Lake      int64  `json:"lake"`
	LakeRows  int64  `json:"lake_rows"`
}

func (e *engines) count(ctx context.Context) (eventCounts, error) {
	var out eventCounts
	if err := e.warehouse.Conn().QueryRow(ctx, "SELECT count() FROM events").Scan(&out.Warehouse); err != nil {
		return out, fmt.Errorf("count the warehouse's events: %w", err)
	}
	set, err := events.Open(ctx, e.lake)
	if err != nil {
		return out, err
	}
	n, err := set.Count(ctx)
	out.Lake, out.LakeRows = n.Events, n.Rows
	return out, err
}

// eventDigests are checksums of the same events at each end, in any order: of their ids, and of all their columns.
type eventDigests struct {
	WarehouseIDs     string `json:"warehouse_ids"`
	LakeIDs          string `json:"lake_ids"`
	WarehouseContent string `json:"warehouse_content"`
	LakeContent      string `json:"lake_content"`
}

// digest reads everything once at each end, and counts it on the way.
func (e *engines) digest(ctx context.Context) (eventsCountResult, error) {
	var out eventsCountResult
	var house, lake events.Digest
	if err := e.warehouseRows(ctx, house.Add); err != nil {
		return out, fmt.Errorf("read the warehouse's events: %w", err)
	}
	set, err := events.Open(ctx, e.lake)
	if err != nil {
		return out, err
	}
	for r, err := range set.Events(ctx) {
		if err != nil {
			return out, err
		}
		lake.Add(r)
	}
	for _, f := range set.Files() {
		out.LakeRows += f.Rows
	}
	out.Warehouse, out.Lake = uint64(house.IDs.Count()), lake.IDs.Count()
	out.eventDigests = &eventDigests{
		WarehouseIDs: house.IDs.String(), LakeIDs: lake.IDs.String(),
		WarehouseContent: house.Content.String(), LakeContent: lake.Content.String(),
	}
	return out, nil
}

// warehouseRows reads the warehouse's events as the lake has them. A row is good until the next.
func (e *engines) warehouseRows(ctx context.Context, each func(*events.Row)) error {
	rows, err := e.warehouse.Conn().Query(ctx, `SELECT event_id, schema_version, profile_id, title_id, playable_id, play_id, type,
		occurred_at, received_at, session_id, device_class, country, surface, autoplay, position_ms, watched_ms, duration_ms, query,
		request_id, row, rank, seen_title_ids, import_id, clock_skew, kafka_partition, kafka_offset, unknown_fields FROM events`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r events.Row
		var id uuid.UUID
		var version uint16
		var occurred, received time.Time
		err := rows.Scan(&id, &version, &r.ProfileID, &r.TitleID, &r.PlayableID, &r.PlayID, &r.Type, &occurred, &received,
			&r.SessionID, &r.DeviceClass, &r.Country, &r.Surface, &r.Autoplay, &r.PositionMS, &r.WatchedMS, &r.DurationMS, &r.Query,
			&r.RequestID, &r.Row, &r.Rank, &r.SeenTitleIDs, &r.ImportID, &r.ClockSkew, &r.KafkaPartition, &r.KafkaOffset, &r.UnknownFields)
		if err != nil {
			return err
		}
		r.EventID, r.SchemaVersion = id, uint32(version)
		r.OccurredAt, r.ReceivedAt = occurred.UnixMicro(), received.UnixMicro()
		each(&r)
	}
	return rows.Err()
}

type eventsCountCommand struct {
	Wait   time.Duration `help:"First wait, this long at most, until everything that is on the broker is in both." placeholder:"TIME"`
	Digest bool          `help:"Also print checksums of the events' ids and contents at each end, in whatever order they lie."`
	JSON   bool          `help:"Print JSON."`
}

// eventsCountResult is what count prints.
type eventsCountResult struct {
	eventCounts
	*eventDigests
}

// Run counts.
func (n eventsCountCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if n.Wait > 0 {
		if err := e.awaitSinks(c.ctx, n.Wait); err != nil {
			return err
		}
	}
	var out eventsCountResult
	if n.Digest {
		out, err = e.digest(c.ctx)
	} else {
		out.eventCounts, err = e.count(c.ctx)
	}
	if err != nil {
		return err
	}
	if n.JSON {
		return printJSON(c.stdout, out)
	}
	fmt.Fprintf(c.stdout, "warehouse %d, lake %d (%d rows with repeats)\n", out.Warehouse, out.Lake, out.LakeRows)
	if d := out.eventDigests; d != nil {
		fmt.Fprintf(c.stdout, "ids      warehouse %s\n         lake      %s\n", d.WarehouseIDs, d.LakeIDs)
		fmt.Fprintf(c.stdout, "contents warehouse %s\n         lake      %s\n", d.WarehouseContent, d.LakeContent)
	}
	return nil
}

// awaitSinks waits until a service has brought everything that is on the broker into warehouse and lake.
func (e *engines) awaitSinks(ctx context.Context, atMost time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	l, err := ledger.New(ctx, e.db)
	if err != nil {
		return err
	}
	client, err := e.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	return consumer.NewProgress(client, l).CaughtUp(ctx)
}
