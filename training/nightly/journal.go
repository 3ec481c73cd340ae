package nightly

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/uptrace/bun"

	"marquee/internal/db"
)

//go:embed migrations
var migrations embed.FS

// The steps of a run that are recorded.
const (
	stepIncumbent = "incumbent"
	stepEvaluate  = "evaluate"
	stepTrain     = "train"
	stepPromote   = "promote"
)

// journal keeps the results of finished steps, so that a run begun again does not do them twice. Every write is checked
// against the run's lease in its own transaction: a run that lost its lease records nothing.
type journal struct {
	db    *db.DB
	lease *db.Lease
	run   string
	// resumed names the steps whose results were there already.
	resumed []string
}

type stepRow struct {
	bun.BaseModel `bun:"table:nightly_steps"`

	Run        string `bun:"run,pk"`
	Step       string `bun:"step,pk"`
	Result     string `bun:"result"`
	FinishedAt int64  `bun:"finished_at"`
}

// Migrate brings the journal's tables up to date.
func Migrate(ctx context.Context, d *db.DB) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("open the nightly migrations: %w", err)
	}
	return d.Migrate(ctx, "nightly", sub)
}

// recorded returns the result of the named step, if it has finished.
func recorded[T any](ctx context.Context, j *journal, name string) (out T, ok bool, err error) {
	var row stepRow
	err = j.db.NewSelect().Model(&row).Where("run = ?", j.run).Where("step = ?", name).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return out, false, nil
	}
	if err != nil {
		return out, false, fmt.Errorf("look up step %s: %w", name, err)
	}
	if err := json.Unmarshal([]byte(row.Result), &out); err != nil {
		return out, false, fmt.Errorf("the recorded result of step %s of run %s cannot be read: %w", name, j.run, err)
	}
	return out, true, nil
}

// step returns the recorded result of the named step, or does it and records what it returns.
func step[T any](ctx context.Context, j *journal, name string, do func(context.Context) (T, error)) (T, error) {
	out, ok, err := recorded[T](ctx, j, name)
	if err != nil {
		return out, err
	}
	if ok {
		j.resumed = append(j.resumed, name)
		return out, nil
	}
	if out, err = do(ctx); err != nil {
		return out, fmt.Errorf("%s: %w", name, err)
	}
	return out, j.record(ctx, name, out, nil)
}

// record keeps a step's result. What act does, where given, is done under the lease: no successor can take over between the check
// and the end of act. act must not use the database.
func (j *journal) record(ctx context.Context, name string, result any, act func(context.Context) error) error {
	b, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode the result of step %s: %w", name, err)
	}
	err = fenced(ctx, j.db, j.lease, func(ctx context.Context, tx bun.Tx) error {
		if act != nil {
			if err := act(ctx); err != nil {
				return err
			}
		}
		row := &stepRow{Run: j.run, Step: name, Result: string(b), FinishedAt: time.Now().UnixMicro()}
		_, err := tx.NewInsert().Model(row).On("CONFLICT (run, step) DO UPDATE").Set("result = EXCLUDED.result").
			Set("finished_at = EXCLUDED.finished_at").Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("record step %s: %w", name, err)
	}
	return nil
}

// drop forgets steps of this run, so that they are done again.
func (j *journal) drop(ctx context.Context, names ...string) error {
	err := fenced(ctx, j.db, j.lease, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Model((*stepRow)(nil)).Where("run = ?", j.run).Where("step IN (?)", bun.List(names)).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget steps %v: %w", names, err)
	}
	return nil
}

// forget drops what is recorded of runs in which nothing happened since the given instant: their releases are the record.
func (j *journal) forget(ctx context.Context, before time.Time) error {
	at := before.UnixMicro()
	err := fenced(ctx, j.db, j.lease, func(ctx context.Context, tx bun.Tx) error {
		later := tx.NewSelect().Model((*stepRow)(nil)).Column("run").Where("finished_at >= ?", at)
		if _, err := tx.NewDelete().Model((*stepRow)(nil)).Where("run NOT IN (?)", later).Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewDelete().Model((*runRow)(nil)).Where("begun_at < ?", at).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget old runs: %w", err)
	}
	return nil
}

// fenced runs fn in a transaction that holds the lease until its end.
func fenced(ctx context.Context, d *db.DB, lease *db.Lease, fn func(context.Context, bun.Tx) error) error {
	return d.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := lease.Check(ctx, tx); err != nil {
			return err
		}
		return fn(ctx, tx)
	})
}
