package files

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	ingestv1 "marquee/ingest/v1"

	"marquee/ingest/imports"
	"marquee/ingest/mapping"
	"marquee/ingest/tabular"
	"marquee/internal/db"
	"marquee/internal/logid"
)

const (
	// sparse is how many times the rows of a full batch are read at most for one batch, where few rows become events.
	sparse = 4
	// saveInterval is how often the cursor is stored; what was published since then is published again after a crash.
	saveInterval = 250 * time.Millisecond
)

// EventOptions are what an import of events needs.
type EventOptions struct {
	Options
	Publisher imports.Publisher
	// DB keeps the cursor.
	DB *db.DB
	// Broker is the log that Publisher writes to. An import whose cursor is of another log begins again.
	Broker logid.Log
}

// eventImport is one run.
type eventImport struct {
	reading
	to      EventOptions
	summary Summary
	program *mapping.EventProgram
	// record is nil for standard input.
	record *imports.FileImport
	cursor imports.FileCursor
	saved  time.Time
	spare  sync.Pool
}

// batch is a stretch of the file.
type batch struct {
	mapping.Batch
	rows, events int64
	rejected     []Rejection
	first, last  int64
	after        tabular.Position
}

// events adapts a batch to what is published.
type sending struct{ *batch }

// Events are the batch's.
func (s sending) Events() []*ingestv1.WatchEvent { return s.Batch.Events }

// Events imports a file of events and says what it did; the summary is valid also with an error.
func Events(ctx context.Context, o EventOptions) (summary Summary, err error) {
	i := &eventImport{to: o}
	i.spare.New = func() any { return new(batch) }
	err = i.run(ctx)
	return i.summary, err
}

func (i *eventImport) run(ctx context.Context) (err error) {
	o := &i.to.Options
	if err := o.check(); err != nil {
		return err
	}
	i.reading.Options = o
	if i.file, err = o.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.file.Close()) }()
	i.summary = Summary{Kind: mapping.Events, File: o.Path, Format: i.file.Format(), Namespace: o.Namespace, ImportID: o.importID()}
	i.program, err = compileEvents(o, i.file)
	if err != nil {
		return err
	}
	if o.Path != tabular.Stdin {
		name, err := o.name(mapping.Events)
		if err != nil {
			return err
		}
		if i.record, err = imports.OpenFile(ctx, i.to.DB, name, imports.Holder()); err != nil {
			return err
		}
		defer func() {
			// Also when the context has ended: the next run should not have to wait for the lease.
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			err = errors.Join(err, i.record.Close(closing))
		}()
		done, err := i.place()
		if done || err != nil {
			return err
		}
	}
	return i.publish(ctx)
}

// compileEvents compiles the mapping and has the file read what it needs.
func compileEvents(o *Options, file *tabular.File) (*mapping.EventProgram, error) {
	p, err := mapping.CompileEvents(o.Mapping, o.prefix(), o.importID(), time.Now().UnixMicro(), file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Path, err)
	}
	for _, column := range p.Unseen() {
		o.Log.Warn("no row at the start of the file has this column", "file", o.Path, "column", column)
	}
	return p, file.Choose(p.Columns())
}

// place finds where to begin; done says that there is nothing to do.
func (i *eventImport) place() (done bool, err error) {
	digest, err := i.digest()
	if err != nil {
		return false, err
	}
	i.cursor = i.record.Cursor()
	start, err := resume(i.Options, &i.cursor, i.file.Fingerprint(), digest)
	if err != nil {
		return false, err
	}
	if start > 0 && i.to.Broker.Topic != "" && !i.cursor.On(i.to.Broker) {
		i.Log.Warn("the earlier import went to another log: beginning again", "import", i.cursor.Name, "log", i.to.Broker.String())
		start = 0
	}
	finished := i.cursor.FinishedAt > 0
	if start == 0 {
		i.cursor = imports.FileCursor{Name: i.cursor.Name, StartedAt: time.Now().UnixMicro()}
	}
	note(&i.cursor, i.file.Fingerprint(), digest)
	i.cursor.ClusterID, i.cursor.TopicID = i.to.Broker.Cluster, i.to.Broker.ID
	i.summary.RowsBefore = i.cursor.RowCount
	i.summary.span(i.cursor.FirstAt, i.cursor.LastAt)
	i.rejected = i.cursor.Rejected
	if start == 0 {
		return false, nil
	}
	if finished && i.Changed != ChangedContinue {
		i.summary.Finished = true
		return true, nil
	}
	i.cursor.FinishedAt = 0
	i.good = i.cursor.Events > 0
	i.Log.Info("going on where the import was interrupted", "import", i.cursor.Name, "row", i.cursor.RowCount+1, "line", i.cursor.Line, "byte", i.cursor.Bytes)
	return false, i.file.Seek(tabular.Position{Bytes: i.cursor.Bytes, Line: i.cursor.Line, Rows: i.cursor.RowCount})
}

func (i *eventImport) publish(ctx context.Context) error {
	err := imports.Publish(ctx, i.to.Publisher, i.Log, i.batch, i.settle)
	if err == nil {
		i.summary.Finished = true
		i.cursor.FinishedAt = time.Now().UnixMicro()
	}
	if i.record != nil {
		err = errors.Join(err, i.record.Save(context.WithoutCancel(ctx), i.cursor))
	}
	if err != nil {
		return fmt.Errorf("%d rows of %s are imported, run the import again to go on: %w", i.summary.RowsBefore+i.summary.RowsRead, i.Path, err)
	}
	return nil
}

// batch makes the next batch.
func (i *eventImport) batch(ctx context.Context) (sending, error) {
	b := i.spare.Get().(*batch)
	b.Reset(time.Now().UnixMicro())
	b.rows, b.rejected, b.first, b.last = 0, b.rejected[:0], 0, 0
	take := func(row *tabular.Row) error {
		// An interface that holds a nil pointer is not nil.
		if r := i.program.Row(row, &b.Batch); r != nil {
			return r
		}
		return nil
	}
	for len(b.Batch.Events) < i.BatchEvents && b.rows < int64(sparse*i.BatchEvents) {
		rejected, err := i.next(ctx, take)
		if err != nil {
			// What was read before reading stopped is still to be published.
			if b.rows > 0 && i.stop != nil {
				break
			}
			return sending{}, err
		}
		b.rows++
		if rejected != nil {
			b.rejected = append(b.rejected, *rejected)
		}
	}
	for _, e := range b.Batch.Events {
		if b.first == 0 || e.OccurredAt < b.first {
			b.first = e.OccurredAt
		}
		b.last = max(b.last, e.OccurredAt)
	}
	b.events, b.after = int64(len(b.Batch.Events)), i.file.Position()
	return sending{b}, nil
}

// settle moves the cursor over a batch that is on the broker.
func (i *eventImport) settle(ctx context.Context, s sending) error {
	b := s.batch
	if err := writeRejects(i.Rejects, b.rejected); err != nil {
		return err
	}
	i.summary.RowsRead += b.rows
	i.summary.Events += b.events
	i.summary.Skipped += b.Skipped
	i.summary.reject(b.rejected)
	i.summary.span(b.first, b.last)
	c := &i.cursor
	c.Bytes, c.Line, c.RowCount = b.after.Bytes, b.after.Line, b.after.Rows
	c.Events += b.events
	c.Skipped += b.Skipped
	c.Rejected += int64(len(b.rejected))
	c.FirstAt, c.LastAt = i.summary.FirstEventAt, i.summary.LastEventAt
	i.spare.Put(b)
	if i.record == nil || time.Since(i.saved) < saveInterval {
		return nil
	}
	i.saved = time.Now()
	return i.record.Save(ctx, *c)
}
