package main

import (
	"context"
	"errors"
	"fmt"

	"marquee/ingest/events"
	"marquee/ingest/ledger"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/lake"
)

type lakeVerifyCommand struct {
	JSON bool `help:"Print JSON."`
}

// lakeVerified says what a verification found.
type lakeVerified struct {
	Files int   `json:"files"`
	Rows  int64 `json:"rows"`
	Bytes int64 `json:"bytes"`
	// Damaged are files that are not what their manifest says, with what is wrong; Missing are ranges that the ledger has as stored and
	// no manifest covers.
	Damaged []string `json:"damaged"`
	Missing []string `json:"missing"`
}

// Run reads every byte of the lake's events. It changes nothing and goes on to the end, whatever it finds.
func (l lakeVerifyCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	out, err := e.verifyLake(c.ctx)
	if err != nil {
		return err
	}
	if l.JSON {
		err = printJSON(c.stdout, out)
	} else {
		for _, what := range out.Damaged {
			fmt.Fprintln(c.stdout, what)
		}
		for _, what := range out.Missing {
			fmt.Fprintf(c.stdout, "range %s is in the ledger and in no manifest\n", what)
		}
		fmt.Fprintf(c.stdout, "%d files, %d rows, %d bytes read\n", out.Files, out.Rows, out.Bytes)
	}
	if n := len(out.Damaged) + len(out.Missing); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d findings: put copies of what is named in its place. The warehouse may have what the lake lost: leave it as it is: %w", n, lake.ErrCorrupt))
	}
	return err
}

func (e *engines) verifyLake(ctx context.Context) (*lakeVerified, error) {
	book, err := ledger.New(ctx, e.db)
	if err != nil {
		return nil, err
	}
	if err := book.Check(ctx, ingestv1.TopicWatchEvents); err != nil {
		return nil, err
	}
	set, err := events.Open(ctx, e.lake)
	if err != nil {
		return nil, err
	}
	out := &lakeVerified{Damaged: []string{}, Missing: []string{}}
	bad := map[string]error{}
	for _, f := range set.Files() {
		out.Files++
		out.Rows += f.Rows
		out.Bytes += f.Bytes
		switch err := e.lake.Verify(ctx, f.FileInfo); {
		case errors.Is(err, lake.ErrCorrupt), lake.IsNotExist(err):
			bad[f.Key] = err
		case err != nil:
			return nil, err
		}
	}
	missing, err := book.Missing(ctx, ingestv1.TopicWatchEvents, set.Covers)
	if err != nil {
		return nil, err
	}
	if len(bad)+len(missing) == 0 {
		return out, nil
	}
	// A service may have replaced files or stored ranges since the lake was listed.
	if set, err = events.Open(ctx, e.lake); err != nil {
		return nil, err
	}
	for _, f := range set.Files() {
		if err := bad[f.Key]; err != nil {
			out.Damaged = append(out.Damaged, err.Error())
		}
	}
	for _, r := range missing {
		if !set.Covers(r.Partition, r.First, r.Last) {
			out.Missing = append(out.Missing, r.String())
		}
	}
	return out, nil
}
