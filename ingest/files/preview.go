package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	catalogv1 "marquee/catalog/v1"
	"marquee/ingest/mapping"
	"marquee/ingest/tabular"
	ingestv1 "marquee/ingest/v1"
)

// Preview is what an import would do.
type Preview struct {
	Summary
	// Sample are the first events or titles as they would land, by the names of the contract's fields.
	Sample []map[string]any `json:"sample"`
	// Columns are the file's.
	Columns []string `json:"columns"`
}

// dryRun is one.
type dryRun struct {
	reading
	preview Preview
	show    int
	known   known
}

// DryRun reads a file as an import would, up to limit rows (0 means all), and keeps the first show events or titles. It
// needs nothing but the file.
func DryRun(ctx context.Context, o Options, show int, limit int64) (preview *Preview, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	d := &dryRun{reading: reading{Options: &o}, show: show, known: newKnown()}
	if d.file, err = o.open(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.file.Close()) }()
	d.preview.Summary = Summary{Kind: o.Mapping.Kind, File: o.Path, Format: d.file.Format(), Namespace: o.Namespace}
	d.preview.Sample, d.preview.Columns = []map[string]any{}, d.file.Columns()
	take, err := d.taker()
	if err != nil {
		return nil, err
	}
	for limit == 0 || d.rows < limit {
		rejected, err := d.next(ctx, take)
		if rejected != nil {
			d.preview.reject([]Rejection{*rejected})
			if err := writeRejects(o.Rejects, []Rejection{*rejected}); err != nil {
				return nil, err
			}
		}
		// What is wrong with all rows is what a dry run is to show.
		if d.stop != nil && d.rows > 0 && !d.good {
			break
		}
		if errors.Is(err, io.EOF) {
			d.preview.Finished = true
			break
		}
		if err != nil {
			return nil, err
		}
	}
	d.preview.RowsRead = d.rows
	return &d.preview, nil
}

// taker compiles the mapping and says what is done with each row.
func (d *dryRun) taker() (func(*tabular.Row) error, error) {
	if d.Mapping.Kind == mapping.Titles {
		p, err := compileTitles(d.Options, d.file)
		return func(row *tabular.Row) error { return d.title(p, row) }, err
	}
	d.preview.ImportID = d.importID()
	p, err := compileEvents(d.Options, d.file)
	var b mapping.Batch
	return func(row *tabular.Row) error { return d.event(p, row, &b) }, err
}

func (d *dryRun) event(p *mapping.EventProgram, row *tabular.Row, b *mapping.Batch) error {
	b.Reset(time.Now().UnixMicro())
	if r := p.Row(row, b); r != nil {
		return r
	}
	d.preview.Skipped += b.Skipped
	d.preview.Events += int64(len(b.Events))
	for _, e := range b.Events {
		d.preview.span(e.OccurredAt, e.OccurredAt)
		if len(d.preview.Sample) < d.show {
			sample, err := eventSample(proto.Clone(e).(*ingestv1.WatchEvent))
			if err != nil {
				return err
			}
			d.preview.Sample = append(d.preview.Sample, sample)
		}
	}
	return nil
}

func (d *dryRun) title(p *mapping.TitleProgram, row *tabular.Row) error {
	t, r := p.Row(row)
	if r != nil {
		return r
	}
	if t == nil {
		d.preview.Skipped++
		return nil
	}
	again, err := d.known.add(t)
	if err != nil {
		return err
	}
	if again {
		d.preview.Repeated++
		return nil
	}
	d.preview.Titles++
	if len(d.preview.Sample) < d.show {
		sample, err := titleSample(t)
		if err != nil {
			return err
		}
		d.preview.Sample = append(d.preview.Sample, sample)
	}
	return nil
}

// eventSample has the event's fields by name, its enumerations as words and its time as text.
func eventSample(e *ingestv1.WatchEvent) (map[string]any, error) {
	out, err := fields(e)
	if err != nil {
		return nil, err
	}
	out["type"] = strings.ToLower(strings.TrimPrefix(e.Type.String(), "EVENT_TYPE_"))
	if e.DeviceClass != 0 {
		out["device_class"] = strings.ToLower(strings.TrimPrefix(e.DeviceClass.String(), "DEVICE_CLASS_"))
	}
	out["occurred_at"] = time.UnixMicro(e.OccurredAt).UTC().Format(time.RFC3339Nano)
	delete(out, "received_at")
	return out, nil
}

func titleSample(t *catalogv1.Title) (map[string]any, error) {
	out, err := fields(t)
	if err != nil {
		return nil, err
	}
	out["kind"] = strings.ToLower(strings.TrimPrefix(t.Kind.String(), "TITLE_KIND_"))
	if t.AddedAt > 0 {
		out["added_at"] = time.UnixMicro(t.AddedAt).UTC().Format(time.RFC3339Nano)
	}
	return out, nil
}

// fields are a message's set fields by name.
func fields(m any) (map[string]any, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("show a row: %w", err)
	}
	out := make(map[string]any)
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		return nil, fmt.Errorf("show a row: %w", err)
	}
	return out, nil
}
