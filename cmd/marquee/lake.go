package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"marquee/ingest/compact"
	"marquee/ingest/events"
)

type lakeCommands struct {
	Checksum lakeChecksumCommand `cmd:"" help:"How many events there are, and a checksum over all of them: that of a warehouse with the same."`
	Compact  lakeCompactCommand  `cmd:"" help:"Make day files of the small files that ingest writes, apply retention, delete what was replaced; serve does it by itself."`
	Files    lakeFilesCommand    `cmd:"" help:"The event files that count, for other tools to read; README.md says how."`
	Verify   lakeVerifyCommand   `cmd:"" help:"Read every byte of the events and hold it against the manifests and the ledger."`
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

type lakeCompactCommand struct {
	DryRun  bool `help:"Change nothing; say what would be done."`
	OpenDay bool `help:"Write the day that is not over anew as well."`
	JSON    bool `help:"Print JSON."`
}

// Run compacts the lake.
func (l lakeCompactCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	started := time.Now()
	bar := newProgress(c.stderr, e.log, "rows", 0)
	s, err := compact.Run(c.ctx, e.settings.Compaction, e.compactDeps(bar.setTotal), compact.Options{OpenDay: l.OpenDay, DryRun: l.DryRun})
	bar.end()
	if err != nil {
		return err
	}
	if l.JSON {
		return printJSON(c.stdout, s)
	}
	compacted, deleted := "compacted in "+time.Since(started).Round(time.Millisecond).String()+":", "deleted"
	if l.DryRun {
		compacted, deleted = "to compact:", "to delete:"
	}
	fmt.Fprintf(c.stdout, "%s %d days, %d files (%s) into %d (%s), %d rows\n",
		compacted, len(s.Days), s.FilesBefore, megabytes(s.BytesBefore), s.FilesAfter, megabytes(s.BytesAfter), s.Rows)
	for _, kind := range slices.Sorted(maps.Keys(s.Dropped)) {
		fmt.Fprintf(c.stdout, "not kept any longer: %d %s\n", s.Dropped[kind], kind)
	}
	fmt.Fprintf(c.stdout, "%s %d replaced files; %d small ones stay as they are: in flight, or their day is not over\n", deleted, s.Deleted, s.Left)
	return nil
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// compactDeps are what compaction needs of the engines.
func (e *engines) compactDeps(progress func(done, total int64)) compact.Deps {
	return compact.Deps{
		DB: e.db, Lake: e.lake, Scratch: e.scratch("compaction"), Expire: e.warehouse.ExpireEvents, Progress: progress, Log: e.log, Now: time.Now,
	}
}

type lakeFilesCommand struct {
	Since day  `help:"First UTC day of received_at." placeholder:"YYYY-MM-DD"`
	Until day  `help:"Last UTC day of received_at." placeholder:"YYYY-MM-DD"`
	JSON  bool `help:"Print JSON, with rows, bytes and checksums."`
}

// day is a UTC day on the command line.
type day struct{ text string }

// UnmarshalText checks that it is one.
func (d *day) UnmarshalText(text []byte) error {
	if _, err := time.Parse(time.DateOnly, string(text)); err != nil {
		return fmt.Errorf("a day is YYYY-MM-DD: %w", err)
	}
	d.text = string(text)
	return nil
}

// lakeFile is a file as other tools open it.
type lakeFile struct {
	URL string `json:"url"`
	Day string `json:"day"`
	events.File
}

// Run prints the files.
func (l lakeFilesCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	set, err := events.Open(c.ctx, e.lake)
	if err != nil {
		return err
	}
	locate, err := lakeFileURL(e.settings.lakeURL())
	if err != nil {
		return err
	}
	files := []lakeFile{}
	for _, f := range set.Files() {
		if on := f.Date(); on >= l.Since.text && (l.Until.text == "" || on <= l.Until.text) {
			files = append(files, lakeFile{URL: locate(f.Key), Day: on, File: f})
		}
	}
	if l.JSON {
		return printJSON(c.stdout, files)
	}
	for _, f := range files {
		if _, err := io.WriteString(c.stdout, f.URL+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// lakeFileURL is how other tools call the files of a lake: by path in a folder, by URL in an object store.
func lakeFileURL(lakeURL string) (func(key string) string, error) {
	u, err := url.Parse(lakeURL)
	if err != nil {
		return nil, fmt.Errorf("lake.url: %w", err)
	}
	base := strings.TrimSuffix(u.Path, "/") + "/"
	if u.Scheme != "file" {
		base = u.Scheme + "://" + u.Host + "/" + u.Query().Get("prefix")
	}
	return func(key string) string { return base + key }, nil
}
