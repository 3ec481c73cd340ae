// Package rebuild restores the warehouse from the lake, which is the truth, and says what a warehouse holds.
//
// The new content is filled into a shadow of events_raw beside a service that goes on reading and writing, and takes its
// place in one step. Then every consumer is fenced in the ledger, so that a range which was in flight is written again, to
// the new table, and what reached the lake meanwhile is brought after. What is done is recorded in the warehouse itself,
// file by file, so that a run that was killed goes on, and one whose warehouse was deleted starts over.
package rebuild

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"marquee/ingest/events"
	"marquee/ingest/ledger"
	"marquee/ingest/sink"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/db"
	"marquee/internal/lake"
)

// Shadow is a table that is filled beside another and put in its place.
type Shadow interface {
	// Name is what to insert into, ID its identity through all renaming.
	Name() string
	ID() string
	// Swapped says that it is in its place already.
	Swapped() bool
	Swap(ctx context.Context) error
	// Drop drops what is not in the table's place.
	Drop(ctx context.Context) error
}

// Deps are what a rebuild works with; all are required.
type Deps struct {
	DB   *db.DB
	Lake *lake.Lake
	// Conn is a connection to a warehouse whose migrations have run.
	Conn driver.Conn
	// OpenShadow takes over the shadow of a table with a known identity or makes a new one, fenced by a growing token.
	OpenShadow func(ctx context.Context, table string, token int64, known string) (Shadow, error)
	// Truncate empties a table.
	Truncate func(ctx context.Context, table string) error
	// FillTitles brings every title the catalogue has published by now into a table of the shape of titles_raw, where
	// it is not there already.
	FillTitles func(ctx context.Context, table string) error
	// Progress is told how many of how many rows are done.
	Progress func(done, total int64)
	Log      *slog.Logger
}

// Summary is what a rebuild did.
type Summary struct {
	// Files and Rows are the lake's, copies of events included; FilesBefore and RowsBefore those that an earlier, interrupted
	// run had brought in.
	Files       int   `json:"files"`
	Rows        int64 `json:"rows"`
	FilesBefore int   `json:"files_before"`
	RowsBefore  int64 `json:"rows_before"`
	// Open are the ranges that were in flight; the consumer writes them again.
	Open []string `json:"open"`
	// Gaps are stretches of the log that the lake does not have: removed by the broker before they were stored, or given up.
	Gaps []events.Gap `json:"gaps"`
	// Content is what the warehouse holds afterwards.
	Content Contents `json:"content"`
}

// job is one run.
type job struct {
	Deps
	ledger *ledger.Ledger
	sink   *sink.Warehouse
	rows   *sink.RowReader
	lease  *db.Lease
	shadow Shadow
	// done are the files wholly in the shadow.
	done    map[string]int64
	summary Summary
}

// Run rebuilds. It can be run again after any interruption, and beside a running service.
func Run(ctx context.Context, d Deps) (out *Summary, err error) {
	j := &job{Deps: d, sink: sink.NewWarehouse(d.Conn), rows: sink.NewRowReader()}
	if j.ledger, err = ledger.New(ctx, d.DB); err != nil {
		return nil, err
	}
	// Whoever rewrites the lake's files holds the same lease.
	if j.lease, err = events.Maintain(ctx, d.DB, fmt.Sprintf("warehouse rebuild, process %d", os.Getpid())); err != nil {
		return nil, fmt.Errorf("rebuild the warehouse: %w", err)
	}
	defer func() { err = errors.Join(err, j.lease.Release(context.WithoutCancel(ctx))) }()
	ctx = j.lease.Context()
	for _, step := range []func(context.Context) error{j.open, j.fill, j.swap, j.titles, j.tidy} {
		if err := step(ctx); err != nil {
			if cause := context.Cause(ctx); errors.Is(cause, db.ErrLeaseLost) {
				err = errors.Join(err, cause)
			}
			return nil, fmt.Errorf("rebuild the warehouse: %w", err)
		}
	}
	if j.summary.Content, err = Content(ctx, d.Conn); err != nil {
		return nil, err
	}
	return &j.summary, nil
}

// open finds out whether an earlier run was interrupted, and goes on with it if the lake's files are those it knew.
func (j *job) open(ctx context.Context) error {
	set, err := events.Open(ctx, j.Lake)
	if err != nil {
		return err
	}
	known, err := j.readProgress(ctx)
	if err != nil {
		return err
	}
	live := make(map[string]bool)
	for _, f := range set.Files() {
		live[f.Key] = true
	}
	for key := range j.done {
		if !live[key] {
			j.Log.Warn("the lake's files are others than those of the interrupted rebuild: starting over", "gone", key)
			known = ""
			break
		}
	}
	if j.shadow, err = j.OpenShadow(ctx, "events_raw", j.lease.Token(), known); err != nil {
		return err
	}
	if j.shadow.ID() == known {
		for _, rows := range j.done {
			j.summary.FilesBefore++
			j.summary.RowsBefore += rows
		}
		j.Log.Info("going on with an interrupted rebuild", "files", len(j.done))
		return nil
	}
	return j.beginProgress(ctx)
}

// fill brings the lake's files into the shadow, and again those that came meanwhile, as long as a round has less than half of
// what the one before had: a service that takes events in faster than files can be listed would never let it find none. What
// is left then is brought after the swap.
func (j *job) fill(ctx context.Context) error {
	if j.shadow.Swapped() {
		return nil
	}
	for before := int64(math.MaxInt64); ; {
		set, err := events.Open(ctx, j.Lake)
		if err != nil {
			return err
		}
		rows, err := j.bring(ctx, set)
		if err != nil {
			return err
		}
		if rows > before/2 || rows == 0 {
			return j.checkComplete(ctx)
		}
		before = rows
	}
}

// checkComplete refuses to put a shadow into place while the ledger knows of something that the lake should have and has
// not. What is finished after this call is brought after the swap.
func (j *job) checkComplete(ctx context.Context) error {
	set, err := events.Open(ctx, j.Lake)
	if err != nil {
		return err
	}
	missing, err := j.ledger.Missing(ctx, ingestv1.TopicWatchEvents, set.Covers)
	if err != nil || len(missing) == 0 {
		return err
	}
	// The consumer may have finished it since the lake was listed.
	if set, err = events.Open(ctx, j.Lake); err != nil {
		return err
	}
	for _, r := range missing {
		if !set.Covers(r.Partition, r.First, r.Last) {
			return fmt.Errorf("the ledger says that range %s is in the lake, but no manifest has it: `marquee lake verify` says more; the warehouse is as it was: %w",
				r, lake.ErrCorrupt)
		}
	}
	return nil
}

// swap puts the shadow into place, fences the consumers and brings after what they had written to the old table.
func (j *job) swap(ctx context.Context) error {
	if err := j.lease.Check(ctx, j.DB); err != nil {
		return err
	}
	if err := j.shadow.Swap(ctx); err != nil {
		return err
	}
	open, err := j.ledger.RedoWarehouse(ctx, ingestv1.TopicWatchEvents, "warehouse rebuild", j.lease.Check)
	if err != nil {
		return err
	}
	j.summary.Open = []string{}
	for _, r := range open {
		j.summary.Open = append(j.summary.Open, r.String())
	}
	set, err := events.Open(ctx, j.Lake)
	if err != nil {
		return err
	}
	if _, err := j.bring(ctx, set); err != nil {
		return err
	}
	j.summary.Gaps = append([]events.Gap{}, set.Gaps()...)
	for _, key := range set.Files() {
		j.summary.Files++
		j.summary.Rows += key.Rows
	}
	return nil
}

// titles makes the table of titles anew, from what the catalogue has published.
func (j *job) titles(ctx context.Context) error {
	shadow, err := j.OpenShadow(ctx, "titles_raw", j.lease.Token(), "")
	if err != nil {
		return err
	}
	if err := j.FillTitles(ctx, shadow.Name()); err != nil {
		return err
	}
	if err := j.lease.Check(ctx, j.DB); err != nil {
		return err
	}
	if err := shadow.Swap(ctx); err != nil {
		return err
	}
	// A service may have put a revision into the old table since.
	if err := j.FillTitles(ctx, "titles_raw"); err != nil {
		return err
	}
	return shadow.Drop(ctx)
}

// tidy drops the old table.
func (j *job) tidy(ctx context.Context) error {
	if err := j.shadow.Drop(ctx); err != nil {
		return err
	}
	return j.clearProgress(ctx)
}
