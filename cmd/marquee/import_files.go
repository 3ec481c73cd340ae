package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"marquee/ingest/files"
	"marquee/ingest/mapping"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/app"
	"marquee/internal/telemetry"
	"marquee/serving/state"
)

// importFileFlags are what files of events and of titles share.
type importFileFlags struct {
	File       string   `arg:"" help:"The file: .csv, .tsv, .jsonl or .parquet, also with .gz or .zst; - for standard input."`
	Preset     string   `help:"A mapping that comes with the program; marquee import presets lists them." placeholder:"NAME"`
	Mapping    string   `help:"A mapping of your own, as YAML." type:"existingfile" placeholder:"FILE"`
	Map        []string `help:"A field's expression: field=column, field==constant, field='column | step'; may be repeated." sep:"none" placeholder:"FIELD=EXPR"`
	Where      []string `help:"Only rows that have this value in this column; may be repeated." sep:"none" placeholder:"COLUMN=VALUE"`
	Namespace  string   `help:"Prefix of every id; the mapping's own when not given." placeholder:"NAME"`
	IDsAsIs    bool     `name:"ids-as-is" help:"Ids get no prefix."`
	Format     string   `help:"csv, tsv, jsonl or parquet, where the name does not tell." placeholder:"NAME"`
	Encoding   string   `help:"Text encoding, where it is not UTF-8: windows-1252, gbk, ..." placeholder:"NAME"`
	Delimiter  string   `help:"Between the fields of a CSV file, where it is not a comma." placeholder:"CHAR"`
	NoHeader   bool     `help:"The first row is data already; name the columns with --columns."`
	Columns    []string `help:"Names of the columns of a file without a header." placeholder:"NAME"`
	TimeFormat string   `help:"How moments are written: unix, unix_ms, rfc3339, %Y-%m-%d, ..." placeholder:"FORMAT"`
	TimeZone   string   `help:"Time zone of moments that do not have one, such as Europe/Berlin; UTC when not given." placeholder:"NAME"`
	DryRun     bool     `help:"Show the first rows as they would land and what would be rejected; changes nothing and needs no service."`
	Limit      int64    `help:"Rows a dry run reads; 0 means all." default:"0" placeholder:"N"`
	Show       int      `help:"Events or titles a dry run shows." default:"5" placeholder:"N"`
	Changed    string   `default:"refuse" enum:"refuse,continue,restart" help:"A file that changed since its import began: refuse, continue after the rows that are imported, or restart."`
	MaxErrors  *int64   `help:"Stop when more rows than this are rejected; any number is fine when not given." placeholder:"N"`
	Rejects    string   `help:"Write rejected rows to this file, as JSON lines." placeholder:"FILE"`
	JSON       bool     `help:"Print JSON."`
}

type importEventsCommand struct{ importFileFlags }

type importTitlesCommand struct{ importFileFlags }

type importPresetsCommand struct {
	Name string `arg:"" optional:"" help:"Print this one as YAML: a start for one's own."`
}

// filesResult is an import's summary with the counts at each end.
type filesResult struct {
	files.Summary
	Counts *eventCounts `json:"counts,omitempty"`
}

// Run imports a file of events and waits until everything is in the warehouse and the lake.
func (i importEventsCommand) Run(c *console) error {
	return i.run(c, mapping.Events, func(ctx context.Context, w *wiring, e *engines, o files.Options) (r filesResult, err error) {
		log, err := e.logOf(ctx, ingestv1.TopicWatchEvents)
		if err != nil {
			return r, err
		}
		if r.Summary, err = files.Events(ctx, files.EventOptions{Options: o, Publisher: w.publisher, DB: e.db, Broker: log}); err != nil {
			return r, err
		}
		if err := settle(ctx, w); err != nil {
			return r, err
		}
		counts, err := e.count(ctx)
		r.Counts = &counts
		return r, err
	})
}

// Run imports a file of titles and waits until serving and warehouse know them.
func (i importTitlesCommand) Run(c *console) error {
	return i.run(c, mapping.Titles, func(ctx context.Context, w *wiring, e *engines, o files.Options) (r filesResult, err error) {
		if r.Summary, err = files.Titles(ctx, files.TitleOptions{Options: o, Titles: w.catalog.Service(), DB: e.db}); err != nil {
			return r, err
		}
		return r, settle(ctx, w)
	})
}

// Run lists the presets, or prints one.
func (i importPresetsCommand) Run(c *console) error {
	if i.Name != "" {
		text, err := mapping.PresetText(i.Name)
		if err != nil {
			return err
		}
		_, err = c.stdout.Write(text)
		return err
	}
	names, err := mapping.PresetNames()
	if err != nil {
		return err
	}
	var rows [][]string
	for _, name := range names {
		text, err := mapping.PresetText(name)
		if err != nil {
			return err
		}
		m, err := mapping.Parse(text)
		if err != nil {
			return fmt.Errorf("preset %s: %w", name, err)
		}
		about, _, _ := strings.Cut(strings.Join(strings.Fields(m.About), " "), ". ")
		rows = append(rows, []string{name, m.Kind, strings.TrimSuffix(about, ".")})
	}
	return printTable(c.stdout, []string{"preset", "of", "about"}, rows)
}

type importFile func(context.Context, *wiring, *engines, files.Options) (filesResult, error)

func (i importFileFlags) run(c *console, kind string, work importFile) (err error) {
	o, err := i.options(kind)
	if err != nil {
		return err
	}
	o.Stdin = os.Stdin
	if i.Rejects != "" {
		f, err := os.Create(i.Rejects)
		if err != nil {
			return fmt.Errorf("write rejected rows: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		o.Rejects = f
	}
	if i.DryRun {
		return i.dryRun(c, o)
	}
	result, err := i.imported(c, o, work)
	if err != nil {
		return err
	}
	if i.JSON {
		return printJSON(c.stdout, result)
	}
	printFiles(c, result)
	return nil
}

// imported starts what an import needs, does it and ends it.
func (i importFileFlags) imported(c *console, o files.Options, work importFile) (r filesResult, err error) {
	e, err := c.open(beside)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	w, err := wire(e, state.WallClock{}, []string{"catalog", "ingest", "features"})
	if err != nil {
		return r, err
	}
	group := app.NewGroup(e.log, e.settings.Drain, w.modules...)
	if err := group.Start(c.ctx); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, group.Stop()) }()
	var bar *progress
	o.Log = e.log
	o.Progress = func(done, total int64) {
		if bar == nil {
			bar = newProgress(c.stderr, e.log, "read "+i.File, total)
		}
		bar.set(done)
	}
	r, err = work(c.ctx, w, e, o)
	if bar != nil {
		bar.end()
	}
	return r, err
}

// options puts preset, mapping file and flags together, the later before the earlier.
func (i importFileFlags) options(kind string) (o files.Options, err error) {
	m := mapping.Mapping{Kind: kind}
	switch {
	case i.Preset != "" && i.Mapping != "":
		return o, errors.New("give --preset or --mapping, not both: marquee import presets NAME prints a preset to start from")
	case i.Preset != "":
		m, err = mapping.Preset(i.Preset, kind)
	case i.Mapping != "":
		m, err = readMapping(i.Mapping, kind)
	}
	if err != nil {
		return o, err
	}
	for _, text := range i.Map {
		if err := m.Set(text); err != nil {
			return o, fmt.Errorf("--map: %w", err)
		}
	}
	for _, text := range i.Where {
		if err := m.Filter(text); err != nil {
			return o, fmt.Errorf("--where: %w", err)
		}
	}
	i.overrule(&m)
	o = files.Options{Path: i.File, Mapping: m, Namespace: m.Namespace, IDsAsIs: i.IDsAsIs, Changed: i.Changed, MaxErrors: i.MaxErrors}
	if i.Namespace != "" {
		o.Namespace = i.Namespace
	}
	if o.Namespace == "" {
		return o, errors.New("give --namespace: it becomes the prefix of every id, so that ids of two sources cannot be mistaken for each other")
	}
	return o, nil
}

// overrule sets how the file is written where flags say it.
func (i importFileFlags) overrule(m *mapping.Mapping) {
	set := func(to *string, flag string) {
		if flag != "" {
			*to = flag
		}
	}
	set(&m.Format.Type, i.Format)
	set(&m.Format.Encoding, i.Encoding)
	set(&m.Format.Delimiter, i.Delimiter)
	set(&m.Time.Format, i.TimeFormat)
	set(&m.Time.Zone, i.TimeZone)
	m.Format.NoHeader = m.Format.NoHeader || i.NoHeader
	if len(i.Columns) > 0 {
		m.Format.Columns = i.Columns
	}
}

func readMapping(path, kind string) (m mapping.Mapping, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return m, fmt.Errorf("read the mapping: %w", err)
	}
	if m, err = mapping.Parse(text); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	if m.Kind != kind {
		return m, fmt.Errorf("%s is a mapping of %s: marquee import %s", path, m.Kind, m.Kind)
	}
	return m, nil
}

func (i importFileFlags) dryRun(c *console, o files.Options) error {
	settings, err := c.load(os.Environ())
	if err != nil {
		return err
	}
	if o.Log, err = telemetry.Logger(settings.Telemetry, c.stderr, slog.LevelWarn); err != nil {
		return err
	}
	p, err := files.DryRun(c.ctx, o, i.Show, i.Limit)
	if err != nil {
		return err
	}
	if i.JSON {
		return printJSON(c.stdout, p)
	}
	fmt.Fprintf(c.stdout, "columns: %s\n", strings.Join(p.Columns, ", "))
	for _, sample := range p.Sample {
		line, err := json.Marshal(sample)
		if err != nil {
			return fmt.Errorf("show a row: %w", err)
		}
		fmt.Fprintf(c.stdout, "%s\n", line)
	}
	printRead(c, p.Summary, "would be")
	if !p.Finished {
		fmt.Fprintf(c.stdout, "stopped after %d rows\n", p.RowsRead)
	}
	return nil
}

func printFiles(c *console, r filesResult) {
	printRead(c, r.Summary, "were")
	if r.Counts != nil {
		fmt.Fprintf(c.stdout, "events: warehouse %d, lake %d (%d rows with repeats)\n", r.Counts.Warehouse, r.Counts.Lake, r.Counts.LakeRows)
	}
}

// printRead says what became of rows.
func printRead(c *console, s files.Summary, were string) {
	what := fmt.Sprintf("%d events %s published", s.Events, were)
	if s.Kind == mapping.Titles {
		what = fmt.Sprintf("%d titles %s put, %d repeated", s.Titles, were, s.Repeated)
		if were == "were" {
			what = fmt.Sprintf("%d titles were put, %d of them new or changed, %d repeated", s.Titles, s.TitlesChanged, s.Repeated)
		}
	}
	fmt.Fprintf(c.stdout, "%s as %s: %d rows read, %d before; %s, %d left out by the filter, %d rejected\n",
		s.File, s.Namespace, s.RowsRead, s.RowsBefore, what, s.Skipped, s.Rejected)
	for _, reason := range slices.Sorted(maps.Keys(s.RejectedByReason)) {
		fmt.Fprintf(c.stdout, "rejected as %s: %d\n", reason, s.RejectedByReason[reason])
	}
	const shown = 10
	for _, x := range s.Rejections[:min(shown, len(s.Rejections))] {
		fmt.Fprintf(c.stdout, "  %s: %s\n", x.Place(), x.Detail)
	}
	if s.Rejected > shown {
		fmt.Fprintf(c.stdout, "  and %d more; --rejects FILE writes them all\n", s.Rejected-shown)
	}
}
