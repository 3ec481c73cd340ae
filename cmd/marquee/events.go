package main

import (
	"context"
	"errors"
	"fmt"

	"marquee/ingest/events"
)

type eventsCommands struct {
	Count eventsCountCommand `cmd:"" help:"Count the events in the warehouse and in the lake."`

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

type eventsCountCommand struct {
	JSON bool `help:"Print JSON."`
}

// Run counts.
func (n eventsCountCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	counts, err := e.count(c.ctx)
	if err != nil {
		return err
	}
	if n.JSON {
		return printJSON(c.stdout, counts)
	}
	fmt.Fprintf(c.stdout, "warehouse %d, lake %d (%d rows with repeats)\n", counts.Warehouse, counts.Lake, counts.LakeRows)
	return nil
}
