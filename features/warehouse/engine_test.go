package warehouse

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"marquee/internal/testkit"
)

// The body ends before its declared length: what is there looks whole, row by row.
func TestInsertShorterThanDeclaredIsNotTaken(t *testing.T) {
	w := open(t, "embedded:")
	execute(t, w, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.child.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST /?%s HTTP/1.1\r\nHost: x\r\nX-ClickHouse-Key: %s\r\nContent-Length: 1000\r\n\r\n1\n2\n3\n",
		query("INSERT INTO t FORMAT TSV").Encode(), w.child.cfg.Token); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if status, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(status, " 500 ") {
		t.Errorf("answered %q, %v", status, err)
	}
	if n := count(t, w, "SELECT count() FROM t"); n != 0 {
		t.Errorf("%d rows of a broken insert are in", n)
	}
}

// The engine has functions that read standard input, on which the child listens to its parent.
func TestEngineNeitherReadsNorWaitsForTheParentsLine(t *testing.T) {
	w := open(t, "embedded:")
	execute(t, w, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	const fromInput = "INSERT INTO t SELECT a FROM input('a UInt64') FORMAT CSV"
	if status, text := call(t, w, query(fromInput), strings.NewReader("1\n2\n")); status != http.StatusInternalServerError || !strings.Contains(text, "takes no data") {
		t.Errorf("data for an INSERT … SELECT: %d %s", status, text)
	}
	for _, sql := range []string{fromInput, "SELECT * FROM file('/dev/stdin', 'CSV', 'a String')", "SELECT * FROM file('-', 'CSV', 'a String')"} {
		// What comes of it is the engine's affair; that it comes is not.
		call(t, w, query(sql), http.NoBody)
	}
	if n := count(t, w, "SELECT count() FROM t"); n != 0 {
		t.Errorf("%d rows from nowhere", n)
	}
	if w.child.process().began.IsZero() || w.Conn().Ping(t.Context()) != nil {
		t.Error("the child is not what it was")
	}
}

func TestWithoutAChildACallSaysWhy(t *testing.T) {
	cfg := DefaultConfig()
	cfg.DialTimeout = 3 * time.Second
	w, err := Open(t.Context(), cfg, t.TempDir(), testkit.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	missing := filepath.Join(t.TempDir(), "gone.so")
	w.child.cfg.Library = missing
	p := w.child.process()
	if err := p.kill(); err != nil {
		t.Fatal(err)
	}
	// The first calls may still meet the dying child's connections.
	deadline := time.Now().Add(30 * time.Second)
	for err = w.Conn().Ping(t.Context()); !strings.Contains(fmt.Sprint(err), missing); err = w.Conn().Ping(t.Context()) {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s the error is still %v, without the reason", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.child.dial(ctx, w.child.ln.Addr().String()); err == nil || !strings.Contains(err.Error(), "not running") {
		t.Errorf("dial = %v", err)
	}
}

func TestFolderInUseNamesItsHolder(t *testing.T) {
	dir := t.TempDir()
	open(t, "embedded:"+dir)
	cfg := DefaultConfig()
	cfg.URL = "embedded:" + dir
	if _, err := Open(t.Context(), cfg, "", testkit.Log(t)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("(%d)", os.Getpid())) {
		t.Errorf("second Open = %v, want this process's number", err)
	}
}

func TestURLsOwnLimitsHold(t *testing.T) {
	for dsn, want := range map[string]struct {
		open  int
		dial  time.Duration
		async any
	}{
		"clickhouse://h/d": {8, 30 * time.Second, 0},
		"clickhouse://h/d?max_open_conns=3&dial_timeout=2s&async_insert=1": {3, 2 * time.Second, 1},
	} {
		parsed, err := parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		complete(parsed.server, DefaultConfig())
		if o := parsed.server; o.MaxOpenConns != want.open || o.DialTimeout != want.dial || o.Settings["async_insert"] != want.async {
			t.Errorf("%s: %d connections, %s to dial, async_insert %v", dsn, o.MaxOpenConns, o.DialTimeout, o.Settings["async_insert"])
		}
	}
}

// A result of 1.5 GB goes through the child without ever being in it.
func TestResultsStreamInBoundedMemory(t *testing.T) {
	w := open(t, "embedded:")
	rows, err := w.Conn().Query(t.Context(), "SELECT repeat('x', 1000) FROM numbers(1500000)")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		n++
	}
	if err := rows.Err(); err != nil || n != 1_500_000 {
		t.Fatalf("%d rows, %v", n, err)
	}
	if peak := peakMemory(t, w.child.process().cmd.Process.Pid); peak > 800<<20 {
		t.Errorf("the child's peak was %d MB", peak>>20)
	}
}

// peakMemory is the most resident memory that a process had, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kilobytes, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "kB", 2)[0]))
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

func TestResultsTagIsItsOwn(t *testing.T) {
	w := open(t, "embedded:")
	u, err := url.Parse(w.DSN())
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery = query("SELECT throwIf(number = 3000000), number FROM numbers(4000000) SETTINGS max_threads = 1").Encode()
	tags := map[string]bool{}
	for range 2 {
		res, err := http.Get(u.String())
		if err != nil {
			t.Fatal(err)
		}
		tag := res.Header.Get("X-ClickHouse-Exception-Tag")
		tags[tag] = len(tag) == 16
		in := bufio.NewReader(res.Body)
		found := false
		for line := ""; err == nil; line, err = in.ReadString('\n') {
			found = found || strings.TrimSpace(line) == tag
		}
		if res.Body.Close(); !found {
			t.Errorf("the tag %q does not mark the error", tag)
		}
	}
	if len(tags) != 2 {
		t.Errorf("tags %v, want two of 16 bytes", tags)
	}
}
