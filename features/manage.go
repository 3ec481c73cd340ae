package features

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"marquee/features/snapshot"
)

// abandonedAfter is the age from which parts without a manifest are certainly not of a build under way.
const abandonedAfter = 24 * time.Hour

// quantilePosition returns the position, from 0, of event number ceil(q*n) of n.
func quantilePosition(n uint64, q float64) uint64 {
	return min(uint64(max(math.Ceil(q*float64(n)), 1)), n) - 1
}

// List returns the snapshots in the lake, newest as_of first.
func (b *Builder) List(ctx context.Context) ([]*snapshot.Info, error) {
	return snapshot.List(ctx, b.Lake)
}

// Description is what Show tells of a set.
type Description struct {
	Query
	// Newest is the manifest of the newest snapshot that has the set, nil when none has.
	Newest *snapshot.Manifest
	// Current says whether Newest was built by the SQL as it is now.
	Current bool
}

// Show describes a set: the SQL that is run and its newest build.
func (b *Builder) Show(ctx context.Context, set string) (*Description, error) {
	q, err := SetQuery(set)
	if err != nil {
		return nil, err
	}
	d := &Description{Query: q}
	newest, err := snapshot.Newest(ctx, b.Lake, set)
	if errors.Is(err, snapshot.ErrNotFound) {
		return d, nil
	}
	if err != nil {
		return nil, err
	}
	d.Newest = newest.Sets[set]
	d.Current = d.Newest.SQLSHA256 == q.SHA256
	return d, nil
}

// Prune removes all snapshots but the keep (at least 1) built last, the newest by as_of, and those whose ids are pinned,
// and returns the ids removed. It also clears away what builds that never finished left more than a day ago.
func (b *Builder) Prune(ctx context.Context, keep int, pinned ...string) ([]string, error) {
	if keep < 1 {
		return nil, fmt.Errorf("snapshots to keep must be at least 1, is %d", keep)
	}
	all, err := snapshot.List(ctx, b.Lake)
	if err != nil {
		return nil, err
	}
	if len(all) > 0 {
		pinned = append(pinned, all[0].ID)
	}
	slices.SortFunc(all, func(x, y *snapshot.Info) int {
		return cmp.Or(y.BuiltAt.Compare(x.BuiltAt), strings.Compare(y.ID, x.ID))
	})
	var removed []string
	for _, i := range all[min(keep, len(all)):] {
		if slices.Contains(pinned, i.ID) {
			continue
		}
		if err := b.remove(ctx, i); err != nil {
			return removed, err
		}
		removed = append(removed, i.ID)
	}
	return removed, b.sweep(ctx, time.Now().Add(-abandonedAfter))
}

// Remove removes the snapshots with these ids; those that are gone already are no error.
func (b *Builder) Remove(ctx context.Context, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	all, err := snapshot.List(ctx, b.Lake)
	if err != nil {
		return err
	}
	for _, i := range all {
		if slices.Contains(ids, i.ID) {
			if err := b.remove(ctx, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove deletes a snapshot's manifests first: from then on it does not exist, and what is left is swept.
func (b *Builder) remove(ctx context.Context, i *snapshot.Info) error {
	for set := range i.Sets {
		if err := b.Lake.Delete(ctx, snapshot.ManifestKey(set, i.ID)); err != nil {
			return fmt.Errorf("remove snapshot %s: %w", i.ID, err)
		}
	}
	for _, m := range i.Sets {
		for _, p := range m.Parts {
			if err := b.Lake.Delete(ctx, p.Key); err != nil {
				return fmt.Errorf("remove snapshot %s: %w", i.ID, err)
			}
		}
	}
	for set := range i.Damaged {
		// What it consists of is not known: everything in its folder goes.
		for o, err := range b.Lake.List(ctx, strings.TrimSuffix(snapshot.ManifestKey(set, i.ID), "manifest.json")) {
			if err != nil {
				return fmt.Errorf("remove snapshot %s: %w", i.ID, err)
			}
			if err := b.Lake.Delete(ctx, o.Key); err != nil {
				return fmt.Errorf("remove snapshot %s: %w", i.ID, err)
			}
		}
	}
	return nil
}

// sweep deletes the files of folders that have no manifest and in which nothing was written since the given time.
func (b *Builder) sweep(ctx context.Context, before time.Time) error {
	type folder struct {
		keys   []string
		spared bool
	}
	folders := map[string]*folder{}
	for o, err := range b.Lake.List(ctx, snapshot.Root) {
		if err != nil {
			return fmt.Errorf("list feature files: %w", err)
		}
		at := o.Key[:strings.LastIndexByte(o.Key, '/')+1]
		if strings.Count(at, "/") != 3 {
			continue
		}
		if folders[at] == nil {
			folders[at] = &folder{}
		}
		f := folders[at]
		f.keys = append(f.keys, o.Key)
		f.spared = f.spared || strings.HasSuffix(o.Key, "/manifest.json") || o.ModTime.After(before)
	}
	for _, f := range folders {
		if f.spared {
			continue
		}
		for _, key := range f.keys {
			if err := b.Lake.Delete(ctx, key); err != nil {
				return fmt.Errorf("clear away %s: %w", key, err)
			}
		}
	}
	return nil
}
