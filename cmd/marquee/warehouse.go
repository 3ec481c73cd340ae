package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"marquee/features"
	"marquee/ingest/events"
	"marquee/ingest/rebuild"
)

type warehouseCommands struct {
	Rebuild  warehouseRebuildCommand  `cmd:"" help:"Restore the warehouse from the lake; run it again to go on after an interruption."`
	Checksum warehouseChecksumCommand `cmd:"" help:"How much there is, and a checksum over all of it."`
}

type warehouseRebuildCommand struct {
	JSON bool `help:"Print JSON."`
}

// Run rebuilds the warehouse.
func (r warehouseRebuildCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	started := time.Now()
	bar := newProgress(c.stderr, e.log, "rows", 0)
	summary, err := rebuild.Run(c.ctx, e.rebuildDeps(bar.setTotal))
	bar.end()
	if err != nil {
		return err
	}
	if e.dir != nil {
		// No service is there to finish the ranges that were in flight.
		if err := e.drainLog(c.ctx); err != nil {
			return err
		}
		if summary.Content, err = rebuild.Content(c.ctx, e.warehouse.Conn()); err != nil {
			return err
		}
	}
	if r.JSON {
		return printJSON(c.stdout, summary)
	}
	fmt.Fprintf(c.stdout, "rebuilt in %s: %d rows of %d lake files (%d rows by an earlier run), %d events and %d titles in the warehouse\n",
		time.Since(started).Round(time.Millisecond), summary.Rows, summary.Files, summary.RowsBefore, summary.Content.Events.Rows, summary.Content.Titles.Rows)
	for _, open := range summary.Open {
		fmt.Fprintf(c.stdout, "in flight, written again by the consumer: %s\n", open)
	}
	for _, g := range summary.Gaps {
		fmt.Fprintf(c.stdout, "not in the lake: partition %d, %d to %d\n", g.Partition, g.First, g.Last)
	}
	printContents(c, summary.Content)
	return nil
}

// rebuildDeps are what a rebuild needs of the engines.
func (e *engines) rebuildDeps(progress func(done, total int64)) rebuild.Deps {
	return rebuild.Deps{
		DB: e.db, Lake: e.lake, Conn: e.warehouse.Conn(), Log: e.log, Progress: progress,
		Truncate: e.warehouse.Truncate,
		OpenShadow: func(ctx context.Context, table string, token int64, known string) (rebuild.Shadow, error) {
			return e.warehouse.OpenShadow(ctx, table, token, known)
		},
		FillTitles: func(ctx context.Context, table string) error {
			return features.FillTitles(ctx, e.warehouse.Conn(), table, e, e.log)
		},
	}
}

type warehouseChecksumCommand struct {
	JSON bool `help:"Print JSON."`
}

// Run prints the checksums.
func (s warehouseChecksumCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	content, err := rebuild.Content(c.ctx, e.warehouse.Conn())
	if err != nil {
		return err
	}
	if s.JSON {
		return printJSON(c.stdout, content)
	}
	printContents(c, content)
	return nil
}

func printContents(c *console, content rebuild.Contents) {
	printChecksum(c, "events", content.Events)
	printChecksum(c, "titles", content.Titles)
}

func printChecksum(c *console, what string, sum events.Checksum) {
	fmt.Fprintf(c.stdout, "%s %d %s\n", what, sum.Rows, sum.Checksum)
}
