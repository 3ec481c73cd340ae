// Package features builds feature sets: SQL run by the warehouse over the watch events, streamed into Parquet in the lake.
//
// Every set is one .sql file of this folder. A set is a function of its input alone: the deduplicated events up to and
// including an instant as_of, within broker offsets that the manifest records. No SQL asks for the time, sums are of
// whole numbers and rows are in a total order, so the same input gives the same content checksum on any engine.
package features

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"marquee/features/snapshot"
	"marquee/internal/lake"
)

// ErrNoEvents is wrapped where a build finds no event to build from.
var ErrNoEvents = errors.New("the warehouse holds no events to build features from")

// Builder builds, lists and removes feature snapshots. Building the same snapshot twice at once is harmless.
type Builder struct {
	Conn driver.Conn
	Lake *lake.Lake
	Log  *slog.Logger
	// PartRows and PartBytes bound one Parquet part, in rows and in bytes before encoding; zero means the defaults of
	// DefaultConfig.
	PartRows  int64
	PartBytes int64
}

// BuildOptions say what to build.
type BuildOptions struct {
	// AsOf is the instant the features are of: events at it count, later ones do not. Microseconds count, finer is cut off.
	AsOf time.Time
	// MaxEvent builds as of the last event in the warehouse instead.
	MaxEvent bool
	// Sets to build, by name; none means all.
	Sets []string
	// Progress, when given, is called now and then with a set's rows so far, from the building goroutine.
	Progress func(Progress)
}

// Progress is how far the building of one set has come.
type Progress struct {
	Set  string
	Rows int64
	// Done is set on the set's last report; Reused when it was already there and nothing was built.
	Done, Reused bool
}

// Snapshot is what Build returns: the sets it was asked for, by name.
type Snapshot struct {
	ID    string                        `json:"snapshot"`
	AsOf  time.Time                     `json:"as_of"`
	Input snapshot.Input                `json:"input"`
	Sets  map[string]*snapshot.Manifest `json:"sets"`
	// Built names the sets this call built; the others were there already.
	Built []string `json:"built"`
}

// Build brings the sets asked for into being, as of one instant, and returns them. A set that is already there complete,
// from the same input by the same SQL, is left as it is, so a build that was interrupted goes on where it stopped.
func (b *Builder) Build(ctx context.Context, o BuildOptions) (*Snapshot, error) {
	sets, err := checkSets(o.Sets)
	if err != nil {
		return nil, err
	}
	asOf, err := b.resolve(ctx, o)
	if err != nil {
		return nil, err
	}
	input, err := b.input(ctx, asOf)
	if err != nil {
		return nil, err
	}
	id, err := snapshotID(asOf, input)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{ID: id, AsOf: asOf, Input: input, Sets: map[string]*snapshot.Manifest{}}
	for _, set := range sets {
		m, built, err := b.ensure(ctx, s, set, o.Progress)
		if err != nil {
			return nil, fmt.Errorf("build feature set %s as of %s: %w", set, asOf.Format(time.RFC3339Nano), err)
		}
		s.Sets[set] = m
		if built {
			s.Built = append(s.Built, set)
		}
	}
	return s, nil
}

// checkSets returns the sets to build, sorted, each once.
func checkSets(names []string) ([]string, error) {
	if len(names) == 0 {
		return Sets(), nil
	}
	for _, n := range names {
		if _, err := SetQuery(n); err != nil {
			return nil, err
		}
	}
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names), nil
}

// resolve returns the instant to build at.
func (b *Builder) resolve(ctx context.Context, o BuildOptions) (time.Time, error) {
	switch {
	case o.MaxEvent && !o.AsOf.IsZero():
		return time.Time{}, errors.New("as_of is given both as an instant and as max-event: give one")
	case o.MaxEvent:
		return b.MaxEvent(ctx)
	case o.AsOf.IsZero():
		return time.Time{}, errors.New("a build needs an as_of: an instant, or max-event")
	default:
		return o.AsOf.UTC().Truncate(time.Microsecond), nil
	}
}

// MaxEvent returns the instant of the last event in the warehouse, or an error wrapping ErrNoEvents.
func (b *Builder) MaxEvent(ctx context.Context) (time.Time, error) {
	sql, err := compose("defs/max_event.sql")
	if err != nil {
		return time.Time{}, err
	}
	var at time.Time
	var events uint64
	if err := b.Conn.QueryRow(ctx, sql).Scan(&at, &events); err != nil {
		return time.Time{}, fmt.Errorf("find the last event: %w", err)
	}
	if events == 0 {
		return time.Time{}, ErrNoEvents
	}
	return at.UTC(), nil
}

// EventTime returns the instant at which the share q (0 < q <= 1) of the events up to asOf has happened: that of event
// number ceil(q*n) of n in order of time, counting those about a title. Protocol gt-90 cuts at EventTime(asOf, 0.9):
// what is at or before the instant trains, what is later tests.
func (b *Builder) EventTime(ctx context.Context, asOf time.Time, q float64) (time.Time, error) {
	if !(q > 0 && q <= 1) {
		return time.Time{}, fmt.Errorf("share of events must be above 0 and at most 1, is %v", q)
	}
	asOf = asOf.UTC().Truncate(time.Microsecond)
	input, err := b.input(ctx, asOf)
	if err != nil {
		return time.Time{}, err
	}
	params := parameters(asOf, input)
	var n uint64
	if err := b.scalar(ctx, "event_count", params, &n); err != nil {
		return time.Time{}, err
	}
	if n == 0 {
		return time.Time{}, fmt.Errorf("%w up to %s", ErrNoEvents, asOf.Format(time.RFC3339Nano))
	}
	params["position"] = strconv.FormatUint(quantilePosition(n, q), 10)
	var at time.Time
	if err := b.scalar(ctx, "event_time", params, &at); err != nil {
		return time.Time{}, err
	}
	return at.UTC(), nil
}

func (b *Builder) scalar(ctx context.Context, def string, params clickhouse.Parameters, into any) error {
	sql, err := compose("defs/" + def + ".sql")
	if err != nil {
		return err
	}
	if err := b.Conn.QueryRow(queryContext(ctx, params), sql).Scan(into); err != nil {
		return fmt.Errorf("query %s: %w", def, err)
	}
	return nil
}

// input finds the range of events up to asOf.
func (b *Builder) input(ctx context.Context, asOf time.Time) (snapshot.Input, error) {
	sql, err := compose("defs/input_range.sql")
	if err != nil {
		return snapshot.Input{}, err
	}
	rows, err := b.Conn.Query(queryContext(ctx, clickhouse.Parameters{"as_of": formatTime(asOf)}), sql)
	if err != nil {
		return snapshot.Input{}, fmt.Errorf("find the range of events: %w", err)
	}
	var in snapshot.Input
	for rows.Next() {
		var r snapshot.Range
		if err := rows.Scan(&r.Partition, &r.First, &r.Last, &r.Events); err != nil {
			return snapshot.Input{}, errors.Join(fmt.Errorf("find the range of events: %w", err), rows.Close())
		}
		in.Partitions = append(in.Partitions, r)
		in.Events += r.Events
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return snapshot.Input{}, fmt.Errorf("find the range of events: %w", err)
	}
	if in.Events == 0 {
		return snapshot.Input{}, fmt.Errorf("%w up to %s", ErrNoEvents, asOf.Format(time.RFC3339Nano))
	}
	return in, nil
}

// snapshotID digests the input and the SQL of every set, built or not, so that all sets of one state share an id.
func snapshotID(asOf time.Time, in snapshot.Input) (string, error) {
	h := sha256.New()
	for _, set := range Sets() {
		q, err := SetQuery(set)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "set %s %s\n", set, q.SHA256)
	}
	for _, r := range in.Partitions {
		fmt.Fprintf(h, "partition %d %d %d %d\n", r.Partition, r.First, r.Last, r.Events)
	}
	return snapshot.ID(asOf, h.Sum(nil)), nil
}

// ensure returns the manifest of a set of s, building the set unless it is there.
func (b *Builder) ensure(ctx context.Context, s *Snapshot, set string, progress func(Progress)) (*snapshot.Manifest, bool, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	present, err := b.present(ctx, set, s.ID)
	if err != nil {
		return nil, false, err
	}
	if present != nil {
		progress(Progress{Set: set, Rows: present.RowCount, Done: true, Reused: true})
		return present, false, nil
	}
	q, err := SetQuery(set)
	if err != nil {
		return nil, false, err
	}
	started := time.Now()
	m, err := b.build(ctx, s, q, progress)
	if err != nil {
		return nil, false, err
	}
	b.Log.Info("feature set built", "set", set, "snapshot", s.ID, "rows", m.RowCount, "bytes", m.Bytes(),
		"parts", len(m.Parts), "took", time.Since(started).Round(time.Millisecond))
	progress(Progress{Set: set, Rows: m.RowCount, Done: true})
	return m, true, nil
}

// present returns the manifest of a set that is there and whole in size, nil when it is not. A damaged one is said so in
// the log and built anew.
func (b *Builder) present(ctx context.Context, set, id string) (*snapshot.Manifest, error) {
	s, err := snapshot.Open(ctx, b.Lake, set, id)
	if err == nil {
		err = s.Present(ctx)
	}
	switch {
	case err == nil:
		return s.Manifest, nil
	case errors.Is(err, snapshot.ErrNotFound):
		return nil, nil
	case errors.Is(err, snapshot.ErrCorrupt):
		b.Log.Warn("feature set is damaged and is built anew", "set", set, "snapshot", id, "error", err)
		return nil, nil
	default:
		return nil, err
	}
}

// parameters are what every set's query is run with.
func parameters(asOf time.Time, in snapshot.Input) clickhouse.Parameters {
	var ends []int64
	for _, r := range in.Partitions {
		for int(r.Partition) > len(ends) {
			ends = append(ends, 0)
		}
		ends = append(ends, r.Last+1)
	}
	list := make([]string, len(ends))
	for i, end := range ends {
		list[i] = strconv.FormatInt(end, 10)
	}
	return clickhouse.Parameters{"as_of": formatTime(asOf), "input_ends": "[" + strings.Join(list, ",") + "]"}
}

func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000000") }

// queryContext pins the settings the SQL's meaning depends on, whatever the server's defaults are.
func queryContext(ctx context.Context, params clickhouse.Parameters) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithParameters(params), clickhouse.WithSettings(clickhouse.Settings{
		"enable_analyzer": 1,
		"join_use_nulls":  0,
	}))
}
