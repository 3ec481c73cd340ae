// Package compact keeps the lake's events in good order: it makes day files of sensible size of the many small ones that
// ingest writes, drops what is not kept any longer, and deletes what was replaced once readers have had time to finish.
//
// It works beside consumers and readers. What it writes exists once its manifest does, and that takes the next number in one
// step that only one process can win; whatever was interrupted before is as if it had never been. Copies of events are kept,
// so that which one came first stays to be seen. Before a manifest is written, its files are read back and held against the
// rows they are to replace.
package compact

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"marquee/ingest/events"
	"marquee/ingest/ledger"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/db"
	"marquee/internal/lake"
)

// Deps are what compaction works with; all are required.
type Deps struct {
	DB   *db.DB
	Lake *lake.Lake
	// Scratch is a local folder for rows that are being sorted; it is made and emptied.
	Scratch string
	// Expire deletes a type's events that were received before an instant from the warehouse.
	Expire func(ctx context.Context, kind string, before time.Time) error
	// Progress is told how many of how many rows are done.
	Progress func(done, total int64)
	Log      *slog.Logger
	Now      func() time.Time
}

// Options are one run's.
type Options struct {
	// OpenDay takes the day that is not over as well.
	OpenDay bool
	// Erase says of profiles that none of their events are to stay: neither in what is written nor, so readers of before may
	// fail, in what was replaced. Files that hold one are rewritten; OpenDay should be set.
	Erase func(profileID string) bool
	// DryRun changes nothing and only says what would be done.
	DryRun bool
}

// Summary is what a run did.
type Summary struct {
	// Days are those whose files were written anew.
	Days []string `json:"days"`
	// FilesBefore became FilesAfter.
	FilesBefore int   `json:"files_before"`
	FilesAfter  int   `json:"files_after"`
	BytesBefore int64 `json:"bytes_before"`
	BytesAfter  int64 `json:"bytes_after"`
	Rows        int64 `json:"rows"`
	// Dropped counts the rows of each type that were left out for good.
	Dropped map[string]int64 `json:"dropped"`
	// Deleted counts the files deleted that were replaced earlier or left behind.
	Deleted int `json:"deleted"`
	// Left counts the manifests that were left as they are because they are in flight or their day is not over.
	Left int `json:"left"`
	// Ranges, Compacted and Replaced count the manifests there are afterwards.
	Ranges    int `json:"ranges"`
	Compacted int `json:"compacted"`
	Replaced  int `json:"replaced"`
}

// run is one run.
type run struct {
	Deps
	cfg     Config
	options Options
	now     time.Time
	kept    map[string]int64
	lease   *db.Lease
	through map[int32]ledger.Position
	// erasing are the files that hold what is to be erased.
	erasing map[string]bool
	total   int64
	done    int64
	summary Summary
	// step is called before every change of the lake; a test makes it fail.
	step func(what string) error
}

// Run compacts what there is to compact. It can be run again after any interruption; it fails with db.ErrLeaseHeld while another
// rewrites the lake.
func Run(ctx context.Context, cfg Config, d Deps, o Options) (*Summary, error) {
	return newRun(cfg, d, o).do(ctx)
}

func newRun(cfg Config, d Deps, o Options) *run {
	r := &run{Deps: d, cfg: cfg, options: o, now: d.Now(), step: func(string) error { return nil }}
	r.kept = cfg.Retention.firstKept(r.now)
	r.summary.Days, r.summary.Dropped = []string{}, make(map[string]int64)
	return r
}

func (r *run) do(ctx context.Context) (out *Summary, err error) {
	l, err := ledger.New(ctx, r.DB)
	if err != nil {
		return nil, err
	}
	if !r.options.DryRun {
		if r.lease, err = events.Maintain(ctx, r.DB, fmt.Sprintf("lake compaction, process %d", os.Getpid())); err != nil {
			return nil, fmt.Errorf("compact the lake: %w", err)
		}
		defer func() { err = errors.Join(err, r.lease.Release(context.WithoutCancel(ctx))) }()
		ctx = r.lease.Context()
	}
	// Read before the lake is: what is done by now is in the manifests.
	if r.through, err = l.Positions(ctx, ingestv1.TopicWatchEvents); err != nil {
		return nil, err
	}
	for _, part := range r.parts() {
		if err := part(ctx); err != nil {
			if cause := context.Cause(ctx); errors.Is(cause, db.ErrLeaseLost) {
				err = errors.Join(err, cause)
			}
			return nil, fmt.Errorf("compact the lake: %w", err)
		}
	}
	return &r.summary, nil
}

func (r *run) parts() []func(context.Context) error {
	switch {
	case r.options.DryRun:
		return []func(context.Context) error{r.sweep, r.rewriteAll}
	case r.options.Erase != nil:
		return []func(context.Context) error{r.clearScratch, r.rewriteAll, r.sweep, r.expire}
	}
	return []func(context.Context) error{r.clearScratch, r.sweep, r.rewriteAll, r.expire}
}

// clearScratch deletes what a process left that was killed while it sorted.
func (r *run) clearScratch(context.Context) error {
	if err := os.RemoveAll(r.Scratch); err != nil {
		return fmt.Errorf("empty the folder for sorting: %w", err)
	}
	return nil
}

// rewriteAll writes the groups anew that want it, one after another.
func (r *run) rewriteAll(ctx context.Context) error {
	set, err := events.Open(ctx, r.Lake)
	if err != nil {
		return err
	}
	if err := r.findErasing(ctx, set); err != nil {
		return err
	}
	groups := r.plan(set)
	for _, g := range groups {
		r.total += g.rows()
	}
	r.Progress(0, r.total)
	for _, g := range groups {
		if r.options.DryRun {
			r.foresee(g)
			continue
		}
		if set, err = r.rewrite(ctx, set, g); err != nil {
			return err
		}
	}
	s := &r.summary
	s.Ranges, s.Replaced = len(set.Manifests()), len(set.Replaced())
	s.Compacted = len(set.Sources()) - s.Ranges
	return nil
}

// rewrite brings a group's rows into new files, puts them in the place of the group's, and returns the set after that.
func (r *run) rewrite(ctx context.Context, set *events.Set, g group) (*events.Set, error) {
	w, err := r.write(ctx, set, g)
	if err != nil {
		return nil, err
	}
	if err := r.step("manifest"); err != nil {
		return nil, err
	}
	next, err := set.Replace(ctx, events.Replacement{
		Sources: g.sources, Files: w.files, Dropped: w.dropped, At: r.now,
		Check: func(ctx context.Context) error { return r.lease.Check(ctx, r.DB) },
	})
	if err != nil {
		return nil, err
	}
	r.account(g, w)
	r.Log.Info("compacted", "day", dateOf(g.day), "manifests", len(g.sources), "rows", g.rows(), "files", len(w.files), "number", set.NextNumber())
	return next, nil
}

func dateOf(day int64) string { return time.Unix(day*secondsPerDay, 0).UTC().Format(time.DateOnly) }

// account adds what became of a group to the summary.
func (r *run) account(g group, w *writer) {
	r.accountFor(g)
	s := &r.summary
	for _, f := range w.files {
		s.FilesAfter++
		s.BytesAfter += f.Bytes
		s.Rows += f.Rows
	}
	for kind, n := range w.dropped {
		s.Dropped[kind] += n
	}
}

// foresee adds what would become of a group: as many files as its bytes ask for, though they usually compress better.
func (r *run) foresee(g group) {
	r.accountFor(g)
	s := &r.summary
	for _, files := range g.days() {
		var bytes int64
		for _, f := range files {
			bytes += f.Bytes
			s.Rows += f.Rows
		}
		s.FilesAfter += int((bytes + r.cfg.FileBytes - 1) / r.cfg.FileBytes)
		s.BytesAfter += bytes
	}
}

// accountFor adds what a group is to the summary.
func (r *run) accountFor(g group) {
	s := &r.summary
	for _, source := range g.sources {
		s.FilesBefore += len(source.Files)
		for _, f := range source.Files {
			s.BytesBefore += f.Bytes
		}
	}
	for d := range g.days() {
		s.Days = append(s.Days, dateOf(d))
	}
	slices.Sort(s.Days)
	s.Days = slices.Compact(s.Days)
}

// expire applies retention to the warehouse.
func (r *run) expire(ctx context.Context) error {
	for _, kind := range slices.Sorted(maps.Keys(r.kept)) {
		if err := r.Expire(ctx, kind, time.Unix(r.kept[kind]*secondsPerDay, 0).UTC()); err != nil {
			return fmt.Errorf("retention of %s in the warehouse: %w", kind, err)
		}
	}
	return nil
}
