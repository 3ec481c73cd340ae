package db

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uptrace/bun"
)

func TestOpenRefusesURLsAndSaysWhatWouldBeRight(t *testing.T) {
	folder := t.TempDir()
	garbage := filepath.Join(folder, "notes.txt")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("this is not a database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, url, want string }{
		{"empty", "", "has no scheme: use sqlite:"},
		{"no scheme", "marquee.db", "has no scheme"},
		{"unknown scheme", "mysql://root:hunter2@db/marquee", `unknown scheme "mysql": use sqlite: (marquee.db in the data folder), sqlite:PATH or postgres://`},
		{"no data folder", "sqlite:", "set --data-dir or use sqlite:PATH"},
		{"memory", "sqlite::memory:", "must survive"},
		{"host", "sqlite://dir/x.db", "names a host"},
		{"folder", "sqlite:" + folder, "is a folder: name a file in it"},
		{"not a database", "sqlite:" + garbage, "file is not a database"},
		{"postgres setting", "postgres://marquee:hunter2@localhost/x?sslmode=maybe", "sslmode"},
		{"postgres port", "postgres://marquee:hunter2@localhost:port/x", "cannot be parsed"},
		{"postgres password with a slash", "postgres://marquee:hunter2/3@localhost/x", "escape special characters"},
		{"postgres not there", "postgres://marquee:hunter2@127.0.0.1:1/x?connect_timeout=5", "open database postgres://marquee:xxxxx@127.0.0.1:1/x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := Open(t.Context(), tt.url, "")
			if err == nil {
				t.Fatalf("opened, want an error; close: %v", d.Close())
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want it to contain %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error shows the password: %q", err)
			}
		})
	}
}

func TestSQLiteFileIsMadeWithItsFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b", "50% #1?")
	open2 := func(url, dataDir, want string) {
		t.Helper()
		d, err := Open(t.Context(), url, dataDir)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(want); err != nil {
			t.Errorf("database file: %v", err)
		}
	}
	open2("sqlite:", dir, filepath.Join(dir, "marquee.db"))
	open2("sqlite:"+filepath.Join(dir, "x", "other.db"), "", filepath.Join(dir, "x", "other.db"))
}

func TestSQLiteSettings(t *testing.T) {
	d := open(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "15000"} {
		var got string
		if err := d.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
}

type note struct {
	bun.BaseModel `bun:"table:notes"`
	ID            int64  `bun:"id,pk"`
	Text          string `bun:"text"`
}

const notesTable = "CREATE TABLE notes (id BIGINT PRIMARY KEY, text TEXT NOT NULL);"

// TestReadsGoOnDuringAWrite holds a write transaction open and reads beside it: the old state, without waiting.
func TestReadsGoOnDuringAWrite(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := open(t, url)
		if err := d.Migrate(t.Context(), "notes", steps(notesTable)); err != nil {
			t.Fatal(err)
		}
		count := func() int64 {
			n, err := d.NewSelect().Model((*note)(nil)).Count(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		undo := errors.New("undo")
		err := d.RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error {
			if _, err := tx.NewInsert().Model(&note{ID: 1, Text: "it's \\ '' \"quoted\""}).Exec(ctx); err != nil {
				return err
			}
			if n := count(); n != 0 {
				t.Errorf("%d notes seen from outside before the commit", n)
			}
			return undo
		})
		if !errors.Is(err, undo) {
			t.Fatal(err)
		}
		if n := count(); n != 0 {
			t.Errorf("%d notes after a rollback", n)
		}
		if _, err := d.NewInsert().Model(&note{ID: 2, Text: "it's \\ '' \"quoted\""}).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		var back note
		if err := d.NewSelect().Model(&back).Where("id = 2").Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		if back.Text != "it's \\ '' \"quoted\"" {
			t.Errorf("read back %q", back.Text)
		}
	})
}

// TestWritersOfTwoProcessesTakeTurns lets two handles to one database add to one number, as two processes would.
func TestWritersOfTwoProcessesTakeTurns(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		a, b := open(t, url), open(t, url)
		if err := a.Migrate(t.Context(), "notes", steps(notesTable+"\nINSERT INTO notes VALUES (1, '0');")); err != nil {
			t.Fatal(err)
		}
		add := func(d *DB) func() {
			return func() {
				for range 25 {
					_, err := d.NewRaw("UPDATE notes SET text = CAST(CAST(text AS INTEGER) + 1 AS TEXT) WHERE id = 1").Exec(t.Context())
					if err != nil {
						t.Error(err)
					}
				}
			}
		}
		together(add(a), add(a), add(b), add(b))
		var back note
		if err := a.NewSelect().Model(&back).Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		if back.Text != "100" {
			t.Errorf("sum %s, want 100", back.Text)
		}
	})
}

func TestOpeningANewDatabaseManyTimesAtOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		one := func() {
			d, err := Open(t.Context(), url, "")
			if err != nil {
				t.Error(err)
				return
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
		together(one, one, one, one, one, one, one, one)
	})
}
