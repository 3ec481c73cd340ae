// Package clustertest opens a warehouse in its cluster form for tests: the embedded engine as a cluster of one shard. It
// shows that statements are right over Distributed tables, not what happens between servers.
package clustertest

import (
	"path/filepath"
	"testing"

	"marquee/features/warehouse"
	"marquee/internal/native"
	"marquee/internal/testkit"
)

// Open opens it with its engine's folder in dir/warehouse, migrated. Both end with the test.
func Open(t testing.TB, dir string) *warehouse.Warehouse {
	t.Helper()
	if _, err := native.LibraryPath(native.ChDB); err != nil {
		testkit.LeftOut(t, "the embedded warehouse", "make setup")
	}
	testkit.WriteCluster(t, dir)
	cfg := warehouse.DefaultConfig()
	cfg.URL = "embedded:" + filepath.Join(dir, "warehouse")
	engine := open(t, cfg)
	// The only replica is the server itself, which the embedded engine reaches without a port.
	cfg.URL = engine.DSN() + "?prefer_localhost_replica=1"
	cfg.Cluster.Name, cfg.Cluster.Replicated, cfg.Cluster.OnCluster = testkit.OneShard, false, false
	w := open(t, cfg)
	if err := w.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func open(t testing.TB, cfg warehouse.Config) *warehouse.Warehouse {
	t.Helper()
	w, err := warehouse.Open(t.Context(), cfg, "", testkit.Log(t))
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
