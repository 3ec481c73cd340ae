package features_test

import (
	"os"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"marquee/features/warehouse"
	"marquee/internal/testkit"
)

// TestMain lets the test binary be the embedded warehouse's child, as main does.
func TestMain(m *testing.M) {
	if warehouse.IsChild() {
		os.Exit(warehouse.ChildMain())
	}
	os.Exit(m.Run())
}

// openWarehouse opens an embedded warehouse of the test's own, with the tables as the service has them.
func openWarehouse(t testing.TB) driver.Conn {
	t.Helper()
	w, err := warehouse.Open(t.Context(), warehouse.DefaultConfig(), t.TempDir(), testkit.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w.Conn()
}
