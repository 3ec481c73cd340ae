package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ClickHouse/clickhouse-go/v2"

	"marquee/serving/served"
)

type servedCommand struct {
	Profile string `help:"Only what this profile was shown." placeholder:"ID"`
	Out     string `help:"Write to this file instead of standard output." placeholder:"FILE"`
}

// Run writes what was served and what became of it, as JSON lines.
func (s servedCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	write := func(to io.Writer) error {
		line := json.NewEncoder(to)
		line.SetEscapeHTML(false)
		return e.eachServed(c.ctx, s.Profile, func(row json.RawMessage) error { return line.Encode(row) })
	}
	if s.Out == "" {
		return write(c.stdout)
	}
	return writeFile(s.Out, func(f *os.File) error { return write(f) })
}

// eachServed gives every served title with what became of it, of one profile or, with none named, of all.
func (e *engines) eachServed(ctx context.Context, profile string, give func(json.RawMessage) error) error {
	bound := clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"profile": profile}))
	rows, err := e.warehouse.Conn().Query(bound, "SELECT formatRowNoNewline('JSONEachRow', *) FROM ("+served.Outcomes+")")
	if err != nil {
		return fmt.Errorf("read what was served: %w", err)
	}
	for rows.Next() {
		var text string
		err := rows.Scan(&text)
		if err == nil {
			err = give(json.RawMessage(text))
		}
		if err != nil {
			return errors.Join(fmt.Errorf("read what was served: %w", err), rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// exportServed writes what was served to the profile.
func (e *engines) exportServed(ctx context.Context, profile string, line *json.Encoder) error {
	return e.eachServed(ctx, profile, func(row json.RawMessage) error {
		return line.Encode(map[string]any{"what": "served", "served": row})
	})
}
