package warehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Storage is the table that holds a table's rows, which is what deletes are for: on a cluster, each shard's own.
// onCluster goes behind its name in ALTER and DELETE; it is empty or begins with a space.
func (w *Warehouse) Storage(table string) (name, onCluster string) {
	if w.cluster.Name == "" {
		return table, ""
	}
	return local(table), newRenderer(w.cluster, "").onCluster()
}

// Truncate empties a table, on every server that has a part of it.
func (w *Warehouse) Truncate(ctx context.Context, table string) error {
	name, onCluster := w.Storage(table)
	if err := w.conn.Exec(ctx, "TRUNCATE TABLE "+name+onCluster); err != nil {
		return fmt.Errorf("empty the table %s: %w", table, err)
	}
	return nil
}

// shadows returns the identities of a table's shadows by name.
func (w *Warehouse) shadows(ctx context.Context, table string) (map[string]string, error) {
	suffix := ""
	if w.cluster.Name != "" {
		suffix = local("")
	}
	database, err := w.database(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := w.conn.Query(ctx, "SELECT name, arrayElement(data_paths, 1) FROM "+w.systemTables()+" WHERE database = ? AND startsWith(name, ?) AND endsWith(name, ?)",
		database, table+"_shadow_", suffix)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for rows.Next() {
		var name, path string
		if err := rows.Scan(&name, &path); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		token := strings.TrimSuffix(strings.TrimPrefix(name, table+"_shadow_"), suffix)
		if _, err := strconv.ParseInt(token, 10, 64); err == nil {
			out[table+"_shadow_"+token] = uuidInPath.FindString(path)
		}
	}
	return out, errors.Join(rows.Err(), rows.Close())
}

// database is the one that the connections are in. Other servers are asked for it by name: theirs may be another.
func (w *Warehouse) database(ctx context.Context) (string, error) {
	var name string
	if err := w.conn.QueryRow(ctx, "SELECT currentDatabase()").Scan(&name); err != nil {
		return "", fmt.Errorf("ask the warehouse for its database: %w", err)
	}
	return name, nil
}

// systemTables is where tables are looked up: on all servers of a cluster.
func (w *Warehouse) systemTables() string {
	if w.cluster.Name == "" {
		return "system.tables"
	}
	return "clusterAllReplicas(" + quoteText(w.cluster.Name) + ", system.tables)"
}

// tableID is a table's identity, which all servers of a cluster must agree about.
func (w *Warehouse) tableID(ctx context.Context, table string) (string, error) {
	name, _ := w.Storage(table)
	database, err := w.database(ctx)
	if err != nil {
		return "", err
	}
	var paths []string
	err = w.conn.QueryRow(ctx, "SELECT groupArray(arrayElement(data_paths, 1)) FROM "+w.systemTables()+" WHERE database = ? AND name = ?", database, name).Scan(&paths)
	if err != nil {
		return "", fmt.Errorf("look table %s up: %w", table, err)
	}
	if len(paths) == 0 {
		return "", fmt.Errorf("look table %s up: there is none", table)
	}
	var ids []string
	for _, path := range paths {
		ids = append(ids, uuidInPath.FindString(path))
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) > 1 {
		return "", fmt.Errorf("the servers of cluster %s do not agree which table %s is (%s): a statement of the cluster's queue is still to be carried out by one of them; run it again when it was",
			w.cluster.Name, table, strings.Join(ids, ", "))
	}
	if ids[0] == "" {
		return "", fmt.Errorf("table %s is in a database without table identities: use one of the engine Atomic or Replicated", table)
	}
	return ids[0], nil
}

// copyTable makes an empty table of another's shape.
func (w *Warehouse) copyTable(ctx context.Context, table, name string) error {
	if w.cluster.Name == "" {
		return w.conn.Exec(ctx, "CREATE TABLE "+name+" AS "+table)
	}
	var database, definition string
	err := w.conn.QueryRow(ctx, "SELECT database, create_table_query FROM system.tables WHERE database = currentDatabase() AND name = ?", local(table)).Scan(&database, &definition)
	if err != nil {
		return err
	}
	statements, err := newRenderer(w.cluster, database).copied(definition, name)
	if err != nil {
		return err
	}
	return w.execAll(ctx, statements)
}

func (w *Warehouse) renameTable(ctx context.Context, from, to string) error {
	switch {
	case from == to:
		return nil
	case w.cluster.Name == "":
		return w.conn.Exec(ctx, "RENAME TABLE "+from+" TO "+to)
	}
	var database, key string
	if err := w.conn.QueryRow(ctx, "SELECT database, sorting_key FROM system.tables WHERE database = currentDatabase() AND name = ?", local(from)).Scan(&database, &key); err != nil {
		return err
	}
	r := newRenderer(w.cluster, database)
	// From the first statement on, what is inserted under the former name fails.
	return w.execAll(ctx, []string{
		"RENAME TABLE " + local(from) + " TO " + local(to) + r.onCluster(),
		"DROP TABLE IF EXISTS " + from + r.onCluster() + " SYNC",
		"CREATE TABLE IF NOT EXISTS " + r.distributed(to, firstColumn(key)),
	})
}

// firstColumn is the first column of a sorting key as the engine shows it: a, b or (a, b).
func firstColumn(key string) string {
	s := newScript(key)
	if s.at(0, "(") {
		return s.text(1)
	}
	return s.text(0)
}

func (w *Warehouse) exchangeTables(ctx context.Context, table, name string) error {
	a, onCluster := w.Storage(table)
	b, _ := w.Storage(name)
	return w.conn.Exec(ctx, "EXCHANGE TABLES "+a+" AND "+b+onCluster)
}

func (w *Warehouse) dropTable(ctx context.Context, name string) error {
	names := []string{name}
	stored, onCluster := w.Storage(name)
	if stored != name {
		names = append(names, stored)
	}
	for _, n := range names {
		if err := w.conn.Exec(ctx, "DROP TABLE IF EXISTS "+n+onCluster+" SYNC"); err != nil {
			return err
		}
	}
	return nil
}
