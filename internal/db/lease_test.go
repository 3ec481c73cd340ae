package db

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"marquee/internal/testkit"
)

// long is a term no test outlives, so that what happens is never a matter of a slow machine.
const long = 10 * time.Minute

// TestMain lets the test binary play another process that has a lease and never lets go.
func TestMain(m *testing.M) {
	if url := os.Getenv("LEASE_HOLDER_URL"); url != "" {
		if err := holdLease(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// holdLease acquires, prints the token, and then holds on until its input ends or it is killed.
func holdLease(url string) error {
	d, err := Open(context.Background(), url, "")
	if err != nil {
		return err
	}
	ttl, err := time.ParseDuration(os.Getenv("LEASE_TTL"))
	if err != nil {
		return err
	}
	l, err := d.AwaitLease(context.Background(), "job", "child", ttl)
	if err != nil {
		return err
	}
	fmt.Println(l.Token())
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

func acquire(t *testing.T, d *DB, holder string, ttl time.Duration) *Lease {
	t.Helper()
	l, err := d.AcquireLease(t.Context(), "job", holder, ttl)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Release(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("release: %v", err)
		}
	})
	return l
}

// expire ends a lease's term in the database, as if its holder had been silent for all of it.
func expire(t *testing.T, d *DB) {
	t.Helper()
	if _, err := d.NewRaw("UPDATE leases SET expires_at = 1").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestLeaseIsHeldByOneAtATime(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		a, b := open(t, url), open(t, url)
		first := acquire(t, a, "first", long)
		_, err := b.AcquireLease(t.Context(), "job", "second", long)
		var held *HeldError
		if !errors.Is(err, ErrLeaseHeld) || !errors.As(err, &held) {
			t.Fatalf("second holder got %v, want ErrLeaseHeld", err)
		}
		if held.Holder != "first" || !strings.Contains(err.Error(), "first") {
			t.Errorf("error %q does not name the holder", err)
		}
		if left := time.Until(held.Expires); left < long/2 || left > 2*long {
			t.Errorf("held for another %s, want about %s", left, long)
		}
		if _, err := b.AcquireLease(t.Context(), "another job", "second", long); err != nil {
			t.Errorf("a lease of another name: %v", err)
		}
		if err := first.Check(t.Context(), a); err != nil {
			t.Error(err)
		}
		if err := first.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if first.Context().Err() == nil {
			t.Error("the context outlives the release")
		}
		if err := first.Check(t.Context(), a); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("check after release: %v", err)
		}
		second := acquire(t, b, "second", long)
		if second.Token() <= first.Token() {
			t.Errorf("tokens %d then %d, must grow", first.Token(), second.Token())
		}
	})
}

func TestTokensGrowForEver(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		last := int64(0)
		for range 5 {
			d, err := Open(t.Context(), url, "")
			if err != nil {
				t.Fatal(err)
			}
			l, err := d.AcquireLease(t.Context(), "job", "x", long)
			if err != nil {
				t.Fatal(err)
			}
			if l.Token() <= last {
				t.Errorf("token %d after %d", l.Token(), last)
			}
			last = l.Token()
			if err := errors.Join(l.Release(t.Context()), l.Release(t.Context()), d.Close()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestTakeoverAfterExpiry plays a holder that was paused past its term: whoever takes over has the right, and the old
// holder's next check fails whatever it believes.
func TestTakeoverAfterExpiry(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		a, b := open(t, url), open(t, url)
		old := acquire(t, a, "old", long)
		expire(t, a)
		if err := old.Check(t.Context(), a); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("check of an expired lease: %v", err)
		}
		successor := acquire(t, b, "successor", long)
		if err := old.Check(t.Context(), a); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("check after the takeover: %v", err)
		}
		if lost, err := old.prolong(t.Context()); !lost || err != nil {
			t.Errorf("renewal after the takeover: lost %v, %v", lost, err)
		}
		if err := old.Release(t.Context()); err != nil {
			t.Errorf("release of a lost lease: %v", err)
		}
		if err := successor.Check(t.Context(), b); err != nil {
			t.Errorf("the old holder's release hurt its successor: %v", err)
		}
	})
}

func TestALostLeaseCancelsItsContext(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := open(t, url)
		l := acquire(t, d, "x", 300*time.Millisecond)
		if _, err := d.NewRaw("UPDATE leases SET token = token + 1").Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-l.Context().Done()
		if cause := context.Cause(l.Context()); !errors.Is(cause, ErrLeaseLost) {
			t.Errorf("cause %v, want ErrLeaseLost", cause)
		}
	})
}

func TestALeaseEndsWhenTheDatabaseIsGone(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d, err := Open(t.Context(), url, "")
		if err != nil {
			t.Fatal(err)
		}
		l, err := d.AcquireLease(t.Context(), "job", "x", 300*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		<-l.Context().Done()
		if cause := context.Cause(l.Context()); !errors.Is(cause, ErrLeaseLost) {
			t.Errorf("cause %v, want ErrLeaseLost", cause)
		}
		if err := l.Release(t.Context()); err == nil {
			t.Error("release without a database did not say so")
		}
	})
}

func TestALeaseIsRenewed(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := open(t, url)
		expiry := func() (at int64) {
			if err := d.NewRaw("SELECT expires_at FROM leases WHERE name = 'job'").Scan(t.Context(), &at); err != nil {
				t.Fatal(err)
			}
			return at
		}
		l := acquire(t, d, "x", 3*time.Second)
		began := expiry()
		eventually(t, "the term was prolonged", func() bool { return expiry() > began })
		if err := l.Context().Err(); err != nil {
			t.Error(err)
		}
	})
}

// TestACheckHoldsOffATakeover is the fence itself: a transaction that has checked commits before any successor starts,
// even when the lease runs out meanwhile.
func TestACheckHoldsOffATakeover(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		a, b := open(t, url), open(t, url)
		old := acquire(t, a, "old", long)
		var committed atomic.Bool
		checked, contending := make(chan struct{}), make(chan struct{})
		together(func() {
			defer committed.Store(true)
			err := a.RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error {
				// The renewal's own statement must still be possible beside it on PostgreSQL.
				defer close(checked)
				if err := old.Check(ctx, tx); err != nil {
					return err
				}
				if _, err := tx.NewRaw("UPDATE leases SET expires_at = 1 WHERE name = 'job'").Exec(ctx); err != nil {
					return err
				}
				close(contending)
				committed.Store(true)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}, func() {
			<-contending
			l, err := b.AwaitLease(t.Context(), "job", "new", long)
			if err != nil {
				t.Error(err)
				return
			}
			if !committed.Load() {
				t.Error("took over while a checked transaction was open")
			}
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
		<-checked
	})
}

// TestRenewalGoesOnBesideACheckedTransaction would lose the lease of a job whose transaction outlasts the term.
func TestRenewalGoesOnBesideACheckedTransaction(t *testing.T) {
	d := open(t, testkit.NeedPostgres(t))
	l := acquire(t, d, "x", long)
	err := d.RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error {
		if err := l.Check(ctx, tx); err != nil {
			return err
		}
		lost, err := l.prolong(ctx) // on a connection of its own
		if lost {
			t.Error("lost")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestContendersNeverOverlap has several handles take turns at one lease; a plain counter tells whether two were ever
// inside at once, and every holder's write carries a greater token.
func TestContendersNeverOverlap(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		var inside atomic.Int32
		var last atomic.Int64
		contender := func(name string) func() {
			return func() {
				d, err := Open(t.Context(), url, "")
				if err != nil {
					t.Error(err)
					return
				}
				defer d.Close() //nolint:errcheck // nothing is read after
				for range 5 {
					l, err := d.AwaitLease(t.Context(), "job", name, 2*time.Second)
					if err != nil {
						t.Error(err)
						return
					}
					if inside.Add(1) != 1 {
						t.Error("two holders at once")
					}
					if before := last.Swap(l.Token()); before >= l.Token() {
						t.Errorf("token %d after %d", l.Token(), before)
					}
					inside.Add(-1)
					if err := l.Release(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		}
		together(contender("a"), contender("b"), contender("c"))
	})
}

// TestAKilledProcessLosesItsLease holds the lease in a second process, kills it, and takes over when the term ends.
func TestAKilledProcessLosesItsLease(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := open(t, url)
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), "LEASE_HOLDER_URL="+url, "LEASE_TTL=2s")
		child.Stderr = os.Stderr
		stdin, err := child.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer stdin.Close()
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var token int64
		if _, err := fmt.Fscan(stdout, &token); err != nil {
			t.Fatal(err)
		}
		_, err = d.AcquireLease(t.Context(), "job", "parent", long)
		if !errors.Is(err, ErrLeaseHeld) || !strings.Contains(err.Error(), "child") {
			t.Errorf("beside a living holder: %v", err)
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); err == nil {
			t.Error("the killed process ended well")
		}
		l, err := d.AwaitLease(t.Context(), "job", "parent", long)
		if err != nil {
			t.Fatal(err)
		}
		if l.Token() <= token {
			t.Errorf("token %d after the killed holder's %d", l.Token(), token)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAcquireRefuses(t *testing.T) {
	d := open(t, "sqlite:"+t.TempDir()+"/x.db")
	for _, tt := range []struct {
		name, holder string
		ttl          time.Duration
		want         string
	}{
		{"", "x", long, "must not be empty"},
		{"job", "", long, "must not be empty"},
		{"job", "x", time.Millisecond, "at least 10ms, is 1ms"},
	} {
		if _, err := d.AcquireLease(t.Context(), tt.name, tt.holder, tt.ttl); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("AcquireLease(%q, %q, %s) = %v, want %q", tt.name, tt.holder, tt.ttl, err, tt.want)
		}
	}
}

func TestAwaitLeaseGivesUpWithItsContext(t *testing.T) {
	d := open(t, "sqlite:"+t.TempDir()+"/x.db")
	acquire(t, d, "x", long)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := d.AwaitLease(ctx, "job", "y", long)
	if !errors.Is(err, ErrLeaseHeld) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("AwaitLease = %v, want held and given up", err)
	}
}

func TestOutliveLeaseWaitsForTheDeadOnly(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := open(t, url)
		dead := acquire(t, d, "dead", long)
		dead.stop() // no longer renewed, as if its process were gone
		<-dead.stopped
		if _, err := d.NewRaw("UPDATE leases SET expires_at = ? + 200000", d.clock()).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		l, err := d.OutliveLease(t.Context(), "job", "next", 600*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		// The next one lives, which whoever waits can tell from its renewals.
		if _, err := d.OutliveLease(t.Context(), "job", "third", 600*time.Millisecond); !errors.Is(err, ErrLeaseHeld) || !strings.Contains(err.Error(), "next") {
			t.Errorf("beside a living holder: %v", err)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
