package compact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"marquee/ingest/events"
	"marquee/internal/lake"
)

// groupRows is how many rows a row group has: few enough that statistics by profile leave most of a file unread.
const groupRows = 128 << 10

// chunkRows is how many rows are handed to a Parquet writer at a time.
const chunkRows = 512

// writer is one attempt at replacing a group.
type writer struct {
	*run
	set *events.Set
	// key names the files, files are those that are written.
	key   func(day int64, n int) string
	files []events.DayFile
	// dropped counts the rows that are left out, kept is the digest of those that are to be in the files.
	dropped map[string]int64
	kept    events.Digest
}

// write writes a group's rows into new files, day by day.
func (r *run) write(ctx context.Context, set *events.Set, g group) (*writer, error) {
	w := &writer{run: r, set: set, key: set.NewFiles(), dropped: make(map[string]int64)}
	for day, files := range g.days() {
		if err := w.day(ctx, day, files); err != nil {
			return nil, err
		}
	}
	return w, w.readBack(ctx)
}

// day sorts a day's rows into files.
func (w *writer) day(ctx context.Context, day int64, files []events.DayFile) error {
	s, err := newSorter(w.Scratch)
	if err != nil {
		return err
	}
	defer func() { _ = s.close() }() // its files are of no use to anybody
	for _, f := range files {
		for row, err := range w.set.RawOf(ctx, f.File) {
			if err == nil {
				err = w.take(ctx, s, day, row)
			}
			if err != nil {
				return err
			}
		}
	}
	next, stop := iter.Pull2(s.sorted(ctx))
	defer stop()
	row, err, more := next()
	for n := 0; more && err == nil; n++ {
		if err := w.step("file"); err != nil {
			return err
		}
		out := &dayWriter{limit: w.cfg.FileBytes, types: make(map[string]int64)}
		info, writeErr := w.Lake.WriteFile(ctx, w.key(day, n), func(to io.Writer) error {
			out.begin(to)
			for more && err == nil && !out.full() {
				if err := out.add(row); err != nil {
					return err
				}
				row, err, more = next()
			}
			return errors.Join(err, out.end())
		})
		if writeErr != nil {
			return writeErr
		}
		w.files = append(w.files, events.DayFile{File: events.File{FileInfo: info, Rows: out.rows}, Types: out.types})
	}
	return err
}

// take gives a row to the sorter unless it is to be left out.
func (w *writer) take(ctx context.Context, s *sorter, day int64, row *events.Row) error {
	if w.done++; w.done%10_000 == 0 {
		w.Progress(w.done, w.total)
	}
	if w.expired(day, row.Type) || w.options.Erase != nil && w.options.Erase(row.ProfileID) {
		w.dropped[row.Type]++
		return nil
	}
	w.kept.Add(row)
	return s.add(ctx, row)
}

// readBack reads the new files as readers will and holds them against what went in.
func (w *writer) readBack(ctx context.Context) error {
	var there events.Digest
	for _, f := range w.files {
		for row, err := range w.set.RawOf(ctx, f.File) {
			if err != nil {
				return fmt.Errorf("read back what was written: %w", err)
			}
			there.Add(row)
		}
	}
	if there.Content != w.kept.Content {
		return fmt.Errorf("%w: the new files have %d rows with checksum %s, %d rows with %s went in; what was there stays",
			lake.ErrCorrupt, there.Content.Count(), there.Content.String(), w.kept.Content.Count(), w.kept.Content.String())
	}
	return nil
}

// dayWriter writes one file.
type dayWriter struct {
	limit   int64
	to      *counter
	parquet *parquet.GenericWriter[events.Row]
	types   map[string]int64
	rows    int64
	inGroup int
	chunk   []events.Row
}

type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

func (d *dayWriter) begin(to io.Writer) {
	d.to = &counter{Writer: to}
	d.parquet = parquet.NewGenericWriter[events.Row](d.to,
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault, Concurrency: 1}),
		parquet.CreatedBy("marquee", "1", ""),
		parquet.DataPageStatistics(true),
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending("profile_id"), parquet.Ascending("occurred_at"))),
	)
}

// full says that the next row belongs into another file.
func (d *dayWriter) full() bool { return d.inGroup == 0 && d.to.n >= d.limit }

func (d *dayWriter) add(r *events.Row) error {
	d.chunk = append(d.chunk, clone(r))
	d.types[r.Type]++
	d.rows++
	d.inGroup++
	if len(d.chunk) >= chunkRows || d.inGroup == groupRows {
		if err := d.flushChunk(); err != nil {
			return err
		}
	}
	if d.inGroup == groupRows {
		d.inGroup = 0
		if err := d.parquet.Flush(); err != nil {
			return fmt.Errorf("write a row group: %w", err)
		}
	}
	return nil
}

func (d *dayWriter) flushChunk() error {
	if _, err := d.parquet.Write(d.chunk); err != nil {
		return fmt.Errorf("write parquet rows: %w", err)
	}
	d.chunk = d.chunk[:0]
	return nil
}

func (d *dayWriter) end() error {
	if err := d.flushChunk(); err != nil {
		return err
	}
	if err := d.parquet.Close(); err != nil {
		return fmt.Errorf("finish the parquet file: %w", err)
	}
	return nil
}
