package files

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	catalogv1 "marquee/catalog/v1"
	"marquee/ingest/imports"
	"marquee/ingest/mapping"
	"marquee/ingest/tabular"
	"marquee/internal/db"
)

// TitleOptions are what an import of titles needs.
type TitleOptions struct {
	Options
	Titles imports.TitleWriter
	// DB keeps the cursor.
	DB *db.DB
}

// titleImport is one run.
type titleImport struct {
	reading
	to      TitleOptions
	summary Summary
	program *mapping.TitleProgram
	record  *imports.FileImport
	cursor  imports.FileCursor
	known   known
	// done is how many rows an interrupted run has put: they are read again, to know their ids, and not put again.
	done int64
	part []titleRow
}

// titleRow is a title on its way into the catalogue.
type titleRow struct {
	title     *catalogv1.Title
	row, line int64
	raw       string
}

// known tells rows that repeat a title from rows that contradict one: the hash of a title for the hash of its id.
type known struct {
	seed maphash.Seed
	by   map[uint64]uint64
}

func newKnown() known { return known{seed: maphash.MakeSeed(), by: make(map[uint64]uint64)} }

// add says whether the title was met before, and a rejection where it was another one then.
func (k known) add(t *catalogv1.Title) (again bool, err error) {
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(t)
	if err != nil {
		return false, &mapping.Rejection{Reason: mapping.ReasonInvalid, Detail: err.Error()}
	}
	id, content := maphash.String(k.seed, t.TitleId), maphash.Bytes(k.seed, text)
	before, again := k.by[id]
	if again && before != content {
		return true, &mapping.Rejection{Reason: mapping.ReasonDuplicate, Field: "title_id",
			Detail: fmt.Sprintf("title_id %q is in an earlier row, which says something else of it", t.TitleId)}
	}
	k.by[id] = content
	return again, nil
}

// Titles imports a file of titles into the catalogue and says what it did; the summary is valid also with an error. A
// title that is there already as the file has it stays as it is.
func Titles(ctx context.Context, o TitleOptions) (Summary, error) {
	i := &titleImport{to: o, known: newKnown()}
	err := i.run(ctx)
	return i.summary, err
}

func (i *titleImport) run(ctx context.Context) (err error) {
	o := &i.to.Options
	if err := o.check(); err != nil {
		return err
	}
	i.reading.Options = o
	if i.file, err = o.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.file.Close()) }()
	i.summary = Summary{Kind: mapping.Titles, File: o.Path, Format: i.file.Format(), Namespace: o.Namespace}
	if i.program, err = compileTitles(o, i.file); err != nil {
		return err
	}
	if o.Path != tabular.Stdin {
		if err := i.place(ctx); err != nil {
			return err
		}
		defer func() {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			err = errors.Join(err, i.record.Close(closing))
		}()
	}
	if err := i.rows(ctx); err != nil {
		return fmt.Errorf("%d rows of %s are imported, run the import again to go on: %w", i.cursor.RowCount, o.Path, err)
	}
	i.summary.Finished = true
	i.cursor.FinishedAt = time.Now().UnixMicro()
	return i.save(ctx)
}

func compileTitles(o *Options, file *tabular.File) (*mapping.TitleProgram, error) {
	p, err := mapping.CompileTitles(o.Mapping, o.prefix(), file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Path, err)
	}
	for _, column := range p.Unseen() {
		o.Log.Warn("no row at the start of the file has this column", "file", o.Path, "column", column)
	}
	return p, file.Choose(p.Columns())
}

// place goes on with an interrupted import of the same file; anything else begins at the first row, which changes
// nothing that is there as the file has it.
func (i *titleImport) place(ctx context.Context) error {
	name, err := i.name(mapping.Titles)
	if err != nil {
		return err
	}
	digest, err := i.digest()
	if err != nil {
		return err
	}
	if i.record, err = imports.OpenFile(ctx, i.to.DB, name, imports.Holder()); err != nil {
		return err
	}
	c := i.record.Cursor()
	was := tabular.Fingerprint{Size: c.Size, ModifiedAt: c.ModifiedAt, Head: c.Head, Tail: c.Tail}
	if c.FinishedAt == 0 && was == i.file.Fingerprint() && c.Mapping == digest && i.Changed != ChangedRestart {
		i.done = c.RowCount
	}
	i.summary.RowsBefore = i.done
	i.cursor = imports.FileCursor{Name: c.Name, StartedAt: time.Now().UnixMicro(), RowCount: i.done}
	note(&i.cursor, i.file.Fingerprint(), digest)
	return nil
}

func (i *titleImport) save(ctx context.Context) error {
	if i.record == nil {
		return nil
	}
	return i.record.Save(context.WithoutCancel(ctx), i.cursor)
}

// rows reads to the end.
func (i *titleImport) rows(ctx context.Context) error {
	for {
		rejected, err := i.next(ctx, i.take)
		if err != nil {
			if i.stop == nil {
				return err // the context ended
			}
			if putErr := i.put(ctx); putErr != nil || errors.Is(err, io.EOF) {
				return putErr
			}
			return err
		}
		if i.row.Number <= i.done {
			continue
		}
		i.summary.RowsRead++
		if rejected != nil {
			if err := i.refuse(*rejected); err != nil {
				return err
			}
		}
		if len(i.part) == imports.MaxTitles {
			if err := i.put(ctx); err != nil {
				return err
			}
		}
	}
}

// take maps a row.
func (i *titleImport) take(row *tabular.Row) error {
	t, r := i.program.Row(row)
	if r != nil {
		return r
	}
	if t == nil {
		if row.Number > i.done {
			i.summary.Skipped++
		}
		return nil
	}
	again, err := i.known.add(t)
	switch {
	case err != nil:
		return err
	case row.Number <= i.done:
	case again:
		i.summary.Repeated++
	default:
		one := titleRow{title: t, row: row.Number, line: row.Line}
		if i.Rejects != nil {
			one.raw = i.file.Raw()
		}
		i.part = append(i.part, one)
	}
	return nil
}

func (i *titleImport) refuse(r Rejection) error {
	i.summary.reject([]Rejection{r})
	return writeRejects(i.Rejects, []Rejection{r})
}

// put puts what was gathered into the catalogue.
func (i *titleImport) put(ctx context.Context) error {
	if len(i.part) > 0 {
		titles := make([]*catalogv1.Title, len(i.part))
		for j, one := range i.part {
			titles[j] = one.title
		}
		results, err := imports.PutTitles(ctx, i.to.Titles, titles)
		if err != nil {
			return err
		}
		for j, r := range results {
			if err := i.result(i.part[j], r); err != nil {
				return err
			}
		}
	}
	i.part = i.part[:0]
	i.cursor.RowCount = max(i.row.Number, i.cursor.RowCount)
	return i.save(ctx)
}

func (i *titleImport) result(one titleRow, r *catalogv1.TitleResult) error {
	if !r.Accepted {
		i.rejected++
		return i.refuse(Rejection{
			File: i.Path, Line: one.line, Row: one.row, Reason: ReasonTitleRefused, Detail: imports.Refusal(r), Raw: one.raw,
		})
	}
	i.summary.Titles++
	if r.Changed {
		i.summary.TitlesChanged++
	}
	return nil
}
