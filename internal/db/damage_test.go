package db

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"marquee/internal/testkit"
)

func TestTablesOfANewerProgramAreNotTouched(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := open(t, url)
		grown := steps(notesTable, "ALTER TABLE notes ADD COLUMN author TEXT NOT NULL DEFAULT '';")
		if err := d.Migrate(t.Context(), "notes", grown); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ExecContext(t.Context(), "INSERT INTO notes (id, text, author) VALUES (1, 'x', 'y')"); err != nil {
			t.Fatal(err)
		}
		err := d.Migrate(t.Context(), "notes", steps(notesTable))
		if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "version 2 and this program knows 1") {
			t.Errorf("an older program's steps: %v", err)
		}
		if err := d.Migrate(t.Context(), "notes", grown); err != nil {
			t.Errorf("the newer program afterwards: %v", err)
		}
		var author string
		if err := d.NewSelect().Table("notes").Column("author").Scan(t.Context(), &author); err != nil || author != "y" {
			t.Errorf("author %q, %v", author, err)
		}
	})
}

// sound makes a database of some pages and returns its bytes.
func sound(t *testing.T) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.db")
	d, err := Open(t.Context(), "sqlite:"+file, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Migrate(t.Context(), "notes", steps(notesTable)); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		if _, err := d.ExecContext(t.Context(), "INSERT INTO notes (id, text) VALUES (?, ?)", i, strings.Repeat("note ", 40)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestADamagedFileIsRefused damages what holds the file together: header, pages, length.
func TestADamagedFileIsRefused(t *testing.T) {
	whole := sound(t)
	const page = 4096
	for name, damaged := range map[string][]byte{
		"no database":     []byte(strings.Repeat("nothing ", page/4)),
		"header":          append([]byte("SQLite format 4\x00"), whole[16:]...),
		"cut in a page":   whole[:len(whole)-page/2],
		"cut at a page":   whole[:len(whole)-3*page],
		"page of zeroes":  overwritten(whole, 3*page, make([]byte, page)),
		"page of noise":   overwritten(whole, 3*page, bytes.Repeat([]byte{0xa5}, page)),
		"a page repeated": overwritten(whole, 3*page, whole[2*page:3*page]),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.db")
			if err := os.WriteFile(file, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := Open(t.Context(), "sqlite:"+file, "")
			if err == nil {
				err = errors.Join(errors.New("opened"), d.Close())
			}
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "put a copy") {
				t.Errorf("%v", err)
			}
			if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, damaged) {
				t.Errorf("the refused file is not what it was (%v)", err)
			}
		})
	}
}

func overwritten(content []byte, at int, by []byte) []byte {
	out := bytes.Clone(content)
	copy(out[at:], by)
	return out
}

// TestFlippedBitsLoseNoRow flips bits all over the file: it is refused, or reading it is, or all rows are there. What a row says is not
// the database's to know.
func TestFlippedBitsLoseNoRow(t *testing.T) {
	whole := sound(t)
	rng := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 150 {
		damaged := bytes.Clone(whole)
		damaged[rng.IntN(len(damaged))] ^= 1 << rng.IntN(8)
		file := filepath.Join(t.TempDir(), "x.db")
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(t.Context(), "sqlite:"+file, "")
		if err != nil {
			refused++
			continue
		}
		var notes []note
		err = d.NewSelect().Model(&notes).Scan(t.Context())
		if err == nil && len(notes) != 300 {
			t.Errorf("%d notes of 300", len(notes))
		}
		if err := d.Close(); err != nil {
			t.Logf("closed: %v", err)
		}
	}
	if refused == 0 {
		t.Error("none of 150 was refused at opening")
	}
}

func TestAReadOnlyFolderIsNamed(t *testing.T) {
	disk := testkit.NeedDisk(t, 1<<20)
	file := filepath.Join(disk.Dir, "x.db")
	d, err := Open(t.Context(), "sqlite:"+file, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	disk.ReadOnly(t)
	for _, path := range []string{file, filepath.Join(disk.Dir, "new.db"), filepath.Join(disk.Dir, "sub", "new.db")} {
		_, err := Open(t.Context(), "sqlite:"+path, "")
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "read-only file system") && !strings.Contains(err.Error(), "must be there to be written") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
