package warehouse

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
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
			if err := s.w.renameTable(ctx, s.table, name, s.name); err != nil {
				return err
			}
		} else if err := s.w.dropTable(ctx, s.table, name); err != nil {
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
	return s.w.dropTable(ctx, s.table, s.name)
}

// shadows returns the identities of a table's shadows by name.
func (w *Warehouse) shadows(ctx context.Context, table string) (map[string]string, error) {
	rows, err := w.conn.Query(ctx, "SELECT name, arrayElement(data_paths, 1) FROM system.tables WHERE database = currentDatabase() AND startsWith(name, ?)",
		w.storage(table)+"_shadow_")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for rows.Next() {
		var name, path string
		if err := rows.Scan(&name, &path); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		token := strings.TrimPrefix(name, w.storage(table)+"_shadow_")
		if _, err := strconv.ParseInt(token, 10, 64); err == nil {
			out[table+"_shadow_"+token] = uuidInPath.FindString(path)
		}
	}
	return out, errors.Join(rows.Err(), rows.Close())
}

// tableID is a table's identity.
func (w *Warehouse) tableID(ctx context.Context, table string) (string, error) {
	var path string
	err := w.conn.QueryRow(ctx, "SELECT arrayElement(data_paths, 1) FROM system.tables WHERE database = currentDatabase() AND name = ?", w.storage(table)).Scan(&path)
	if err != nil {
		return "", fmt.Errorf("look table %s up: %w", table, err)
	}
	id := uuidInPath.FindString(path)
	if id == "" {
		return "", fmt.Errorf("table %s is in a database without table identities: use one of the engine Atomic or Replicated", table)
	}
	return id, nil
}

func (w *Warehouse) copyTable(ctx context.Context, table, name string) error {
	return w.conn.Exec(ctx, "CREATE TABLE "+name+" AS "+table)
}

func (w *Warehouse) renameTable(ctx context.Context, table, from, to string) error {
	if from == to {
		return nil
	}
	return w.conn.Exec(ctx, "RENAME TABLE "+from+" TO "+to)
}

func (w *Warehouse) exchangeTables(ctx context.Context, table, name string) error {
	return w.conn.Exec(ctx, "EXCHANGE TABLES "+table+" AND "+name)
}

func (w *Warehouse) dropTable(ctx context.Context, table, name string) error {
	return w.conn.Exec(ctx, "DROP TABLE IF EXISTS "+name+" SYNC")
}

// storage is the table that holds a table's rows.
func (w *Warehouse) storage(table string) string { return table }
