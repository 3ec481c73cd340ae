package rebuild

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"marquee/ingest/events"
	"marquee/ingest/sink"
)

const (
	// blockRows is how many rows an insert has: about 50 MB in memory.
	blockRows = 100_000
	// writers is how many inserts run side by side.
	writers = 2
)

// task is what is recorded as done in one piece: a large file, or small ones of one month together.
type task struct {
	files []events.File
	rows  int64
}

// tasks packs the files that are not done. A block never spans two months: the table is partitioned by them.
func (j *job) tasks(files []events.File) []task {
	var out []task
	month := ""
	for _, f := range files {
		if _, done := j.done[f.Key]; done {
			continue
		}
		last := len(out) - 1
		if last < 0 || out[last].rows+f.Rows > blockRows || f.Month() != month {
			out = append(out, task{})
			last++
		}
		month = f.Month()
		out[last].files = append(out[last].files, f)
		out[last].rows += f.Rows
	}
	return out
}

// bring inserts the rows of the set's files that are not done, and returns how many rows that were.
func (j *job) bring(ctx context.Context, set *events.Set) (int64, error) {
	var total, before int64
	for _, f := range set.Files() {
		total += f.Rows
		if _, done := j.done[f.Key]; done {
			before += f.Rows
		}
	}
	var inserted atomic.Int64
	inserted.Store(before)
	j.Progress(before, total)
	var mu sync.Mutex
	rows := int64(0)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for _, t := range j.tasks(set.Files()) {
		group.Go(func() error {
			w := &blockWriter{job: j, task: t, batch: sink.NewBatch(int(min(t.rows, blockRows)))}
			w.written = func(n int) { j.Progress(inserted.Add(int64(n)), total) }
			if err := w.run(ctx, set); err != nil {
				return err
			}
			if err := j.recordProgress(ctx, t.files); err != nil {
				return err
			}
			j.Log.Debug("brought into the warehouse", "files", len(t.files), "rows", t.rows)
			mu.Lock()
			defer mu.Unlock()
			rows += t.rows
			for _, f := range t.files {
				j.done[f.Key] = f.Rows
			}
			return nil
		})
	}
	err := group.Wait()
	return rows, err
}

// blockWriter inserts the rows of one task, block by block.
type blockWriter struct {
	job     *job
	task    task
	batch   *sink.Batch
	written func(rows int)
}

func (w *blockWriter) run(ctx context.Context, set *events.Set) error {
	for _, f := range w.task.files {
		for r, err := range set.RawOf(ctx, f) {
			if err != nil {
				return err
			}
			if err := w.job.rows.Add(w.batch, r); err != nil {
				return fmt.Errorf("%s: %w", f.Key, err)
			}
			if w.batch.Len() >= blockRows {
				if err := w.flush(ctx); err != nil {
					return err
				}
			}
		}
	}
	return w.flush(ctx)
}

// flush inserts what is gathered.
func (w *blockWriter) flush(ctx context.Context) error {
	n := w.batch.Len()
	if n == 0 {
		return nil
	}
	if err := w.job.sink.Insert(ctx, w.job.shadow.Name(), w.batch); err != nil {
		return err
	}
	w.batch.Reset()
	w.written(n)
	return nil
}
