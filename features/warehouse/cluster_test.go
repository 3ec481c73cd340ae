package warehouse

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"marquee/internal/testkit"
)

var update = flag.Bool("update", false, "write the golden files anew")

// shipped are the migrations of the program, as they are written.
func shipped(t *testing.T) []migration {
	t.Helper()
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	all, err := loadMigrations(files)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// forms are the kinds of clusters whose schema is kept as a golden file.
func forms() map[string]ClusterConfig {
	replicated := DefaultClusterConfig()
	replicated.Name = "prod"
	path := replicated
	path.Path, path.Replica = "/marquee/{shard}/{table}/{uuid}", "{replica}"
	database := replicated
	database.OnCluster = false
	sharded := replicated
	sharded.Replicated = false
	return map[string]ClusterConfig{"replicated": replicated, "path": path, "database": database, "sharded": sharded}
}

// TestClusterSchemaIsTheGoldenOne holds the cluster form of every migration against testdata, and has the engine's own
// parser read each statement.
func TestClusterSchemaIsTheGoldenOne(t *testing.T) {
	engine := open(t, "embedded:")
	for name, cfg := range forms() {
		t.Run(name, func(t *testing.T) {
			if err := cfg.validate(false); err != nil {
				t.Fatal(err)
			}
			first, all, err := renderAll(newRenderer(cfg, "marquee"), shipped(t))
			if err != nil {
				t.Fatal(err)
			}
			statements := first
			for _, m := range all {
				statements = append(statements, m.statements...)
			}
			golden(t, filepath.Join("testdata", "cluster_"+name+".sql"), strings.Join(statements, ";\n\n")+";\n")
			for _, s := range statements {
				var out string
				if err := engine.Conn().QueryRow(t.Context(), "SELECT formatQuery(?)", s).Scan(&out); err != nil {
					t.Errorf("the engine does not read %s: %v", s, err)
				}
			}
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what the migrations give; look at what changed, then run with -update:\n%s", file, got)
	}
}

func TestStatementsWithoutAClusterForm(t *testing.T) {
	for sql, want := range map[string]string{
		"INSERT INTO a SELECT 1":                                               "only CREATE",
		"CREATE TABLE a (x UInt8) ENGINE = Memory":                             "MergeTree",
		"CREATE TABLE a (x UInt8) ENGINE = MergeTree":                          "ORDER BY",
		"CREATE TABLE a (x UInt8) ENGINE = MergeTree ORDER BY tuple()":         "must begin with a column",
		"CREATE TABLE d.a (x UInt8) ENGINE = MergeTree ORDER BY x":             "plain word",
		"CREATE DICTIONARY a (x UInt8) PRIMARY KEY x":                          "DICTIONARY",
		"CREATE VIEW v AS SELECT x FROM nowhere":                               "no migration before it",
		"CREATE VIEW v AS SELECT 1":                                            "exactly one table",
		"CREATE VIEW v AS SELECT x FROM t JOIN t AS u ON t.x = u.x":            "JOIN",
		"CREATE VIEW v AS SELECT x FROM t WHERE x IN (SELECT x FROM t)":        "IN (SELECT",
		"CREATE VIEW v AS SELECT x FROM t UNION ALL SELECT x FROM t":           "UNION",
		"CREATE VIEW v AS SELECT x FROM numbers(3)":                            "exactly one table",
		"ALTER TABLE nowhere ADD COLUMN y UInt8":                               "no migration before it",
		"ALTER TABLE t DELETE WHERE x = 1":                                     "DELETE WHERE",
		"ALTER TABLE t MODIFY SETTING non_replicated_deduplication_window = 1": "by hand",
	} {
		cfg := forms()["replicated"]
		r := newRenderer(cfg, "d")
		if _, err := r.render("CREATE TABLE t (x UInt8) ENGINE = MergeTree ORDER BY x"); err != nil {
			t.Fatal(err)
		}
		if out, err := r.render(sql); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want an error with %q", sql, out, err, want)
		}
	}
}

func TestClusterConfigSaysWhatIsWrong(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"embedded:, which is one node":          func(c *Config) { c.URL = "embedded:" },
		"warehouse.cluster.name":                func(c *Config) { c.Cluster.Name = "a b" },
		"warehouse.cluster.quorum":              func(c *Config) { c.Cluster.Quorum = "most" },
		"must be set together":                  func(c *Config) { c.Cluster.Path = "/a/{uuid}" },
		"must begin with /":                     func(c *Config) { c.Cluster.Path, c.Cluster.Replica = "a/{uuid}", "r" },
		"{uuid} or {table}":                     func(c *Config) { c.Cluster.Path, c.Cluster.Replica = "/a/{shard}", "r" },
		"warehouse.cluster.replicated is false": func(c *Config) { c.Cluster.Path, c.Cluster.Replica, c.Cluster.Replicated = "/{uuid}", "r", false },
	} {
		cfg := DefaultConfig()
		cfg.URL, cfg.Cluster.Name = "clickhouse://h/d", "prod"
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		if change(&cfg); !strings.Contains(errorText(cfg.Validate()), want) {
			t.Errorf("%v, want %q", cfg.Validate(), want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// oneShard is the embedded engine as a cluster of one shard without replicas, used by its address as a server is.
func oneShard(t *testing.T) *Warehouse {
	t.Helper()
	return openCluster(t, clusterEngine(t), func(*ClusterConfig) {})
}

func clusterEngine(t *testing.T) *Warehouse {
	t.Helper()
	needEngine(t)
	dir := t.TempDir()
	testkit.WriteCluster(t, dir)
	return open(t, "embedded:"+filepath.Join(dir, "warehouse"))
}

func openCluster(t *testing.T, engine *Warehouse, change func(*ClusterConfig)) *Warehouse {
	t.Helper()
	cfg := DefaultConfig()
	// The only replica is the server itself, which the embedded engine reaches without a port.
	cfg.URL = engine.DSN() + "?prefer_localhost_replica=1"
	cfg.Cluster.Name, cfg.Cluster.Replicated, cfg.Cluster.OnCluster = testkit.OneShard, false, false
	change(&cfg.Cluster)
	w, err := Open(t.Context(), cfg, "", testkit.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// TestSchemaOnAClusterIsTheSameToReadersAndWriters runs what the schema promises over Distributed tables.
func TestSchemaOnAClusterIsTheSameToReadersAndWriters(t *testing.T) {
	w := oneShard(t)
	for range 2 {
		if err := w.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, w, "SELECT countIf(engine = 'Distributed') * 100 + countIf(endsWith(name, '_local')) FROM system.tables WHERE database = currentDatabase()"); n != 808 {
		t.Errorf("%d: want eight Distributed tables (events, titles, served, their raw tables, progress, migrations) over as many of a shard's", n)
	}
	t.Run("events", func(t *testing.T) { viewCountsEachEventOnce(t, w) })
	t.Run("times", func(t *testing.T) { effectiveTimes(t, w) })
	t.Run("titles", func(t *testing.T) { titlesHoldTheLatestRevision(t, w) })
	t.Run("shadow", func(t *testing.T) { shadowTakesItsTablesPlace(t, w) })
}

// TestTokenHoldsThroughDistributed repeats an insert under its name.
func TestTokenHoldsThroughDistributed(t *testing.T) {
	w := oneShard(t)
	if err := w.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"r1", "r1", "r2", "r1"} {
		execute(t, w, "INSERT INTO events_raw (event_id, profile_id, type, kafka_offset) SETTINGS insert_deduplication_token = '"+token+"' SELECT generateUUIDv4(), 'p', 'click', number FROM numbers(3)")
	}
	if n := count(t, w, "SELECT count() FROM events_raw"); n != 6 {
		t.Errorf("%d rows, want those of two ranges", n)
	}
}

// TestReplicatedTablesAreTakenByTheEngine makes the tables of the replicated form. The embedded engine serves no replicas,
// so that it lets nobody write to them.
func TestReplicatedTablesAreTakenByTheEngine(t *testing.T) {
	engine := clusterEngine(t)
	cfg := ClusterConfig{Name: testkit.OneShard, Replicated: true, Path: "/marquee/{database}/{table}/{shard}", Replica: "{replica}", Quorum: "auto"}
	w := openCluster(t, engine, func(c *ClusterConfig) { *c = cfg })
	r := newRenderer(cfg, "default")
	made := 0
	for _, m := range shipped(t) {
		for _, s := range m.statements {
			out, err := r.render(s)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(s[newScript(s).tokens[0].Start:], "CREATE TABLE") {
				continue
			}
			for _, s := range out {
				execute(t, w, s)
			}
			made++
		}
	}
	if n := count(t, w, "SELECT count() FROM system.tables WHERE engine = 'ReplicatedReplacingMergeTree'"); n != uint64(made) {
		t.Errorf("%d replicated tables of %d", n, made)
	}
	if _, err := w.OpenShadow(t.Context(), "titles_raw", 7, ""); err != nil {
		t.Errorf("a second table of the same kind: %v", err)
	}
	if n := count(t, w, "SELECT count() FROM system.tables WHERE name = 'titles_raw_shadow_7_local' AND position(engine_full, '/marquee/default/titles_raw_shadow_7_local/{shard}') > 0"); n != 1 {
		t.Error("the second table does not have a path of its own")
	}
	// The engine does not end well with tables whose replicas never came up.
	for _, table := range []string{"titles_raw_shadow_7", "events_raw", "titles_raw", "rebuild_progress"} {
		if err := w.dropTable(t.Context(), table); err != nil {
			t.Error(err)
		}
	}
}

// TestAWarehouseOfAnotherFormIsRefused opens what was made for one server as a cluster's, and the reverse, and a cluster
// whose shards are not those that the rows went to.
func TestAWarehouseOfAnotherFormIsRefused(t *testing.T) {
	engine := clusterEngine(t)
	spread := openCluster(t, engine, func(*ClusterConfig) {})
	unknown := openCluster(t, engine, func(c *ClusterConfig) { c.Name = "other" })
	if err := unknown.Migrate(t.Context()); !strings.Contains(errorText(err), `it knows ["one_shard"]`) {
		t.Errorf("an unknown cluster: %v", err)
	}
	execute(t, engine, "DROP TABLE IF EXISTS schema_migrations SYNC")
	execute(t, engine, "DROP TABLE IF EXISTS schema_migrations_local SYNC")
	if err := engine.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := count(t, engine, "SELECT count() FROM system.tables")
	if err := spread.Migrate(t.Context()); !strings.Contains(errorText(err), "made for one server") {
		t.Errorf("one server's as a cluster's: %v", err)
	}
	if n := count(t, engine, "SELECT count() FROM system.tables"); n != before {
		t.Errorf("the refused warehouse has %d tables, had %d", n, before)
	}
	other := clusterEngine(t)
	spread = openCluster(t, other, func(*ClusterConfig) {})
	if err := spread.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.Migrate(t.Context()); !strings.Contains(errorText(err), "made for a cluster") {
		t.Errorf("a cluster's as one server's: %v", err)
	}
	execute(t, other, "ALTER TABLE schema_migrations_local UPDATE checksum = 'another layout' WHERE version = 0 SETTINGS mutations_sync = 2")
	if err := spread.Migrate(t.Context()); !strings.Contains(errorText(err), "restore its shards") {
		t.Errorf("another layout: %v", err)
	}
}

func FuzzRender(f *testing.F) {
	for _, sql := range []string{schemaTable, "CREATE OR REPLACE VIEW v AS SELECT x FROM (SELECT x FROM t) FINAL", "ALTER TABLE t DROP COLUMN x", "CREATE TABLE", "CREATE TABLE a ENGINE = MergeTree('', ''", "CREATE TABLE a ORDER BY x ENGINE = MergeTree SETTINGS non_replicated_deduplication_window ="} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		for _, cfg := range forms() {
			r := newRenderer(cfg, "d")
			if _, err := r.render("CREATE TABLE t (x UInt8) ENGINE = MergeTree ORDER BY x"); err != nil {
				t.Fatal(err)
			}
			if out, err := r.render(sql); (err == nil) != (len(out) == 2) && !(err == nil && len(out) == 1) {
				t.Errorf("%q: %q, %v", sql, out, err)
			}
			if out, err := r.copied(sql, "c"); err == nil && len(out) != 2 {
				t.Errorf("%q copied: %q", sql, out)
			}
		}
	})
}
