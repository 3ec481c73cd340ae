package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"marquee/features/snapshot"
	"marquee/ingest/compact"
	"marquee/ingest/events"
)

type profilesCommands struct {
	Show   profilesShowCommand   `cmd:"" help:"What recommendations to a profile are made from: its live state."`
	Erase  profilesEraseCommand  `cmd:"" help:"Erase all that is held about a profile, and take in nothing more of it."`
	Export profilesExportCommand `cmd:"" help:"Write all that is held about a profile, as JSON lines."`
}

type profilesEraseCommand struct {
	Profile string `arg:"" help:"The profile's id."`
	JSON    bool   `help:"Print JSON."`
}

// erased says what an erasure found.
type erased struct {
	// Digest is the profile's on the list of those erased, which holds no id.
	Digest string `json:"digest"`
	// Warehouse and Lake count the rows there were; Snapshots are the ids of the feature snapshots removed.
	Warehouse uint64   `json:"warehouse_rows"`
	Lake      int64    `json:"lake_rows"`
	Snapshots []string `json:"snapshots_removed"`
}

// Run erases. Every step can be done again: after an interruption the command is given again.
func (p profilesEraseCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	out, err := e.erase(c.ctx, p.Profile)
	if err != nil {
		return fmt.Errorf("the profile is not erased everywhere yet, give the command again: %w", err)
	}
	if p.JSON {
		return printJSON(c.stdout, out)
	}
	fmt.Fprintf(c.stdout, "erased: %d rows from the warehouse, %d from the lake, %d feature snapshots; on the list as %s\n",
		out.Warehouse, out.Lake, len(out.Snapshots), out.Digest)
	fmt.Fprintln(c.stdout, "the log keeps its records until their retention ends them, and every reader leaves them out")
	return nil
}

// erase puts the profile on the list first, so that nothing more of it comes in, waits until what was on its way is in the sinks,
// and then clears them.
func (e *engines) erase(ctx context.Context, profile string) (*erased, error) {
	if err := checkProfile(profile); err != nil {
		return nil, err
	}
	digest, err := e.erased.Add(ctx, profile)
	if err != nil {
		return nil, err
	}
	out := &erased{Digest: digest.String()}
	// A range that was fixed before the profile was on the list may still be on its way.
	if err := e.drainLog(ctx); err != nil {
		return nil, err
	}
	if out.Warehouse, err = e.warehouseHolds(ctx, profile); err != nil {
		return nil, err
	}
	if out.Lake, err = e.eraseFromLake(ctx, profile); err != nil {
		return nil, err
	}
	if err := e.warehouse.EraseProfile(ctx, profile); err != nil {
		return nil, err
	}
	if out.Snapshots, err = e.eraseSnapshots(ctx, profile); err != nil {
		return nil, err
	}
	return out, e.holdsNothing(ctx, profile)
}

func (e *engines) warehouseHolds(ctx context.Context, profile string) (n uint64, err error) {
	if err = e.warehouse.Conn().QueryRow(ctx,
		"SELECT (SELECT count() FROM events_raw WHERE profile_id = $1) + (SELECT count() FROM served_raw WHERE profile_id = $1)", profile).Scan(&n); err != nil {
		err = fmt.Errorf("look for the profile in the warehouse: %w", err)
	}
	return n, err
}

func (e *engines) lakeHolds(ctx context.Context, profile string) (n int64, err error) {
	set, err := events.Open(ctx, e.lake)
	if err != nil {
		return 0, err
	}
	is := func(id string) bool { return id == profile }
	for _, f := range set.Files() {
		has, err := set.HasProfile(ctx, f, is)
		if err != nil {
			return 0, err
		}
		if !has {
			continue
		}
		for r, err := range set.RawOf(ctx, f) {
			if err != nil {
				return 0, err
			}
			if is(r.ProfileID) {
				n++
			}
		}
	}
	return n, nil
}

// eraseFromLake writes the files that have the profile anew without it, and deletes them.
func (e *engines) eraseFromLake(ctx context.Context, profile string) (int64, error) {
	n, err := e.lakeHolds(ctx, profile)
	if err != nil {
		return 0, err
	}
	_, err = compact.Run(ctx, e.settings.Compaction, e.compactDeps(func(int64, int64) {}), compact.Options{
		OpenDay: true, Erase: func(id string) bool { return id == profile },
	})
	return n, err
}

// eraseSnapshots removes feature snapshots that have the profile, while no nightly run builds any.
func (e *engines) eraseSnapshots(ctx context.Context, profile string) (removed []string, err error) {
	ttl := e.settings.Training.Nightly.LeaseTTL
	lease, err := e.db.AwaitLease(ctx, "nightly", fmt.Sprintf("erasure, process %d", os.Getpid()), ttl)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lease.Release(context.WithoutCancel(ctx))) }()
	return e.builder().RemoveWith(lease.Context(), func(id string) bool { return id == profile })
}

// holdsNothing looks everywhere again.
func (e *engines) holdsNothing(ctx context.Context, profile string) error {
	house, err := e.warehouseHolds(ctx, profile)
	if err != nil {
		return err
	}
	lake, err := e.lakeHolds(ctx, profile)
	if err != nil {
		return err
	}
	if house > 0 || lake > 0 {
		return fmt.Errorf("%d rows of the profile are in the warehouse and %d in the lake", house, lake)
	}
	return nil
}

func checkProfile(id string) error {
	if len(id) < 1 || len(id) > 64 {
		return usageError{fmt.Errorf("a profile's id has 1 to 64 bytes, this has %d", len(id))}
	}
	return nil
}

type profilesExportCommand struct {
	Profile string `arg:"" help:"The profile's id."`
	Out     string `help:"Write to this file instead of standard output." placeholder:"FILE"`
}

// Run exports.
func (p profilesExportCommand) Run(c *console) (err error) {
	if err := checkProfile(p.Profile); err != nil {
		return err
	}
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if p.Out == "" {
		return e.export(c.ctx, p.Profile, c.stdout)
	}
	return writeFile(p.Out, func(f *os.File) error { return e.export(c.ctx, p.Profile, f) })
}

// export writes whether the profile is erased, its events in order of time, what was served to it, and its rows of the newest feature sets.
func (e *engines) export(ctx context.Context, profile string, to io.Writer) error {
	set, err := e.erased.Now(ctx)
	if err != nil {
		return err
	}
	line := json.NewEncoder(to)
	line.SetEscapeHTML(false)
	about := map[string]any{"what": "profile", "profile_id": profile, "erased": set.Has(profile), "exported_at": time.Now().UTC().Format(time.RFC3339)}
	if err := line.Encode(about); err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	if err := e.exportEvents(ctx, profile, line); err != nil {
		return err
	}
	if err := e.exportServed(ctx, profile, line); err != nil {
		return err
	}
	return e.exportFeatures(ctx, profile, line)
}

func (e *engines) exportEvents(ctx context.Context, profile string, line *json.Encoder) error {
	rows, err := e.warehouse.Conn().Query(ctx, "SELECT formatRowNoNewline('JSONEachRow', *) FROM events WHERE profile_id = ? ORDER BY occurred_at, event_id", profile)
	if err != nil {
		return fmt.Errorf("read the profile's events: %w", err)
	}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return errors.Join(fmt.Errorf("read the profile's events: %w", err), rows.Close())
		}
		if err := line.Encode(map[string]any{"what": "event", "event": json.RawMessage(text)}); err != nil {
			return errors.Join(fmt.Errorf("write the export: %w", err), rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// exportFeatures writes the profile's rows of the newest snapshot that has each set.
func (e *engines) exportFeatures(ctx context.Context, profile string, line *json.Encoder) error {
	all, err := snapshot.List(ctx, e.lake)
	if err != nil {
		return err
	}
	done := map[string]bool{}
	for _, i := range all {
		for _, name := range slices.Sorted(maps.Keys(i.Sets)) {
			if _, ok := i.Sets[name].ColumnType("profile_id"); !ok || done[name] {
				continue
			}
			done[name] = true
			if err := e.exportSet(ctx, profile, i.ID, name, line); err != nil {
				return fmt.Errorf("read the profile's rows of %s in snapshot %s: %w", name, i.ID, err)
			}
		}
	}
	return nil
}

func (e *engines) exportSet(ctx context.Context, profile, id, name string, line *json.Encoder) error {
	set, err := snapshot.Open(ctx, e.lake, name, id)
	if err != nil {
		return err
	}
	for part := range set.Parts {
		columns, err := set.ReadPart(ctx, part)
		if err != nil {
			return err
		}
		profiles, err := columns.Strings("profile_id")
		if err != nil {
			return err
		}
		for r := range columns.Rows {
			if profiles.At(r) != profile {
				continue
			}
			values := map[string]any{}
			for _, column := range set.Schema {
				if values[column.Name], err = columns.Value(column.Name, r); err != nil {
					return err
				}
			}
			if err := line.Encode(map[string]any{"what": "features", "set": name, "snapshot": id, "row": values}); err != nil {
				return err
			}
		}
	}
	return nil
}
