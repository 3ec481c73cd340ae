package features

import (
	"context"
	"fmt"
	"slices"
	"time"

	"marquee/features/snapshot"
)

// profileColumn is the column of those sets that tell profiles apart.
const profileColumn = "profile_id"

// RemoveWith removes the snapshots that have a row of a profile that is asked for, those that are damaged and therefore may, and
// what builds that never finished left behind, and returns the ids removed. Whoever calls it must keep builds from running
// meanwhile. A snapshot can be built again as of the same instant, from what is left.
func (b *Builder) RemoveWith(ctx context.Context, is func(profileID string) bool) ([]string, error) {
	all, err := snapshot.List(ctx, b.Lake)
	if err != nil {
		return nil, err
	}
	removed := []string{}
	for _, i := range all {
		has, err := b.hasProfile(ctx, i, is)
		if err != nil {
			return removed, fmt.Errorf("look through snapshot %s: %w", i.ID, err)
		}
		if !has {
			continue
		}
		if err := b.remove(ctx, i); err != nil {
			return removed, err
		}
		removed = append(removed, i.ID)
	}
	// Later than anything that was written: nothing is spared.
	return removed, b.sweep(ctx, time.Now().Add(time.Hour))
}

func (b *Builder) hasProfile(ctx context.Context, i *snapshot.Info, is func(string) bool) (bool, error) {
	if len(i.Damaged) > 0 {
		return true, nil
	}
	for name, m := range i.Sets {
		if _, ok := m.ColumnType(profileColumn); !ok {
			continue
		}
		set, err := snapshot.Open(ctx, b.Lake, name, i.ID)
		if err != nil {
			return false, err
		}
		for part := range set.Parts {
			columns, err := set.ReadPart(ctx, part, profileColumn)
			if err != nil {
				return false, err
			}
			ids, err := columns.Strings(profileColumn)
			if err != nil {
				return false, err
			}
			if slices.ContainsFunc(ids.Values, is) {
				return true, nil
			}
		}
	}
	return false, nil
}
