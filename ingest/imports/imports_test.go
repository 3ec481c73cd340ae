package imports

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"marquee/internal/db"
	"marquee/internal/testkit"
)

func TestCursor(t *testing.T) {
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + t.TempDir() + "/x.db" },
		"postgres": func(t *testing.T) string { return testkit.NeedPostgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			database, err := db.Open(t.Context(), url(t), "")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := database.Close(); err != nil {
					t.Error(err)
				}
			})
			i, err := Open(t.Context(), database, "ml1m", "first")
			if err != nil {
				t.Fatal(err)
			}
			if c := i.Cursor(); c.Acknowledged != 0 || c.Content != "" {
				t.Errorf("a new import has the cursor %+v", c)
			}
			if _, err := Open(t.Context(), database, "ml1m", "second"); !errors.Is(err, db.ErrLeaseHeld) {
				t.Errorf("a second import at the same time: %v", err)
			}
			d := NewDigest()
			d.Add([16]byte{1})
			want := Cursor{Namespace: "ml1m", Content: "c", Acknowledged: 1, PrefixDigest: d.String(), StartedAt: 5}
			for range 2 {
				if err := i.Save(t.Context(), want); err != nil {
					t.Fatal(err)
				}
			}
			if err := i.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := i.Save(t.Context(), want); !errors.Is(err, db.ErrLeaseLost) {
				t.Errorf("saved without the lease: %v", err)
			}
			again, err := Open(t.Context(), database, "ml1m", "third")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, again.Cursor(), cmpopts.IgnoreFields(Cursor{}, "UpdatedAt", "BaseModel")); diff != "" {
				t.Error(diff)
			}
			if err := again.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}
