// Package logfile writes a simulated world's log and its truth as Parquet files.
//
// events.parquet and titles.parquet are what a service and a model may see, in the columns of the lake and of the catalogue. The rest
// is for whoever judges: slates.parquet has what was shown, by which propensities, and what was noticed and clicked;
// viewers.parquet and affinities of titles, titles_truth.parquet, have the tastes; world.json says what the world was made of.
package logfile

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/parquet-go/parquet-go"

	"marquee/eval/simulator"
)

// Files of a log.
const (
	Events      = "events.parquet"
	Slates      = "slates.parquet"
	Titles      = "titles.parquet"
	TitlesTruth = "titles_truth.parquet"
	Viewers     = "viewers.parquet"
	World       = "world.json"
)

// Summary says what a log has.
type Summary struct {
	Config  simulator.Config `json:"config"`
	Events  int64            `json:"events"`
	Slates  int64            `json:"slates"`
	Clicks  int64            `json:"clicks"`
	Titles  int              `json:"titles"`
	Viewers int              `json:"viewers"`
}

// Write makes the log of a world under a policy, in a folder that is made if it is not there. Files of an earlier log in it are replaced;
// world.json is written last. The bytes of all files hang on the world and the policy alone, not on workers. progress is
// told how many viewers are done.
func Write(ctx context.Context, dir string, w *simulator.World, p simulator.Policy, workers int, progress func(viewers int)) (s *Summary, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the log's folder: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, World)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replace an earlier log: %w", err)
	}
	if err := writeTruth(dir, w); err != nil {
		return nil, err
	}
	l := &logger{names: newNames(), summary: Summary{Config: w.Config(), Titles: len(w.Titles()), Viewers: w.Viewers()}}
	if l.events, err = create[eventRow](dir, Events); err != nil {
		return nil, err
	}
	if l.slates, err = create[slateRow](dir, Slates); err != nil {
		return nil, errors.Join(err, l.events.close())
	}
	err = w.Log(ctx, p, workers, func(part *simulator.Part) error {
		defer func() { progress(part.First + part.Viewers) }()
		return l.write(part)
	})
	if err := errors.Join(err, l.events.close(), l.slates.close()); err != nil {
		return nil, fmt.Errorf("write the log: %w", err)
	}
	text, err := json.MarshalIndent(l.summary, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", World, err)
	}
	if err := os.WriteFile(filepath.Join(dir, World), append(text, '\n'), 0o644); err != nil {
		return nil, err
	}
	return &l.summary, nil
}

type logger struct {
	names   *names
	events  *file[eventRow]
	slates  *file[slateRow]
	rows    []eventRow
	served  []slateRow
	summary Summary
}

func (l *logger) write(part *simulator.Part) error {
	if cap(l.rows) < len(part.Events) {
		l.rows = make([]eventRow, len(part.Events))
	}
	l.rows = l.rows[:len(part.Events)]
	for i, e := range part.Events {
		l.rows[i].fill(e, l.names)
	}
	l.served = l.served[:0]
	for _, s := range part.Slates {
		l.served = append(l.served, newSlateRow(s))
		for _, clicked := range s.Clicked {
			if clicked {
				l.summary.Clicks++
			}
		}
	}
	l.summary.Events += int64(len(part.Events))
	l.summary.Slates += int64(len(part.Slates))
	return errors.Join(l.events.write(l.rows), l.slates.write(l.served))
}

// file is a Parquet file being written.
type file[T any] struct {
	name   string
	file   *os.File
	buffer *bufio.Writer
	rows   *parquet.GenericWriter[T]
}

const (
	fileBuffer = 1 << 20
	// groupRows bounds what a writer holds in memory.
	groupRows = 200_000
)

func create[T any](dir, name string) (*file[T], error) {
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	out := &file[T]{name: name, file: f, buffer: bufio.NewWriterSize(f, fileBuffer)}
	out.rows = parquet.NewGenericWriter[T](io.Writer(out.buffer), parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(groupRows))
	return out, nil
}

func (f *file[T]) write(rows []T) error {
	if _, err := f.rows.Write(rows); err != nil {
		return fmt.Errorf("write %s: %w", f.name, err)
	}
	return nil
}

func (f *file[T]) close() error {
	err := errors.Join(f.rows.Close(), f.buffer.Flush(), f.file.Close())
	if err != nil {
		return fmt.Errorf("finish %s: %w", f.name, err)
	}
	return nil
}

// table writes a whole file.
func table[T any](dir, name string, n int, row func(i int) T) error {
	f, err := create[T](dir, name)
	if err != nil {
		return err
	}
	rows := make([]T, n)
	for i := range rows {
		rows[i] = row(i)
	}
	return errors.Join(f.write(rows), f.close())
}

func writeTruth(dir string, w *simulator.World) error {
	titles := w.Titles()
	return errors.Join(
		table(dir, Titles, len(titles), func(i int) titleRow { return newTitleRow(titles[i]) }),
		table(dir, TitlesTruth, len(titles), w.TitleTruth),
		table(dir, Viewers, w.Viewers(), w.ViewerTruth),
	)
}
