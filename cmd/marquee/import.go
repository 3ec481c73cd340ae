package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"marquee/ingest/movielens"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/app"
	"marquee/serving/state"
)

type importCommands struct {
	Events    importEventsCommand    `cmd:"" help:"Watch events from a table: CSV, JSON lines or Parquet."`
	Titles    importTitlesCommand    `cmd:"" help:"Titles from a table: CSV, JSON lines or Parquet."`
	Presets   importPresetsCommand   `cmd:"" help:"List the mappings that come with the program, or print one."`
	Movielens importMovielensCommand `cmd:"" name:"movielens" help:"A published MovieLens data set: 100k, 1m, latest and the 20m, 25m and 32m sets."`
}

type importMovielensCommand struct {
	Dir       string `arg:"" help:"Folder with the published files."`
	Namespace string `help:"Prefix of every id; the layout's own (ml100k, ml1m, mllatest) when not given." placeholder:"NAME"`
	JSON      bool   `help:"Print JSON."`
}

// importResult is the importer's summary with the counts at each end.
type importResult struct {
	movielens.Summary
	Events eventCounts `json:"events"`
}

// Run imports and waits until everything is in the warehouse and the lake.
func (i importMovielensCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	result, err := i.run(c, e)
	if err != nil {
		return err
	}
	if i.JSON {
		return printJSON(c.stdout, result)
	}
	return printImport(c, result)
}

func (i importMovielensCommand) run(c *console, e *engines) (result *importResult, err error) {
	w, err := wire(e, state.WallClock{}, []string{"catalog", "ingest", "features"})
	if err != nil {
		return nil, err
	}
	group := app.NewGroup(e.log, e.settings.Drain, w.modules...)
	if err := group.Start(c.ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, group.Stop()) }()
	log, err := e.logOf(c.ctx, ingestv1.TopicWatchEvents)
	if err != nil {
		return nil, err
	}
	var bar *progress
	stage := ""
	summary, err := movielens.Import(c.ctx, movielens.Options{
		Dir: i.Dir, Namespace: i.Namespace, Titles: w.catalog.Service(), Publisher: w.publisher, Broker: log, DB: e.db, Lake: e.lake, Log: e.log,
		Progress: func(p movielens.Progress) {
			if what := p.Stage + " " + p.Item; what != stage {
				if bar != nil {
					bar.end()
				}
				stage, bar = what, newProgress(c.stderr, e.log, what, p.Total)
			}
			bar.set(p.Done)
		},
	})
	if bar != nil {
		bar.end()
	}
	if err != nil {
		return nil, err
	}
	if err := settle(c.ctx, w); err != nil {
		return nil, err
	}
	counts, err := e.count(c.ctx)
	return &importResult{summary, counts}, err
}

// settle waits until what was put into the catalogue and onto the broker has arrived everywhere.
func settle(ctx context.Context, w *wiring) error {
	if err := w.catalog.Flush(ctx); err != nil {
		return err
	}
	return errors.Join(w.consumer.CaughtUp(ctx), w.titles.CaughtUp(ctx))
}

func printImport(c *console, r *importResult) error {
	fmt.Fprintf(c.stdout, "%s as %s: %d ratings read, %d events published, %d imported before, %d rows rejected; %d titles, %d of them new or changed\n",
		r.Layout, r.Namespace, r.RowsRead, r.EventsPublished, r.EventsAlreadyImported, r.Rejected, r.TitlesPut, r.TitlesChanged)
	fmt.Fprintf(c.stdout, "events: warehouse %d, lake %d (%d rows with repeats)\n", r.Events.Warehouse, r.Events.Lake, r.Events.LakeRows)
	reasons := make([]string, 0, len(r.RejectedByReason))
	for reason := range r.RejectedByReason {
		reasons = append(reasons, string(reason))
	}
	slices.Sort(reasons)
	for _, reason := range reasons {
		fmt.Fprintf(c.stdout, "rejected as %s: %d\n", reason, r.RejectedByReason[movielens.Reason(reason)])
	}
	const shown = 10
	for _, x := range r.Rejections[:min(shown, len(r.Rejections))] {
		fmt.Fprintf(c.stdout, "  %s:%d: %s: %s\n", x.File, x.Line, x.Reason, x.Detail)
	}
	if r.Rejected > shown {
		fmt.Fprintf(c.stdout, "  and %d more; --json lists the first 100\n", r.Rejected-shown)
	}
	return nil
}
