package warehouse

import (
	"context"
	"fmt"
	"regexp"
)

// Shadow is a table of another's shape that is filled beside it and put in its place in one step. Its name carries the
// fencing token of who fills it: taking a shadow over renames it, so that a former owner's statements fail.
type Shadow struct {
	w     *Warehouse
	table string
	name  string
	id    string
	// swapped says that the shadow is in the table's place, and what was there stands under name.
	swapped bool
}

// uuidInPath finds a table's identity in where it stores its data: the one name it keeps through every renaming, and the
// same on all nodes of a cluster. (The embedded engine does not show it in system.tables.)
var uuidInPath = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// OpenShadow takes over the shadow of a table whose identity is known from an earlier call, be it in place or not yet,
// and otherwise makes an empty one. Other shadows of the table are dropped. token must be greater than any before.
func (w *Warehouse) OpenShadow(ctx context.Context, table string, token int64, known string) (*Shadow, error) {
	s := &Shadow{w: w, table: table, name: fmt.Sprintf("%s_shadow_%d", table, token)}
	if err := s.open(ctx, known); err != nil {
		return nil, fmt.Errorf("open the shadow of %s: %w", table, err)
	}
	return s, nil
}

func (s *Shadow) open(ctx context.Context, known string) error {
	there, err := s.w.shadows(ctx, s.table)
	if err != nil {
		return err
	}
	live, err := s.w.tableID(ctx, s.table)
	if err != nil {
		return err
	}
	s.swapped = known != "" && live == known
	for name, id := range there {
		if known != "" && id == known || s.swapped {
			s.id = known
			if err := s.w.renameTable(ctx, name, s.name); err != nil {
				return err
			}
		} else if err := s.w.dropTable(ctx, name); err != nil {
			return err
		}
	}
	if s.swapped {
		s.id = known
	}
	if s.id != "" {
		return nil
	}
	if err := s.w.copyTable(ctx, s.table, s.name); err != nil {
		return err
	}
	s.id, err = s.w.tableID(ctx, s.name)
	return err
}

// Name is what to insert into: the shadow, or the table itself once the shadow is in its place.
func (s *Shadow) Name() string {
	if s.swapped {
		return s.table
	}
	return s.name
}

// ID is the shadow's identity, for OpenShadow.
func (s *Shadow) ID() string { return s.id }

// Swapped says that the shadow is in the table's place.
func (s *Shadow) Swapped() bool { return s.swapped }

// Swap exchanges shadow and table.
func (s *Shadow) Swap(ctx context.Context) error {
	if s.swapped {
		return nil
	}
	if err := s.w.exchangeTables(ctx, s.table, s.name); err != nil {
		return fmt.Errorf("put the shadow in the place of %s: %w", s.table, err)
	}
	live, err := s.w.tableID(ctx, s.table)
	if err != nil {
		return err
	}
	if live != s.id {
		return fmt.Errorf("put the shadow in the place of %s: another process did as well; run it again", s.table)
	}
	s.swapped = true
	return nil
}

// Drop drops what stands under the shadow's name: the old table after a swap, the shadow itself before.
func (s *Shadow) Drop(ctx context.Context) error {
	return s.w.dropTable(ctx, s.name)
}
