package ledger

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"marquee/internal/db"
	"marquee/internal/lake"
	"marquee/internal/logid"
	"marquee/internal/testkit"
)

const topic = "watch-events"

var theLog = logid.Log{Topic: topic, Cluster: "a", ID: "1"}

// engines runs a test on every database there is.
func engines(t *testing.T, run func(t *testing.T, l *Ledger)) {
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + t.TempDir() + "/ledger.db" },
		"postgres": func(t *testing.T) string { return testkit.NeedPostgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			database, err := db.Open(t.Context(), url(t), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := database.Close(); err != nil {
					t.Error(err)
				}
			})
			l, err := New(t.Context(), database)
			if err != nil {
				t.Fatal(err)
			}
			run(t, l)
		})
	}
}

func claim(t *testing.T, l *Ledger, start int64) (*Owner, int64, *Range) {
	t.Helper()
	owner, next, open, err := l.Claim(t.Context(), theLog, 0, t.Name(), start)
	if err != nil {
		t.Fatal(err)
	}
	return owner, next, open
}

func fix(t *testing.T, o *Owner, first, last int64) Range {
	t.Helper()
	r, err := o.Fix(t.Context(), first, last)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestARangeFromFixToDone(t *testing.T) {
	engines(t, func(t *testing.T, l *Ledger) {
		owner, next, open := claim(t, l, 7)
		if next != 7 || open != nil || owner.Epoch() != 1 {
			t.Fatalf("a new partition: next %d, open %v, epoch %d", next, open, owner.Epoch())
		}
		r := fix(t, owner, 7, 9)
		through(t, l, 6)
		must(t, owner.InWarehouse(t.Context(), r, 2, 1))
		through(t, l, 6)
		files := []lake.FileInfo{{Key: "events/x.parquet", Bytes: 10, SHA256: "ab"}}
		must(t, owner.InLake(t.Context(), r, files))
		through(t, l, 9)

		r2 := fix(t, owner, 10, 10)
		must(t, owner.InLake(t.Context(), r2, nil))
		through(t, l, 9)
		must(t, owner.InWarehouse(t.Context(), r2, 1, 0))
		through(t, l, 10)

		got, err := l.Ranges(t.Context(), topic, 0)
		must(t, err)
		want := []Range{
			{Topic: topic, First: 7, Last: 9, Epoch: 1, State: Done, Events: 2, Dead: 1, InWarehouse: true, InLake: true, Files: files},
			{Topic: topic, First: 10, Last: 10, Epoch: 1, State: Done, Events: 1, InWarehouse: true, InLake: true, Files: []lake.FileInfo{}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func through(t *testing.T, l *Ledger, want int64) {
	t.Helper()
	positions, err := l.Positions(t.Context(), topic)
	must(t, err)
	if got := positions[0].Through; got != want {
		t.Errorf("both sinks have everything through %d, want %d", got, want)
	}
}

func TestTheNextOwnerFinishesTheOpenRange(t *testing.T) {
	engines(t, func(t *testing.T, l *Ledger) {
		first, _, _ := claim(t, l, 0)
		r := fix(t, first, 0, 99)
		must(t, first.InWarehouse(t.Context(), r, 100, 0))

		second, next, open := claim(t, l, 0)
		if second.Epoch() != 2 || next != 100 || open == nil {
			t.Fatalf("epoch %d, next %d, open %v", second.Epoch(), next, open)
		}
		want := r
		want.InWarehouse, want.Events, want.Files = true, 100, []lake.FileInfo{}
		if diff := cmp.Diff(want, *open); diff != "" {
			t.Error(diff)
		}
		if _, err := second.Fix(t.Context(), 100, 110); err == nil {
			t.Error("a second range was fixed while one is open")
		}
		must(t, second.InLake(t.Context(), *open, nil))
		if r := fix(t, second, 100, 110); r.Epoch != 2 {
			t.Errorf("new range has epoch %d", r.Epoch)
		}
	})
}

func TestAFormerOwnerIsFenced(t *testing.T) {
	engines(t, func(t *testing.T, l *Ledger) {
		old, _, _ := claim(t, l, 0)
		r := fix(t, old, 0, 9)
		fresh, _, open := claim(t, l, 0)
		for name, write := range map[string]func() error{
			"fix the next range": func() error { _, err := old.Fix(t.Context(), 10, 19); return err },
			"fix it again":       func() error { _, err := old.Fix(t.Context(), 0, 9); return err },
			"mark the warehouse": func() error { return old.InWarehouse(t.Context(), r, 10, 0) },
			"mark the lake":      func() error { return old.InLake(t.Context(), r, nil) },
			"lose it":            func() error { return old.Lose(t.Context(), r) },
			"skip":               func() error { return old.Skip(t.Context(), 10, 20) },
		} {
			if err := write(); !errors.Is(err, ErrFenced) {
				t.Errorf("%s: %v, want ErrFenced", name, err)
			}
		}
		must(t, fresh.InLake(t.Context(), *open, nil))
		must(t, fresh.InWarehouse(t.Context(), *open, 10, 0))
		through(t, l, 9)
	})
}

func TestRetriesAreHarmless(t *testing.T) {
	engines(t, func(t *testing.T, l *Ledger) {
		owner, _, _ := claim(t, l, 0)
		r := fix(t, owner, 0, 9)
		if again := fix(t, owner, 0, 9); !cmp.Equal(r, again) {
			t.Errorf("fixed again as %v", again)
		}
		if _, err := owner.Fix(t.Context(), 0, 12); !errors.Is(err, ErrOrder) {
			t.Errorf("a range was cut across another: %v", err)
		}
		for range 2 {
			must(t, owner.InWarehouse(t.Context(), r, 10, 0))
			must(t, owner.InLake(t.Context(), r, nil))
		}
		through(t, l, 9)
		if _, err := owner.Fix(t.Context(), 11, 12); err == nil {
			t.Error("a range was fixed with a gap before it")
		}
	})
}

func TestSkipAndLose(t *testing.T) {
	engines(t, func(t *testing.T, l *Ledger) {
		owner, _, _ := claim(t, l, 0)
		r := fix(t, owner, 0, 9)
		must(t, owner.Lose(t.Context(), r))
		must(t, owner.Skip(t.Context(), 10, 50))
		through(t, l, 49)
		fix(t, owner, 50, 51)
		got, err := l.Ranges(t.Context(), topic, 0)
		must(t, err)
		if len(got) != 2 || got[0].State != Lost || got[1].First != 50 {
			t.Errorf("ranges %v", got)
		}
		if err := owner.Skip(t.Context(), 52, 40); err == nil {
			t.Error("skipped backwards")
		}
	})
}

func TestClaimsAtTheSameTimeGetDifferentEpochs(t *testing.T) {
	engines(t, func(t *testing.T, l *Ledger) {
		const n = 8
		epochs := make([]int64, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				owner, _, _, err := l.Claim(context.WithoutCancel(t.Context()), theLog, 3, "racer", 0)
				if err != nil {
					t.Error(err)
					return
				}
				epochs[i] = owner.Epoch()
			})
		}
		wg.Wait()
		slices.Sort(epochs)
		if want := []int64{1, 2, 3, 4, 5, 6, 7, 8}; !slices.Equal(epochs, want) {
			t.Errorf("epochs %v, want %v", epochs, want)
		}
	})
}

func TestPruneKeepsOpenRanges(t *testing.T) {
	engines(t, func(t *testing.T, l *Ledger) {
		owner, _, _ := claim(t, l, 0)
		r := fix(t, owner, 0, 9)
		must(t, owner.InWarehouse(t.Context(), r, 10, 0))
		must(t, owner.InLake(t.Context(), r, nil))
		fix(t, owner, 10, 19)
		if n, err := l.Prune(t.Context(), time.Now().Add(-time.Hour)); err != nil || n != 0 {
			t.Errorf("pruned %d young ranges (%v)", n, err)
		}
		if n, err := l.Prune(t.Context(), time.Now().Add(time.Hour)); err != nil || n != 1 {
			t.Errorf("pruned %d ranges (%v), want the finished one", n, err)
		}
		through(t, l, 9)
	})
}
