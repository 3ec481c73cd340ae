package db

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"
)

func TestMigrate(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := open(t, url)
		const other = "CREATE TABLE scores (id BIGINT PRIMARY KEY);"
		grown := steps(notesTable, "ALTER TABLE notes ADD COLUMN author TEXT NOT NULL DEFAULT '';")
		for _, set := range []struct {
			name string
			fsys fstest.MapFS
		}{
			{"notes", steps(notesTable).(fstest.MapFS)},
			{"notes", steps(notesTable).(fstest.MapFS)}, // nothing left to do
			{"scores", steps(other).(fstest.MapFS)},     // the same version number in another module's set
			{"notes", grown.(fstest.MapFS)},
		} {
			if err := d.Migrate(t.Context(), set.name, set.fsys); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.ExecContext(t.Context(), "INSERT INTO notes (id, text, author) VALUES (1, 'x', 'y')"); err != nil {
			t.Errorf("the second step is missing: %v", err)
		}
	})
}

// TestMigrateManyAtOnce migrates one database from several handles: each step must run exactly once.
func TestMigrateManyAtOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		set := steps(notesTable, "INSERT INTO notes VALUES (1, 'once');", "INSERT INTO notes VALUES (2, 'once');")
		one := func() {
			d, err := Open(t.Context(), url, "")
			if err != nil {
				t.Error(err)
				return
			}
			defer d.Close() //nolint:errcheck // the test reads its own handle
			if err := d.Migrate(t.Context(), "notes", set); err != nil {
				t.Error(err)
			}
		}
		together(one, one, one, one)
		n, err := open(t, url).NewSelect().Model((*note)(nil)).Count(t.Context())
		if err != nil || n != 2 {
			t.Errorf("%d notes, %v; want 2", n, err)
		}
	})
}

func TestAFailedStepLeavesNothingAndNamesItself(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := open(t, url)
		err := d.Migrate(t.Context(), "notes", steps(notesTable+"\nINSERT INTO nowhere VALUES (1);"))
		if err == nil || !strings.Contains(err.Error(), "migrate the notes tables") || !strings.Contains(err.Error(), "00001_step.sql") {
			t.Fatalf("error %v, want the module's and the file's name", err)
		}
		if err := d.Migrate(t.Context(), "notes", steps(notesTable)); err != nil {
			t.Errorf("after the failure: %v", err)
		}
	})
}

func TestMigrateRefuses(t *testing.T) {
	d := open(t, "sqlite:"+t.TempDir()+"/x.db")
	for name, want := range map[string]string{
		"No; DROP": "a name is 1 to 40 of a-z",
		"empty":    "no sqlite/*.sql among the steps",
	} {
		err := d.Migrate(t.Context(), name, fstest.MapFS{"sqlite/README": {}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func TestMigrateOfSQLiteWaitsItsTurnNoLongerThanAllowed(t *testing.T) {
	d := open(t, "sqlite:"+t.TempDir()+"/x.db")
	unlock, err := d.lockMigrations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Migrate(ctx, "notes", steps(notesTable)); err == nil {
		t.Error("migrated beside another process")
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if err := d.Migrate(t.Context(), "notes", steps(notesTable)); err != nil {
		t.Error(err)
	}
}
