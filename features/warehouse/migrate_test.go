package warehouse

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

func migrated(t *testing.T) *Warehouse {
	t.Helper()
	w := open(t, "embedded:")
	for range 2 {
		if err := w.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// event inserts one row of events_raw as a part of its own.
func event(t *testing.T, w *Warehouse, id, profile, occurred, received string, skew, offset int) {
	t.Helper()
	execute(t, w, fmt.Sprintf("INSERT INTO events_raw (event_id, profile_id, title_id, type, occurred_at, received_at, clock_skew, kafka_partition, kafka_offset) VALUES ('%s', '%s', 't', 'play_end', '%s', '%s', %d, 0, %d)",
		id, profile, occurred, received, skew, offset))
}

func TestEventsViewCountsEachEventOnce(t *testing.T) { viewCountsEachEventOnce(t, migrated(t)) }

func viewCountsEachEventOnce(t *testing.T, w *Warehouse) {
	t.Helper()
	const a, b = "0190a5c2-7b6e-7c3a-8f00-00000000000a", "0190a5c2-7b6e-7c3a-8f00-00000000000b"
	event(t, w, a, "p", "2026-01-31 23:59:00", "2026-01-31 23:59:30", 0, 10)
	event(t, w, a, "p", "2026-01-31 23:59:00", "2026-01-31 23:59:40", 0, 11) // a repeat in another part
	event(t, w, a, "p", "2026-01-31 23:59:00", "2026-02-01 00:01:00", 0, 12) // and in another month's partition
	event(t, w, b, "p", "2026-01-31 23:59:00", "2026-02-01 00:02:00", 0, 13)
	event(t, w, a, "q", "2026-01-31 23:59:00", "2026-02-01 00:03:00", 0, 14) // another profile's is another event
	for range 2 {
		if n := count(t, w, "SELECT count() FROM events"); n != 3 {
			t.Errorf("%d events, want 3", n)
		}
		if n := count(t, w, "SELECT toUInt64(kafka_offset) FROM events WHERE event_id = '"+a+"' AND profile_id = 'p'"); n != 10 {
			t.Errorf("the repeat at offset %d won; the first one must", n)
		}
		stored, _ := w.Storage("events_raw")
		execute(t, w, "OPTIMIZE TABLE "+stored+" FINAL")
	}
}

func TestEffectiveTimeIsTheServersWhereTheClientsIsImplausible(t *testing.T) {
	effectiveTimes(t, migrated(t))
}

func effectiveTimes(t *testing.T, w *Warehouse) {
	t.Helper()
	event(t, w, "0190a5c2-7b6e-7c3a-8f00-00000000000a", "when", "2026-01-01 00:00:00", "2026-01-02 00:00:00", 0, 1)
	event(t, w, "0190a5c2-7b6e-7c3a-8f00-00000000000b", "when", "2031-01-01 00:00:00", "2026-01-03 00:00:00", -1, 2)
	if n := count(t, w, "SELECT countIf(effective_at = occurred_at) * 10 + countIf(effective_at = received_at) FROM events WHERE profile_id = 'when'"); n != 11 {
		t.Errorf("effective times count as %d, want 11: one of each kind", n)
	}
}

func TestTitlesViewHoldsTheLatestRevision(t *testing.T) { titlesHoldTheLatestRevision(t, migrated(t)) }

func titlesHoldTheLatestRevision(t *testing.T, w *Warehouse) {
	t.Helper()
	for _, values := range []string{"('a', 'old', 1, false)", "('a', 'new', 3, false)", "('a', 'between', 2, false)", "('b', 'b', 4, false)", "('b', 'b', 5, true)"} {
		execute(t, w, "INSERT INTO titles_raw (title_id, name, revision, deleted) VALUES "+values)
	}
	if n := count(t, w, "SELECT countIf(title_id = 'a' AND name = 'new') * 10 + count() FROM titles"); n != 11 {
		t.Errorf("got %d, want 11: one title, the newest revision", n)
	}
}

func scripts(t *testing.T, files map[string]string) []migration {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	all, err := loadMigrations(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestMigrateRefusesWhatIsNotItsOwn(t *testing.T) {
	w := open(t, "embedded:")
	one := map[string]string{"0001_a.sql": "CREATE TABLE IF NOT EXISTS a (x UInt8) ENGINE = MergeTree ORDER BY x; -- and no more;\n"}
	if err := w.migrate(t.Context(), scripts(t, one)); err != nil {
		t.Fatal(err)
	}
	edited := map[string]string{"0001_a.sql": one["0001_a.sql"] + " "}
	if err := w.migrate(t.Context(), scripts(t, edited)); err == nil || !strings.Contains(err.Error(), "different script") {
		t.Errorf("an edited migration: %v", err)
	}
	two := map[string]string{"0001_a.sql": one["0001_a.sql"], "0002_b.sql": "CREATE TABLE IF NOT EXISTS b (x UInt8) ENGINE = MergeTree ORDER BY x"}
	if err := w.migrate(t.Context(), scripts(t, two)); err != nil {
		t.Fatal(err)
	}
	if err := w.migrate(t.Context(), scripts(t, one)); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a warehouse from the future: %v", err)
	}
}

func TestMigrationsAreNumberedWithoutGaps(t *testing.T) {
	for _, name := range []string{"0002_b.sql", "first.sql", "1.sql"} {
		if _, err := loadMigrations(fstest.MapFS{name: &fstest.MapFile{Data: []byte("SELECT 1")}}); err == nil {
			t.Errorf("%s is taken as the first migration", name)
		}
	}
}
