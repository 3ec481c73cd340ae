package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"marquee/ingest/events"
	"marquee/ingest/ledger"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/db"
	"marquee/internal/lake"
)

// sinks looks at both sinks and the ledger from outside the service.
type sinks struct {
	conn   driver.Conn
	lake   *lake.Lake
	db     *db.DB
	ledger *ledger.Ledger
	// rows are the rows of each manifest seen.
	rows map[string]int64
}

func openSinks(ctx context.Context, s *service) (_ *sinks, err error) {
	k := &sinks{rows: make(map[string]int64)}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.close())
		}
	}()
	o, err := clickhouse.ParseDSN(s.warehouseURL())
	if err != nil {
		return nil, errors.New("the service's warehouse has no URL that can be read")
	}
	o.ReadTimeout, o.MaxOpenConns = 10*time.Minute, 4
	if k.conn, err = clickhouse.Open(o); err != nil {
		return nil, fmt.Errorf("open the warehouse: %w", err)
	}
	if k.lake, err = lake.Open(ctx, "file://"+filepath.Join(s.data, "lake")); err != nil {
		return nil, err
	}
	if k.db, err = db.Open(ctx, "sqlite:", s.data); err != nil {
		return nil, err
	}
	k.ledger, err = ledger.New(ctx, k.db)
	return k, err
}

func (k *sinks) close() error {
	var errs []error
	if k.conn != nil {
		errs = append(errs, k.conn.Close())
	}
	if k.lake != nil {
		errs = append(errs, k.lake.Close())
	}
	if k.db != nil {
		errs = append(errs, k.db.Close())
	}
	return errors.Join(errs...)
}

func (k *sinks) positions(ctx context.Context) (map[int32]ledger.Position, error) {
	return k.ledger.Positions(ctx, ingestv1.TopicWatchEvents)
}

// counted are the rows in each sink, repeats included.
type counted struct{ warehouse, lake int64 }

// count counts the rows of both sinks: the warehouse's by its own account, the lake's by its manifests.
func (k *sinks) count(ctx context.Context) (counted, error) {
	var c counted
	var n uint64
	if err := k.conn.QueryRow(ctx, "SELECT count() FROM events_raw").Scan(&n); err != nil {
		return c, fmt.Errorf("count the warehouse: %w", err)
	}
	c.warehouse = int64(n)
	for o, err := range k.lake.List(ctx, events.ManifestPrefix) {
		if err != nil {
			return c, err
		}
		if _, seen := k.rows[o.Key]; !seen {
			content, err := k.lake.ReadFile(ctx, o.Key)
			if err != nil {
				return c, err
			}
			m, err := events.DecodeManifest(o.Key, content)
			if err != nil {
				return c, err
			}
			k.rows[o.Key] = m.Rows()
		}
		c.lake += k.rows[o.Key]
	}
	return c, nil
}

// empty makes sure that nothing is there before the first measurement.
func (k *sinks) empty(ctx context.Context) error {
	c, err := k.count(ctx)
	if err == nil && c != (counted{}) {
		err = fmt.Errorf("the data folder holds %d events already: measure on an empty one", max(c.warehouse, c.lake))
	}
	return err
}

// holds waits until each sink has so many rows. A merge may drop repeats from the warehouse, so both count at least as many.
func (k *sinks) holds(ctx context.Context, rows int64) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	for {
		c, err := k.count(ctx)
		if err != nil {
			return fmt.Errorf("wait for %d events in both sinks: %w", rows, err)
		}
		if c.warehouse >= rows && c.lake >= rows {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d events in both sinks were expected; the warehouse has %d, the lake %d: %w", rows, c.warehouse, c.lake, ctx.Err())
		case <-time.After(followEvery):
		}
	}
}

// distinct counts the events of both sinks through their deduplicating readers.
func (k *sinks) distinct(ctx context.Context) (counted, error) {
	var c counted
	var n uint64
	if err := k.conn.QueryRow(ctx, "SELECT count() FROM events").Scan(&n); err != nil {
		return c, fmt.Errorf("count the warehouse's events: %w", err)
	}
	set, err := events.Open(ctx, k.lake)
	if err != nil {
		return c, err
	}
	total, err := set.Count(ctx)
	return counted{int64(n), total.Events}, err
}

// quiet is a log for engines that this program opens: their errors come back to it.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
