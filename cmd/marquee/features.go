package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"marquee/features"
	"marquee/features/snapshot"
	"marquee/training/dataset"
	"marquee/training/nightly"
)

type featuresCommands struct {
	Build featuresBuildCommand `cmd:"" help:"Build feature sets as of an instant; sets that are there already stay."`
	List  featuresListCommand  `cmd:"" help:"List the snapshots in the lake."`
	Show  featuresShowCommand  `cmd:"" help:"Show a set: its SQL and its newest snapshot."`
	Check featuresCheckCommand `cmd:"" help:"Check the data as nightly does before it trains: the last 24 hours against the days before."`
}

// builder builds feature sets on the engines.
func (e *engines) builder() *features.Builder {
	return &features.Builder{
		Conn: e.warehouse.Conn(), Lake: e.lake, Log: e.log,
		PartRows: e.settings.Features.PartRows, PartBytes: e.settings.Features.PartBytes,
	}
}

// snapshots is the builder as the nightly run uses it.
type snapshots struct{ builder *features.Builder }

func (s snapshots) BuildAsOf(ctx context.Context, asOf time.Time) (nightly.Snapshot, error) {
	return s.build(ctx, asOf)
}

func (s snapshots) BuildInteractions(ctx context.Context, asOf time.Time) (nightly.Snapshot, error) {
	return s.build(ctx, asOf, dataset.InteractionSet)
}

func (s snapshots) build(ctx context.Context, asOf time.Time, sets ...string) (nightly.Snapshot, error) {
	built, err := s.builder.Build(ctx, features.BuildOptions{AsOf: asOf, Sets: sets})
	if err != nil {
		return nightly.Snapshot{}, err
	}
	return nightly.Snapshot{ID: built.ID, AsOf: built.AsOf, Hash: built.Sets[dataset.InteractionSet].SQLSHA256, New: len(built.Built) > 0}, nil
}

func (s snapshots) EventTime(ctx context.Context, asOf time.Time, q float64) (time.Time, error) {
	return s.builder.EventTime(ctx, asOf, q)
}

func (s snapshots) PruneSnapshots(ctx context.Context, keep int, pinned ...string) error {
	_, err := s.builder.Prune(ctx, keep, pinned...)
	return err
}

func (s snapshots) RemoveSnapshots(ctx context.Context, ids ...string) error {
	return s.builder.Remove(ctx, ids...)
}

type featuresBuildCommand struct {
	AsOf asOf     `help:"An RFC 3339 instant, or max-event for the time of the last event; the wall clock when not given." placeholder:"T"`
	Sets []string `help:"Sets to build; all when not given." placeholder:"SET"`
	JSON bool     `help:"Print JSON."`
}

// Run builds and prints what was built.
func (f featuresBuildCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	b := e.builder()
	at, err := f.AsOf.instant(func() (time.Time, error) { return b.MaxEvent(c.ctx) })
	if err != nil {
		return err
	}
	p := newProgress(c.stderr, e.log, "rows", 0)
	built, err := b.Build(c.ctx, features.BuildOptions{AsOf: at, Sets: f.Sets, Progress: func(s features.Progress) { p.set(s.Rows) }})
	p.end()
	if err != nil {
		return err
	}
	if f.JSON {
		return printJSON(c.stdout, built)
	}
	fmt.Fprintf(c.stdout, "snapshot %s as of %s, from %d events\n", built.ID, built.AsOf.Format(time.RFC3339Nano), built.Input.Events)
	var rows [][]string
	for _, set := range features.Sets() {
		if m, ok := built.Sets[set]; ok {
			rows = append(rows, []string{set, strconv.FormatInt(m.RowCount, 10), strconv.FormatInt(m.Bytes(), 10), m.ContentChecksum})
		}
	}
	return printTable(c.stdout, []string{"SET", "ROWS", "BYTES", "CONTENT"}, rows)
}

type featuresListCommand struct {
	JSON bool `help:"Print JSON."`
}

// Run lists snapshots.
func (f featuresListCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	list, err := e.builder().List(c.ctx)
	if err != nil {
		return err
	}
	if f.JSON {
		if list == nil {
			list = []*snapshot.Info{}
		}
		return printJSON(c.stdout, list)
	}
	rows := make([][]string, len(list))
	for i, s := range list {
		damaged := ""
		if len(s.Damaged) > 0 {
			damaged = "damaged: " + strings.Join(slices.Sorted(maps.Keys(s.Damaged)), ", ")
		}
		rows[i] = []string{s.ID, s.AsOf.Format(time.RFC3339), strconv.Itoa(len(s.Sets)), damaged}
	}
	return printTable(c.stdout, []string{"SNAPSHOT", "AS OF", "SETS", ""}, rows)
}

type featuresShowCommand struct {
	Set  string `arg:"" help:"The set's name."`
	JSON bool   `help:"Print JSON."`
}

// Run shows one set.
func (f featuresShowCommand) Run(c *console) (err error) {
	if _, err := features.SetQuery(f.Set); err != nil {
		return usageError{err}
	}
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	d, err := e.builder().Show(c.ctx, f.Set)
	if err != nil {
		return err
	}
	if f.JSON {
		return printJSON(c.stdout, d)
	}
	return printDescription(c, d)
}

func printDescription(c *console, d *features.Description) error {
	fmt.Fprintf(c.stdout, "%s\n\n", d.SQL)
	if d.Newest == nil {
		fmt.Fprintln(c.stdout, "not built yet; marquee features build builds it")
		return nil
	}
	m := d.Newest
	state := "built by this SQL"
	if !d.Current {
		state = "built by an earlier version of this SQL"
	}
	fmt.Fprintf(c.stdout, "newest: snapshot %s as of %s, %d rows from %d events, %s\n",
		m.Snapshot, m.AsOf.Format(time.RFC3339Nano), m.RowCount, m.Input.Events, state)
	rows := make([][]string, len(m.Schema))
	for i, col := range m.Schema {
		rows[i] = []string{col.Name, string(col.Type)}
	}
	return printTable(c.stdout, []string{"COLUMN", "TYPE"}, rows)
}
