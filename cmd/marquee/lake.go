package main

import (
	"errors"

	"marquee/ingest/events"
)

type lakeCommands struct {
	Checksum lakeChecksumCommand `cmd:"" help:"How many events there are, and a checksum over all of them: that of a warehouse with the same."`
}

type lakeChecksumCommand struct {
	JSON bool `help:"Print JSON."`
}

// Run prints the checksum of the lake's events.
func (s lakeChecksumCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	set, err := events.Open(c.ctx, e.lake)
	if err != nil {
		return err
	}
	sum, err := set.Checksum(c.ctx)
	if err != nil {
		return err
	}
	if s.JSON {
		return printJSON(c.stdout, struct {
			Events events.Checksum `json:"events"`
		}{sum})
	}
	printChecksum(c, "events", sum)
	return nil
}
