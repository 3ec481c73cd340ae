package features

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"marquee/catalog/changes"
	catalogv1 "marquee/catalog/v1"
)

// insertTitles names its columns, so that the table can gain others.
const insertTitles = ` (title_id, kind, name, year, added_at, genres, maturity_age, runtime_ms, language,
	revision, deleted, proto)`

const (
	// titlesTable is where titles go.
	titlesTable = "titles_raw"
	// fillStop bounds ending a follower that has done its work.
	fillStop = 10 * time.Second
)

// TitleSync brings the catalogue into the warehouse's table titles_raw: it follows title-changes from the start and
// inserts every title the warehouse does not have in that revision or a later one. It may insert one twice (after a
// crash, or run by two processes); the table keeps the highest revision. It is an app module.
type TitleSync struct {
	conn     driver.Conn
	table    string
	follower *changes.Follower
	log      *slog.Logger
	inserted prometheus.Counter
	// known is what the warehouse had when the first batch came. After that the follower itself hands on a title only in a
	// later revision.
	known map[string]int64

	cancel context.CancelFunc
	done   chan error
	caught atomic.Bool
}

// NewTitleSync makes the module; the warehouse must be migrated before it starts.
func NewTitleSync(conn driver.Conn, clients changes.Clients, log *slog.Logger, reg prometheus.Registerer) *TitleSync {
	return newTitleSync(conn, titlesTable, clients, log, reg)
}

// FillTitles brings every title that is in the topic at the call into a table of titles_raw's shape, where it is not there in
// that revision or a later one.
func FillTitles(ctx context.Context, conn driver.Conn, table string, clients changes.Clients, log *slog.Logger) (err error) {
	s := newTitleSync(conn, table, clients, log, prometheus.NewRegistry())
	if err := s.Start(ctx); err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), fillStop)
		defer cancel()
		err = errors.Join(err, s.Stop(stopping))
	}()
	return s.CaughtUp(ctx)
}

func newTitleSync(conn driver.Conn, table string, clients changes.Clients, log *slog.Logger, reg prometheus.Registerer) *TitleSync {
	s := &TitleSync{
		conn:  conn,
		table: table,
		log:   log,
		done:  make(chan error, 2),
		inserted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "marquee_features_titles_inserted_total", Help: "Title revisions inserted into the warehouse.",
		}),
	}
	s.follower = changes.New("warehouse", clients, s.insert, log, reg)
	reg.MustRegister(s.inserted)
	return s
}

// Name returns "titles".
func (s *TitleSync) Name() string { return "titles" }

// Start starts following.
func (s *TitleSync) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() { s.done <- s.follower.Run(ctx) }()
	go func() {
		err := s.follower.CaughtUp(ctx)
		s.caught.Store(err == nil)
		if ctx.Err() != nil || errors.Is(err, changes.ErrStopped) {
			err = nil // stopped before it was caught up, or Run says why
		}
		s.done <- err
	}()
	return nil
}

// Ready returns nil once everything that was in the topic at the start is in the warehouse.
func (s *TitleSync) Ready(context.Context) error {
	if !s.caught.Load() {
		return errors.New("the catalogue is still on its way into the warehouse")
	}
	return nil
}

// CaughtUp returns nil when every title change that was in the topic at the call is in the warehouse. It waits until ctx
// ends.
func (s *TitleSync) CaughtUp(ctx context.Context) error { return s.follower.CaughtUp(ctx) }

// Stop ends following, within the context's deadline.
func (s *TitleSync) Stop(ctx context.Context) error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	var errs []error
	for range 2 {
		select {
		case err := <-s.done:
			errs = append(errs, err)
		case <-ctx.Done():
			return errors.Join(append(errs, fmt.Errorf("stop following title-changes: %w", context.Cause(ctx)))...)
		}
	}
	return errors.Join(errs...)
}

// insert is the follower's handler: it inserts what the warehouse does not have yet.
func (s *TitleSync) insert(ctx context.Context, titles []*catalogv1.Title) error {
	if s.known == nil {
		known, err := s.revisions(ctx)
		if err != nil {
			return fmt.Errorf("read the warehouse's titles: %w", err)
		}
		s.known = known
	}
	batch, err := s.conn.PrepareBatch(ctx, "INSERT INTO "+s.table+insertTitles)
	if err != nil {
		return fmt.Errorf("insert titles: %w", err)
	}
	defer func() { _ = batch.Close() }() // after Send, closing is no news
	for _, t := range titles {
		if s.known[t.GetTitleId()] >= t.GetRevision() {
			continue
		}
		row, err := titleRow(t)
		if err == nil {
			err = batch.Append(row...)
		}
		if err != nil {
			return fmt.Errorf("insert title %q revision %d: %w", t.GetTitleId(), t.GetRevision(), err)
		}
	}
	n := batch.Rows()
	if n == 0 {
		return nil
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("insert %d titles: %w", n, err)
	}
	s.inserted.Add(float64(n))
	s.log.Debug("titles inserted", "titles", n, "revision", titles[len(titles)-1].GetRevision())
	return nil
}

func (s *TitleSync) revisions(ctx context.Context) (map[string]int64, error) {
	rows, err := s.conn.Query(ctx, "SELECT title_id, max(revision) FROM "+s.table+" GROUP BY title_id")
	if err != nil {
		return nil, err
	}
	known := map[string]int64{}
	for rows.Next() {
		var id string
		var revision int64
		if err := rows.Scan(&id, &revision); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		known[id] = revision
	}
	return known, errors.Join(rows.Err(), rows.Close())
}

// titleRow returns the values of insertTitles' columns.
func titleRow(t *catalogv1.Title) ([]any, error) {
	encoded, err := proto.Marshal(t)
	if err != nil {
		return nil, err
	}
	var maturity *uint8
	if t.MaturityAge != nil {
		age := uint8(min(t.GetMaturityAge(), 255))
		maturity = &age
	}
	kind := strings.ToLower(strings.TrimPrefix(t.GetKind().String(), "TITLE_KIND_"))
	genres := t.GetGenres()
	if genres == nil {
		genres = []string{}
	}
	return []any{
		t.GetTitleId(), kind, t.GetName(), t.GetYear(), time.UnixMicro(t.GetAddedAt()).UTC(), genres, maturity,
		t.GetRuntimeMs(), t.GetLanguage(), t.GetRevision(), t.GetDeleted(), string(encoded),
	}, nil
}
