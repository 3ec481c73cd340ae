package nightly

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"time"

	"github.com/uptrace/bun"

	"marquee/internal/db"
)

//go:embed migrations
var migrations embed.FS

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

// step returns the recorded result of the named step, or does it and records what it returns.
func step[T any](ctx context.Context, j *journal, name string, do func(context.Context) (T, error)) (T, error) {
	var out T
	var row stepRow
	n, err := j.db.NewSelect().Model(&row).Where("run = ?", j.run).Where("step = ?", name).ScanAndCount(ctx)
	if err != nil && n > 0 {
		return out, fmt.Errorf("look up step %s: %w", name, err)
	}
	if n > 0 {
		if err := json.Unmarshal([]byte(row.Result), &out); err != nil {
			return out, fmt.Errorf("the recorded result of step %s of run %s cannot be read: %w", name, j.run, err)
		}
		j.resumed = append(j.resumed, name)
		return out, nil
	}
	if out, err = do(ctx); err != nil {
		return out, fmt.Errorf("%s: %w", name, err)
	}
	return out, j.record(ctx, name, out)
}

func (j *journal) record(ctx context.Context, name string, result any) error {
	b, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode the result of step %s: %w", name, err)
	}
	return j.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := j.lease.Check(ctx, tx); err != nil {
			return fmt.Errorf("record step %s: %w", name, err)
		}
		row := &stepRow{Run: j.run, Step: name, Result: string(b), FinishedAt: time.Now().UnixMicro()}
		if _, err := tx.NewInsert().Model(row).On("CONFLICT (run, step) DO UPDATE").Set("result = EXCLUDED.result").
			Set("finished_at = EXCLUDED.finished_at").Exec(ctx); err != nil {
			return fmt.Errorf("record step %s: %w", name, err)
		}
		return nil
	})
}

// forget drops the recorded steps of runs that finished before the given instant: their releases are the record.
func (j *journal) forget(ctx context.Context, before time.Time) error {
	if _, err := j.db.NewDelete().Model((*stepRow)(nil)).Where("finished_at < ?", before.UnixMicro()).Exec(ctx); err != nil {
		return fmt.Errorf("forget old runs: %w", err)
	}
	return nil
}
