package nightly

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"marquee/features/snapshot"
	"marquee/internal/db"
	"marquee/training/dataset"
	"marquee/training/model"
)

// goOnWithin is how long after its beginning an interrupted run of the wall clock is gone on with, instead of beginning at the
// clock's new time: less than a night.
const goOnWithin = 12 * time.Hour

// begun is a run that was begun: its instant and, once built, the snapshots it works on.
type begun struct {
	asOf     time.Time
	byClock  bool
	built    *snapshots
	quality  *model.Quality
	at       time.Time
	goesOn   bool
	database *db.DB
	lease    *db.Lease
}

// snapshots are the two a run works on: of the whole data, and as of the evaluation's cut.
type snapshots struct {
	Whole Snapshot `json:"whole"`
	Train Snapshot `json:"train"`
}

type runRow struct {
	bun.BaseModel `bun:"table:nightly_runs"`

	Token     int64  `bun:"token,pk"`
	AsOf      int64  `bun:"as_of"`
	ByClock   bool   `bun:"by_clock"`
	Snapshots string `bun:"snapshots"`
	Quality   string `bun:"quality"`
	BegunAt   int64  `bun:"begun_at"`
	EndedAt   int64  `bun:"ended_at"`
}

// begin records that a run begins. One without an instant goes on where the last one was interrupted, if that had none either and
// is not long ago: on a platform that is watched the wall clock's data are never the same twice.
func (p *Pipeline) begin(ctx context.Context, lease *db.Lease, asOf time.Time) (*begun, error) {
	now := time.Now().UTC()
	b := &begun{asOf: asOf.UTC().Truncate(time.Microsecond), at: now, database: p.DB, lease: lease}
	if asOf.IsZero() {
		b.asOf, b.byClock = now.Truncate(time.Microsecond), true
		if err := b.goOn(ctx, now); err != nil {
			return nil, fmt.Errorf("look for an interrupted run: %w", err)
		}
	}
	return b, b.write(ctx, 0)
}

// goOn takes over the last run if it was interrupted.
func (b *begun) goOn(ctx context.Context, now time.Time) error {
	var last runRow
	err := b.database.NewSelect().Model(&last).Order("token DESC").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if last.EndedAt != 0 || !last.ByClock || now.Sub(time.UnixMicro(last.BegunAt)) > goOnWithin {
		return nil
	}
	b.asOf, b.at, b.goesOn = time.UnixMicro(last.AsOf).UTC(), time.UnixMicro(last.BegunAt), true
	if last.Snapshots == "" {
		return nil
	}
	if b.quality, err = last.readQuality(); err != nil {
		return err
	}
	b.built = &snapshots{}
	return json.Unmarshal([]byte(last.Snapshots), b.built)
}

// end records that the run will not be gone on with.
func (b *begun) end(ctx context.Context) error { return b.write(ctx, time.Now().UnixMicro()) }

func (b *begun) write(ctx context.Context, endedAt int64) error {
	row := &runRow{Token: b.lease.Token(), AsOf: b.asOf.UnixMicro(), ByClock: b.byClock, BegunAt: b.at.UnixMicro(), EndedAt: endedAt}
	if b.built != nil {
		text, err := json.Marshal(b.built)
		if err != nil {
			return fmt.Errorf("record the run: %w", err)
		}
		row.Snapshots = string(text)
	}
	if b.quality != nil {
		text, err := json.Marshal(b.quality)
		if err != nil {
			return fmt.Errorf("record the run: %w", err)
		}
		row.Quality = string(text)
	}
	err := fenced(ctx, b.database, b.lease, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(row).On("CONFLICT (token) DO UPDATE").Set("snapshots = EXCLUDED.snapshots").Set("quality = EXCLUDED.quality").
			Set("ended_at = EXCLUDED.ended_at").Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("record the run: %w", err)
	}
	return nil
}

// features builds the snapshot that the release is trained on, and the one as of the evaluation's cut, which knows
// nothing of what came later. The latter comes first: events that arrive meanwhile are then in the whole alone, which so
// holds every profile and title of the other. A run that goes on keeps the snapshots it had.
func (p *Pipeline) features(ctx context.Context, b *begun) (whole, train Snapshot, resumed bool, err error) {
	if b.built != nil {
		switch there, err := p.present(ctx, b.built); {
		case err != nil:
			return whole, train, false, err
		case there:
			return b.built.Whole, b.built.Train, true, nil
		}
	}
	p.report("features")
	cut, err := p.Features.EventTime(ctx, b.asOf, p.Config.HoldoutQuantile)
	if err != nil {
		return whole, train, false, err
	}
	if train, err = p.Features.BuildAsOf(ctx, cut); err != nil {
		return whole, train, false, err
	}
	if whole, err = p.Features.BuildAsOf(ctx, b.asOf); err != nil {
		return whole, train, false, err
	}
	b.built = &snapshots{Whole: whole, Train: train}
	return whole, train, false, b.write(ctx, 0)
}

// present says whether both snapshots are still in the lake.
func (p *Pipeline) present(ctx context.Context, s *snapshots) (bool, error) {
	for _, id := range []string{s.Whole.ID, s.Train.ID} {
		set, err := snapshot.Open(ctx, p.Lake, dataset.InteractionSet, id)
		if err == nil {
			err = set.Present(ctx)
		}
		if errors.Is(err, snapshot.ErrNotFound) || errors.Is(err, snapshot.ErrCorrupt) {
			p.Log.Warn("the interrupted run's features are gone and are built anew", "snapshot", id, "error", err)
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}
