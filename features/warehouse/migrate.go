package warehouse

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"marquee/features/warehouse/sqltoken"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one numbered file.
type migration struct {
	version    uint32
	name       string
	checksum   string
	statements []string
}

const schemaTable = `CREATE TABLE IF NOT EXISTS schema_migrations
(
    version    UInt32,
    name       String,
    checksum   String,
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree ORDER BY version`

// Migrate brings the schema up to date. It refuses a warehouse that a newer program made, and one whose applied
// migrations are not the ones this program has.
func (w *Warehouse) Migrate(ctx context.Context) error {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return fmt.Errorf("read the warehouse's migrations: %w", err)
	}
	all, err := loadMigrations(files)
	if err != nil {
		return err
	}
	return w.migrate(ctx, all)
}

func (w *Warehouse) migrate(ctx context.Context, all []migration) error {
	if err := w.checkForm(ctx); err != nil {
		return err
	}
	layout, err := w.layout(ctx)
	if err != nil {
		return err
	}
	first, all, err := w.formed(ctx, all)
	if err != nil {
		return err
	}
	if err := w.execAll(ctx, first); err != nil {
		return fmt.Errorf("make the table of migrations: %w", err)
	}
	applied, err := w.applied(ctx)
	if err != nil {
		return err
	}
	if err := w.checkLayout(ctx, layout, applied); err != nil {
		return err
	}
	for version := range applied {
		if !slices.ContainsFunc(all, func(m migration) bool { return m.version == version }) {
			return fmt.Errorf("the warehouse has schema version %d, which this program does not know: it was made by a newer one; use that", version)
		}
	}
	for _, m := range all {
		checksum, done := applied[m.version]
		switch {
		case done && checksum != m.checksum:
			return fmt.Errorf("the warehouse's schema version %d (%s) was made by a different script than this program has; restore the script or rebuild the warehouse from the lake", m.version, m.name)
		case done:
			continue
		}
		if err := w.apply(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// apply runs a migration's statements. ClickHouse has no transactions over DDL: a migration that broke off is run again
// whole, so its statements are written to be repeatable, by CREATE … IF NOT EXISTS.
func (w *Warehouse) apply(ctx context.Context, m migration) error {
	if err := w.execAll(ctx, m.statements); err != nil {
		return fmt.Errorf("migrate the warehouse to version %d (%s): %w", m.version, m.name, err)
	}
	return w.record(ctx, m)
}

func (w *Warehouse) execAll(ctx context.Context, statements []string) error {
	for _, s := range statements {
		if err := w.conn.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (w *Warehouse) record(ctx context.Context, m migration) error {
	if err := w.conn.Exec(ctx, "INSERT INTO schema_migrations (version, name, checksum) VALUES ("+strconv.FormatUint(uint64(m.version), 10)+
		", "+quoteText(m.name)+", "+quoteText(m.checksum)+")"); err != nil {
		return fmt.Errorf("record the warehouse's version %d: %w", m.version, err)
	}
	return nil
}

// formed gives the statements in the form that the warehouse has, those of the table of migrations first.
func (w *Warehouse) formed(ctx context.Context, all []migration) (first []string, out []migration, err error) {
	if w.cluster.Name == "" {
		return []string{schemaTable}, all, nil
	}
	database, err := w.database(ctx)
	if err != nil {
		return nil, nil, err
	}
	return renderAll(newRenderer(w.cluster, database), all)
}

func renderAll(r *renderer, all []migration) (first []string, out []migration, err error) {
	if first, err = r.render(schemaTable); err != nil {
		return nil, nil, err
	}
	for _, m := range all {
		var statements []string
		for _, s := range m.statements {
			rendered, err := r.render(s)
			if err != nil {
				return nil, nil, fmt.Errorf("migration %d (%s): %w", m.version, m.name, err)
			}
			statements = append(statements, rendered...)
		}
		m.statements = statements
		out = append(out, m)
	}
	return first, out, nil
}

// layoutVersion stands in the table of migrations for how a cluster spreads its rows. Migrations count from 1.
const layoutVersion = 0

// checkLayout records how the cluster spreads its rows, and refuses one that changed: an event sent again would go to
// another shard than before, and count twice.
func (w *Warehouse) checkLayout(ctx context.Context, now string, applied map[uint32]string) error {
	if w.cluster.Name == "" {
		return nil
	}
	was, recorded := applied[layoutVersion]
	delete(applied, layoutVersion)
	switch {
	case !recorded:
		return w.record(ctx, migration{version: layoutVersion, name: "layout", checksum: now})
	case was != now:
		return fmt.Errorf("the warehouse's rows are spread by %s, and cluster %s spreads them by %s now: restore its shards, or name a new database in warehouse.url and fill it with `marquee warehouse rebuild`", was, w.cluster.Name, now)
	}
	return nil
}

func (w *Warehouse) applied(ctx context.Context) (map[uint32]string, error) {
	rows, err := w.conn.Query(ctx, "SELECT version, any(checksum) FROM schema_migrations GROUP BY version")
	if err != nil {
		return nil, fmt.Errorf("read the warehouse's version: %w", err)
	}
	defer rows.Close()
	out := map[uint32]string{}
	for rows.Next() {
		var version uint32
		var checksum string
		if err := rows.Scan(&version, &checksum); err != nil {
			return nil, fmt.Errorf("read the warehouse's version: %w", err)
		}
		out[version] = checksum
	}
	return out, rows.Err()
}

func loadMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("list the warehouse's migrations: %w", err)
	}
	slices.Sort(names)
	out := make([]migration, len(names))
	for i, name := range names {
		number, title, ok := strings.Cut(strings.TrimSuffix(name, ".sql"), "_")
		version, err := strconv.ParseUint(number, 10, 32)
		if !ok || err != nil || version != uint64(i+1) {
			return nil, fmt.Errorf("migration %s must be called %04d_name.sql", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read migration %s: %w", name, err)
		}
		sum := sha256.Sum256(text)
		out[i] = migration{uint32(version), title, hex.EncodeToString(sum[:]), sqltoken.Split(string(text))}
	}
	return out, nil
}
