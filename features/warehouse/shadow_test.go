package warehouse

import "testing"

func TestAShadowTakesItsTablesPlace(t *testing.T) { shadowTakesItsTablesPlace(t, migrated(t)) }

func shadowTakesItsTablesPlace(t *testing.T, w *Warehouse) {
	t.Helper()
	ctx := t.Context()
	things := []string{"CREATE TABLE things (x UInt64) ENGINE = MergeTree ORDER BY x SETTINGS non_replicated_deduplication_window = 7"}
	tables := uint64(1)
	if w.cluster.Name != "" {
		var err error
		if things, err = newRenderer(w.cluster, "default").render(things[0]); err != nil {
			t.Fatal(err)
		}
		tables = 2
	}
	for _, s := range things {
		execute(t, w, s)
	}
	execute(t, w, "INSERT INTO things VALUES (1)")
	execute(t, w, "CREATE VIEW seen AS SELECT * FROM things")
	open := func(token int64, known string) *Shadow {
		t.Helper()
		s, err := w.OpenShadow(ctx, "things", token, known)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := open(1, "")
	execute(t, w, "INSERT INTO "+first.Name()+" VALUES (2), (3)")
	if n := count(t, w, "SELECT count() FROM seen"); n != 1 {
		t.Errorf("before the swap the view sees %d rows", n)
	}
	second := open(2, first.ID())
	if second.ID() != first.ID() || second.Swapped() || count(t, w, "SELECT count() FROM "+second.Name()) != 2 {
		t.Errorf("taken over: %+v, was %+v", second, first)
	}
	if err := first.Swap(ctx); err == nil {
		t.Error("who lost the shadow put it in place")
	}
	if err := second.Swap(ctx); err != nil {
		t.Fatal(err)
	}
	if n := count(t, w, "SELECT count() FROM seen"); n != 2 {
		t.Errorf("after the swap the view sees %d rows", n)
	}
	third := open(3, first.ID())
	if !third.Swapped() || third.Name() != "things" {
		t.Errorf("taken over in place: %+v", third)
	}
	if err := second.Drop(ctx); err != nil || count(t, w, "SELECT count() FROM system.tables WHERE name = 'things_shadow_3'") != 1 {
		t.Errorf("who lost the old table dropped it: %v", err)
	}
	if err := third.Drop(ctx); err != nil {
		t.Fatal(err)
	}
	fresh := open(4, "another table's")
	other := open(5, "")
	if fresh.ID() == other.ID() || count(t, w, "SELECT count() FROM system.tables WHERE startsWith(name, 'things')") != 2*tables {
		t.Error("a shadow nobody knows was not replaced")
	}
	if n := count(t, w, "SELECT countIf(position(create_table_query, 'non_replicated_deduplication_window = 7') > 0) FROM system.tables WHERE startsWith(name, 'things')"); n != 2 {
		t.Errorf("%d of 2 tables have the table's settings", n)
	}
}
