package suppression_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"marquee/ingest/suppression"
	"marquee/internal/db"
	"marquee/internal/testkit"
)

// engines runs a test on every database there is, opened by two processes.
func engines(t *testing.T, run func(t *testing.T, database, other *db.DB)) {
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "marquee.db") },
		"postgres": func(t *testing.T) string { return testkit.NeedPostgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			at := url(t)
			var both [2]*db.DB
			for i := range both {
				var err error
				if both[i], err = db.Open(t.Context(), at, ""); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := both[i].Close(); err != nil {
						t.Error(err)
					}
				})
			}
			run(t, both[0], both[1])
		})
	}
}

func open(t testing.TB, d *db.DB) *suppression.List {
	t.Helper()
	l, err := suppression.Open(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func now(t testing.TB, l *suppression.List) *suppression.Set {
	t.Helper()
	s, err := l.Now(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestTheList: two processes see one list, by one key; adding twice and lifting are what they say; and no id is in it.
func TestTheList(t *testing.T) {
	engines(t, func(t *testing.T, d, other *db.DB) {
		a, b := open(t, d), open(t, other)
		if s := now(t, a); s.Len() != 0 || s.Has("p:1") {
			t.Errorf("a new list has %d", s.Len())
		}
		d1 := must[suppression.Digest](t)(a.Add(t.Context(), "p:secret-1"))
		d2 := must[suppression.Digest](t)(b.Add(t.Context(), "p:secret-1"))
		must[suppression.Digest](t)(b.Add(t.Context(), "p:secret-2"))
		if d1 != d2 || strings.Contains(d1.String(), "secret") {
			t.Errorf("digests %s and %s", d1, d2)
		}
		for _, l := range []*suppression.List{a, b} {
			s := now(t, l)
			if s.Len() != 2 || !s.Has("p:secret-1") || !s.Has("p:secret-2") || s.Has("p:secret-3") || s.Has("") || !s.Holds(d1) {
				t.Errorf("%d on the list", s.Len())
			}
		}
		before := now(t, a)
		must[suppression.Digest](t)(b.Lift(t.Context(), "p:secret-1"))
		if _, err := b.Lift(t.Context(), "p:secret-1"); !errors.Is(err, suppression.ErrNotListed) {
			t.Errorf("lifted twice: %v", err)
		}
		if s := now(t, a); s.Has("p:secret-1") || !s.Has("p:secret-2") || s.Generation() <= before.Generation() {
			t.Error("the lift is not seen")
		}
		if !before.Has("p:secret-1") {
			t.Error("a set that was given out has changed")
		}
		if parsed, err := suppression.ParseDigest(d1.String()); err != nil || parsed != d1 {
			t.Error(parsed, err)
		}
		if d.Engine() == db.SQLite {
			noIDs(t, d)
		}
	})
}

// noIDs searches the database's files.
func noIDs(t *testing.T, d *db.DB) {
	t.Helper()
	var path string
	if err := d.NewRaw("SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(t.Context(), &path); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + "-wal"} {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), "secret") {
			t.Errorf("%s holds an id", name)
		}
	}
}

// TestHolding: while somebody holds a set, the list does not change; and a set that the list has left behind cannot be held.
func TestHolding(t *testing.T) {
	engines(t, func(t *testing.T, d, other *db.DB) {
		a, b := open(t, d), open(t, other)
		s := now(t, a)
		added := make(chan error, 1)
		var committed, order []string
		var mu sync.Mutex
		note := func(what string) { mu.Lock(); order = append(order, what); mu.Unlock() }
		err := d.RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error {
			if err := s.Hold(ctx, tx); err != nil {
				return err
			}
			go func() {
				_, err := b.Add(context.Background(), "p:1")
				note("added")
				added <- err
			}()
			// Long enough for a change that does not wait to be through; one that waits is waiting whatever the time.
			select {
			case err := <-added:
				t.Error("the list changed while it was held")
				added <- err
			case <-time.After(200 * time.Millisecond):
			}
			note("held")
			return nil
		})
		if err := errors.Join(err, <-added); err != nil {
			t.Fatal(err)
		}
		if committed = order; fmt.Sprint(committed) != "[held added]" {
			t.Errorf("%v", committed)
		}
		err = d.RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error { return s.Hold(ctx, tx) })
		if !errors.Is(err, suppression.ErrChanged) {
			t.Errorf("an old set is held: %v", err)
		}
	})
}

// TestRecent: what is asked often asks the database seldom, and goes on without it.
func TestRecent(t *testing.T) {
	engines(t, func(t *testing.T, d, other *db.DB) {
		a, b := open(t, d), open(t, other)
		must[suppression.Digest](t)(b.Add(t.Context(), "p:1"))
		if a.Recent(t.Context(), time.Hour).Has("p:1") {
			t.Error("an hour has not passed")
		}
		if !a.Recent(t.Context(), 0).Has("p:1") {
			t.Error("what is asked anew is not")
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if !a.Recent(ended, 0).Has("p:1") {
			t.Error("without the database it is not the last that was read")
		}
	})
}

func TestDamagedKey(t *testing.T) {
	engines(t, func(t *testing.T, d, other *db.DB) {
		open(t, d)
		if _, err := d.NewRaw("UPDATE suppression_state SET hash_key = 'ab'").Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := suppression.Open(t.Context(), other); err == nil || !strings.Contains(err.Error(), "key of the suppression list is damaged") {
			t.Error(err)
		}
	})
}

// FuzzParseDigest: what is read comes out as it went in.
func FuzzParseDigest(f *testing.F) {
	f.Add(strings.Repeat("0a", 32))
	f.Add("zz")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := suppression.ParseDigest(s); err == nil && d.String() != strings.ToLower(s) {
			t.Errorf("%q came out as %s", s, d)
		}
	})
}

func BenchmarkHas(b *testing.B) {
	d, err := db.Open(b.Context(), "sqlite:"+filepath.Join(b.TempDir(), "marquee.db"), "")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	l := open(b, d)
	if _, err := l.Add(b.Context(), "p:1"); err != nil {
		b.Fatal(err)
	}
	s := now(b, l)
	b.ReportAllocs()
	for b.Loop() {
		s.Has("ml1m:12345")
	}
}
