package warehouse

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"marquee/internal/testkit"
)

func (s *supervisor) process() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// running waits until a statement that contains text runs in the engine, or until none does.
func running(t *testing.T, w *Warehouse, text string, want bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for (count(t, w, "SELECT count() FROM system.processes WHERE query LIKE ? AND query NOT LIKE '%system.processes%'", "%"+text+"%") > 0) != want {
		if time.Now().After(deadline) {
			t.Fatalf("after 20 s, that %q runs is still %v", text, !want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// None of these gives a byte before it ends, so only a kill ends them.
func endless() map[string]string {
	return map[string]string{
		"aggregate": "SELECT sum(number) FROM system.numbers",
		"sleep":     "SELECT count(sleepEachRow(1)) FROM numbers(100000) SETTINGS function_sleep_max_microseconds_per_block = 0",
	}
}

func TestCancelEndsWhatGivesNoResult(t *testing.T) {
	w := open(t, "embedded:")
	for name, sql := range endless() {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- w.Conn().Exec(ctx, sql) }()
			running(t, w, sql[:20], true)
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: the cancelled call returned %v", sql, err)
			}
			running(t, w, sql[:20], false)
		})
	}
}

// What changes the warehouse is not left half done: it goes on to its end when its caller gives up.
func TestCancelledChangeEndsWhole(t *testing.T) {
	w := open(t, "embedded:")
	execute(t, w, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	const sql = "INSERT INTO t SELECT number + sleepEachRow(0.1) FROM numbers(10) SETTINGS max_block_size = 1"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.Conn().Exec(ctx, sql) }()
	running(t, w, "INSERT INTO t", true)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled call returned %v", err)
	}
	running(t, w, "INSERT INTO t", false)
	if n := count(t, w, "SELECT count() FROM t"); n != 10 {
		t.Errorf("%d of 10 rows are in", n)
	}
}

func TestCloseEndsAChangeThatDoesNot(t *testing.T) {
	w := open(t, "embedded:")
	execute(t, w, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	ended := make(chan error, 1)
	go func() {
		ended <- w.Conn().Exec(context.Background(), "INSERT INTO t SELECT number FROM system.numbers WHERE sipHash64(number) = 1")
	}()
	running(t, w, "INSERT INTO t", true)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the endless statement ended well")
	}
}

// A statement whose client is gone before it begins is ended as well.
func TestCancelRightAfterTheCall(t *testing.T) {
	w := open(t, "embedded:")
	for range 30 {
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		if err := w.Conn().Exec(ctx, "SELECT sum(number) FROM system.numbers"); !errors.Is(err, context.Canceled) {
			t.Errorf("the cancelled call returned %v", err)
		}
	}
	running(t, w, "system.numbers", false)
}

func TestCloseWhileStatementsRun(t *testing.T) {
	w := open(t, "embedded:")
	p := w.child.process()
	var wg sync.WaitGroup
	for _, sql := range endless() {
		wg.Go(func() {
			if err := w.Conn().Exec(t.Context(), sql); err == nil {
				t.Errorf("%s ended well", sql)
			}
		})
		running(t, w, sql[:20], true)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	<-p.exited
	if p.err != nil {
		t.Errorf("the child did not end cleanly: %v", p.err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestChildKilledInMidResult(t *testing.T) {
	w := open(t, "embedded:")
	rows, err := w.Conn().Query(t.Context(), "SELECT number FROM system.numbers")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if !rows.Next() {
		t.Fatal(rows.Err())
	}
	p := w.child.process()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
	}
	if rows.Err() == nil {
		t.Error("a result that the engine never finished ends like one that it did")
	}
	<-p.exited
	deadline := time.Now().Add(30 * time.Second)
	for err = w.Conn().Ping(t.Context()); err != nil; err = w.Conn().Ping(t.Context()) {
		if time.Now().After(deadline) {
			t.Fatalf("no answer 30 s after the kill: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Close does not wait for a child that cannot start: here the library is gone when the child is to be replaced.
func TestCloseWhileTheChildCannotStart(t *testing.T) {
	w := open(t, "embedded:")
	p := w.child.process()
	w.child.cfg.Library = filepath.Join(t.TempDir(), "gone.so")
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.exited
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenSaysWhyTheEngineDidNotStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.URL = "embedded:" + filepath.Join(file, "below")
	if _, err := Open(t.Context(), cfg, "", testkit.Log(t)); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("Open below a file = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg.URL = "embedded:" + t.TempDir()
	if _, err := Open(ctx, cfg, "", testkit.Log(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a context that is over = %v", err)
	}
}

func TestLongLinesDoNotBlockTheChild(t *testing.T) {
	s := &supervisor{log: slog.New(slog.DiscardHandler)}
	r, out := io.Pipe()
	ready := make(chan string, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.listen(r, ready)
	}()
	for _, line := range []string{"loading", strings.Repeat("x", 1<<20), "ready 1.2.3", "ready again", "error x"} {
		if _, err := io.WriteString(out, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	<-done
	if line := <-ready; line != "ready 1.2.3" {
		t.Errorf("the answer is %q", line)
	}
}
