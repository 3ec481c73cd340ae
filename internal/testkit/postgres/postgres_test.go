package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"marquee/internal/testkit"
	"marquee/internal/testkit/postgres"
)

func TestWhatWasCommittedSurvivesAKill(t *testing.T) {
	s, err := postgres.Start(postgres.Options{Durable: true})
	if errors.Is(err, postgres.ErrMissing) {
		testkit.LeftOut(t, "PostgreSQL", "install it (Debian: apt-get install postgresql)")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Exec("CREATE TABLE kept (n int)"); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if err := s.Exec("INSERT INTO kept VALUES (1)"); err != nil {
			t.Fatal(err)
		}
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := s.Exec("SELECT 1"); err == nil {
			t.Error("it answers after it was killed")
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		if got := rows(t, s); got != n+1 {
			t.Errorf("%d rows after %d commits and kills", got, n+1)
		}
	}
}

func rows(t *testing.T, s *postgres.Server) (n int) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM kept").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(ctx); err != nil {
		t.Fatal(err)
	}
	return n
}
