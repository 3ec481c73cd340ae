package warehouse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"marquee/internal/native"
	"marquee/internal/testkit"
)

// TestMain lets the test binary be the engine's child, as main does, and the parent that a test kills.
func TestMain(m *testing.M) {
	if IsChild() {
		os.Exit(ChildMain())
	}
	if dir := os.Getenv("WAREHOUSE_TEST_PARENT"); dir != "" {
		os.Exit(parentMain(dir))
	}
	os.Exit(m.Run())
}

// needEngine leaves a test out where libchdb is not there.
func needEngine(t testing.TB) {
	t.Helper()
	if _, err := native.LibraryPath(native.ChDB); err != nil {
		testkit.LeftOut(t, "the embedded ClickHouse", err.Error())
	}
}

func open(t *testing.T, url string) *Warehouse {
	t.Helper()
	needEngine(t)
	cfg := DefaultConfig()
	cfg.URL = url
	w, err := Open(t.Context(), cfg, t.TempDir(), testkit.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func execute(t *testing.T, w *Warehouse, sql string, args ...any) {
	t.Helper()
	if err := w.Conn().Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func count(t *testing.T, w *Warehouse, sql string, args ...any) uint64 {
	t.Helper()
	var n uint64
	if err := w.Conn().QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// The same suite runs on the embedded engine, on its address as if it were a server's, and on a real server where
// MARQUEE_TEST_CLICKHOUSE_URL names one (no package registry carries a current one).
func TestConformance(t *testing.T) {
	embedded := open(t, "embedded:")
	t.Run("embedded", func(t *testing.T) { conform(t, embedded) })
	t.Run("http", func(t *testing.T) { conform(t, open(t, embedded.DSN())) })
	if url := os.Getenv("MARQUEE_TEST_CLICKHOUSE_URL"); url != "" {
		t.Run("server", func(t *testing.T) { conform(t, open(t, url)) })
	}
}

func conform(t *testing.T, w *Warehouse) {
	for test, run := range map[string]func(*testing.T, *Warehouse, string){
		"types":      testTypes,
		"columns":    testColumns,
		"parameters": testParameters,
		"settings":   testSettings,
		"exceptions": testExceptions,
		"broken":     testBrokenStream,
		"cancel":     testCancel,
		"sidebyside": testSideBySide,
		"million":    testMillion,
		"token":      testInsertToken,
		"inline":     testInlineData,
	} {
		t.Run(test, func(t *testing.T) {
			table := "conform_" + test
			execute(t, w, "DROP TABLE IF EXISTS "+table)
			run(t, w, table)
			execute(t, w, "DROP TABLE IF EXISTS "+table)
		})
	}
}

func testTypes(t *testing.T, w *Warehouse, table string) {
	execute(t, w, "CREATE TABLE "+table+" (id UUID, at DateTime64(6, 'UTC'), kind Enum8('a' = 1, 'b' = 2), low LowCardinality(String), n Nullable(UInt32), list Array(String), yes Bool) ENGINE = MergeTree ORDER BY id")
	type row struct {
		ID   uuid.UUID `ch:"id"`
		At   time.Time `ch:"at"`
		Kind string    `ch:"kind"`
		Low  string    `ch:"low"`
		N    *uint32   `ch:"n"`
		List []string  `ch:"list"`
		Yes  bool      `ch:"yes"`
	}
	seven := uint32(7)
	want := row{uuid.MustParse("0190a5c2-7b6e-7c3a-8f00-000000000001"), time.Date(2003, 2, 28, 17, 49, 50, 123456000, time.UTC), "b", "DE", &seven, []string{"x", "größe 'q'"}, true}
	batch, err := w.Conn().PrepareBatch(t.Context(), "INSERT INTO "+table)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []row{want, {ID: uuid.MustParse("ffffffff-7b6e-7c3a-8f00-000000000001"), At: time.UnixMicro(0), Kind: "a", List: []string{}}} {
		if err := batch.AppendStruct(&r); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	var got row
	if err := w.Conn().QueryRow(t.Context(), "SELECT * FROM "+table+" WHERE kind = 'b'").ScanStruct(&got); err != nil {
		t.Fatal(err)
	}
	if got.ID != want.ID || !got.At.Equal(want.At) || got.Kind != want.Kind || got.Low != want.Low || *got.N != 7 || got.List[1] != want.List[1] || !got.Yes {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func testColumns(t *testing.T, w *Warehouse, table string) {
	execute(t, w, "CREATE TABLE "+table+" (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
	batch, err := w.Conn().PrepareBatch(t.Context(), "INSERT INTO "+table+" (a, b)")
	if err != nil {
		t.Fatal(err)
	}
	a, b := make([]uint64, 100_000), make([]string, 100_000)
	for i := range a {
		a[i], b[i] = uint64(i), fmt.Sprint("row ", i)
	}
	if err := errors.Join(batch.Column(0).Append(a), batch.Column(1).Append(b), batch.Send()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, w, "SELECT countIf(b = concat('row ', toString(a))) FROM "+table); n != 100_000 {
		t.Errorf("%d rows are as they were sent", n)
	}
}

func testParameters(t *testing.T, w *Warehouse, _ string) {
	ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{"n": "41", "s": "it's \\ 'x'", "ends": "[3,4]"}))
	var n int64
	var s string
	if err := w.Conn().QueryRow(ctx, "SELECT toInt64({n:Int64} + 1 + {ends:Array(Int64)}[2]), {s:String}").Scan(&n, &s); err != nil {
		t.Fatal(err)
	}
	if n != 46 || s != "it's \\ 'x'" {
		t.Errorf("got %d, %q", n, s)
	}
	if n := count(t, w, "SELECT toUInt64(?) + length(?)", 40, "a'b\\"); n != 44 {
		t.Errorf("bound arguments gave %d", n)
	}
}

func testSettings(t *testing.T, w *Warehouse, _ string) {
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"max_threads": 3}))
	const ask = "SELECT toUInt64(getSetting('max_threads'))"
	var with uint64
	if err := w.Conn().QueryRow(ctx, ask).Scan(&with); err != nil {
		t.Fatal(err)
	}
	// The setting is the statement's, not the connection's: none of the pool's connections keeps it.
	for range 20 {
		if n := count(t, w, ask); with != 3 || n == 3 {
			t.Fatalf("max_threads is %d with the setting and %d without", with, n)
		}
	}
	if err := w.Conn().Exec(clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"no_such_setting": 1})), "SELECT 1"); err == nil {
		t.Error("an unknown setting is taken")
	}
}

func testExceptions(t *testing.T, w *Warehouse, table string) {
	for sql, code := range map[string]int32{
		"SELECT * FROM no_such_table":             60,
		"SELEKT 1":                                62,
		"DROP TABLE no_such_table":                60,
		"INSERT INTO no_such_table VALUES (1)":    60,
		"SELECT no_such_function(1)":              46,
		"CREATE TABLE " + table + " (a Nonsense)": 0,
	} {
		var ex *clickhouse.Exception
		if err := w.Conn().Exec(t.Context(), sql); !errors.As(err, &ex) {
			t.Errorf("%s: error %v carries no exception", sql, err)
		} else if code != 0 && ex.Code != code {
			t.Errorf("%s: code %d, want %d", sql, ex.Code, code)
		}
	}
	if n := count(t, w, "SELECT toUInt64(1)"); n != 1 {
		t.Error("no answer after errors")
	}
}

func testBrokenStream(t *testing.T, w *Warehouse, _ string) {
	rows, err := w.Conn().Query(t.Context(), "SELECT throwIf(number = 3000000), number FROM numbers(4000000) SETTINGS max_threads = 1, max_block_size = 65536")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		n++
	}
	if err := rows.Err(); err == nil || n == 0 || n >= 4_000_000 {
		t.Errorf("%d rows, then %v: want some rows and an error", n, err)
	}
}

func testCancel(t *testing.T, w *Warehouse, _ string) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rows, err := w.Conn().Query(ctx, "SELECT number FROM system.numbers")
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if !rows.Next() {
			t.Fatal(rows.Err())
		}
	}
	cancel()
	for rows.Next() {
	}
	if err := rows.Close(); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// What was cancelled is gone from the engine, not working on unseen.
	deadline := time.Now().Add(20 * time.Second)
	for {
		if count(t, w, "SELECT count() FROM system.processes WHERE query LIKE '%system.numbers%' AND query NOT LIKE '%processes%'") == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the cancelled query still runs after 20 s")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func testSideBySide(t *testing.T, w *Warehouse, _ string) {
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			var n uint64
			if err := w.Conn().QueryRow(t.Context(), "SELECT sum(number) + ? FROM numbers(100000)", i).Scan(&n); err != nil || n != 4999950000+uint64(i) {
				t.Errorf("query %d: %d, %v", i, n, err)
			}
		})
	}
	wg.Wait()
}

func testMillion(t *testing.T, w *Warehouse, table string) {
	const rows = 1_000_000
	execute(t, w, "CREATE TABLE "+table+" (id UInt64, s String) ENGINE = MergeTree ORDER BY id")
	for part := range 10 {
		batch, err := w.Conn().PrepareBatch(t.Context(), "INSERT INTO "+table)
		if err != nil {
			t.Fatal(err)
		}
		ids, texts := make([]uint64, rows/10), make([]string, rows/10)
		for i := range ids {
			ids[i], texts[i] = uint64(part*rows/10+i), "some text of a row"
		}
		if err := errors.Join(batch.Column(0).Append(ids), batch.Column(1).Append(texts), batch.Send()); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, w, "SELECT uniqExact(id) FROM "+table); n != rows {
		t.Fatalf("%d rows of %d", n, rows)
	}
	began := time.Now()
	all, err := w.Conn().Query(t.Context(), "SELECT id, s FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	n, sum := 0, uint64(0)
	for all.Next() {
		var id uint64
		var s string
		if err := all.Scan(&id, &s); err != nil {
			t.Fatal(err)
		}
		n, sum = n+1, sum+id
	}
	if err := all.Err(); err != nil || n != rows || sum != rows*(rows-1)/2 {
		t.Errorf("read %d rows, sum %d, %v", n, sum, err)
	}
	t.Logf("read %d rows in %s", n, time.Since(began))
}

func testInsertToken(t *testing.T, w *Warehouse, table string) {
	execute(t, w, "CREATE TABLE "+table+" (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100")
	send := func(token string, value uint64) {
		ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"insert_deduplicate": 1, "insert_deduplication_token": token}))
		batch, err := w.Conn().PrepareBatch(ctx, "INSERT INTO "+table)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(batch.Append(value), batch.Send()); err != nil {
			t.Fatal(err)
		}
	}
	send("0-0-99", 1)
	send("0-0-99", 1)
	send("0-100-199", 1)
	if n := count(t, w, "SELECT count() FROM "+table); n != 2 {
		t.Errorf("%d rows, want 2: one a token", n)
	}
}

func testInlineData(t *testing.T, w *Warehouse, table string) {
	execute(t, w, "CREATE TABLE "+table+" (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
	execute(t, w, "INSERT INTO "+table+" VALUES (1, 'FORMAT'), (2, 'it''s; -- x');")
	execute(t, w, "INSERT INTO "+table+" (a, b) FORMAT CSV\n3,\"x\"\n4,y\n")
	execute(t, w, "INSERT INTO "+table+" SELECT number, 'select' FROM numbers(5, 2)")
	if n := count(t, w, "SELECT sum(a) FROM "+table); n != 1+2+3+4+5+6 {
		t.Errorf("sum is %d", n)
	}
}

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"duckdb:x":                              "embedded:[DIR], clickhouse://",
		"":                                      "no known scheme",
		"clickhouse://u:hunter2@h:90x00/d":      "cannot be read",
		"clickhouse://u:hunt\"er2:hunter2/@h/d": "percent-encoded",
		"clickhouse://u:hunter2@h:9000/d?dial_timeout=x":        "dial timeout",
		"clickhouse://h:9000/d?password=hunter2&dial_timeout=x": "dial timeout",
		"mysql://u:hunter2@h":                                   "no known scheme",
	} {
		cfg := DefaultConfig()
		cfg.URL = url
		err := cfg.Validate()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Validate of %q = %v", url, err)
		}
	}
	for _, url := range []string{"embedded:", "embedded:/x", "clickhouse://u:p@h:9000,i:9000/d?dial_timeout=1s", "http://h:8123/d"} {
		cfg := DefaultConfig()
		cfg.URL = url
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestUnreachableServerIsNamedWithoutItsPassword(t *testing.T) {
	cfg := DefaultConfig()
	cfg.URL, cfg.DialTimeout = "clickhouse://u:hunter2@127.0.0.1:1/d", time.Second
	_, err := Open(t.Context(), cfg, t.TempDir(), testkit.Log(t))
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Open = %v", err)
	}
}

func TestMissingLibrarySaysHowToGetIt(t *testing.T) {
	t.Setenv("MARQUEE_NATIVE_DIR", t.TempDir())
	_, err := Open(t.Context(), DefaultConfig(), t.TempDir(), testkit.Log(t))
	if err == nil || !strings.Contains(err.Error(), "make setup") {
		t.Errorf("Open = %v", err)
	}
}

func TestWrongTokenIsRefused(t *testing.T) {
	w := open(t, "embedded:")
	cfg := DefaultConfig()
	cfg.URL = strings.Replace(w.DSN(), w.child.cfg.Token, "guess", 1)
	if _, err := Open(t.Context(), cfg, "", testkit.Log(t)); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("Open with a wrong token = %v", err)
	}
}

func TestOneProcessAFolder(t *testing.T) {
	dir := t.TempDir()
	open(t, "embedded:"+dir)
	cfg := DefaultConfig()
	cfg.URL = "embedded:" + dir
	if _, err := Open(t.Context(), cfg, "", testkit.Log(t)); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("second Open = %v", err)
	}
}

func TestKilledChildComesBackWithWhatWasAcknowledged(t *testing.T) {
	w := open(t, "embedded:")
	execute(t, w, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	acknowledged := map[uint64]bool{}
	killed := false
	for i := uint64(0); len(acknowledged) < 60 && i < 10_000; i++ {
		if len(acknowledged) == 30 && !killed {
			killed = true
			w.child.mu.Lock()
			pid := w.child.current.cmd.Process.Pid
			w.child.mu.Unlock()
			// The kill lands while inserts go on.
			go func() {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}()
		}
		batch, err := w.Conn().PrepareBatch(t.Context(), "INSERT INTO t")
		if err != nil {
			continue
		}
		if errors.Join(batch.Append(i), batch.Send()) == nil {
			acknowledged[i] = true
		}
	}
	if !killed || len(acknowledged) < 60 {
		t.Fatalf("killed %v, %d inserts acknowledged", killed, len(acknowledged))
	}
	rows, err := w.Conn().Query(t.Context(), "SELECT a FROM t")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var a uint64
		if err := rows.Scan(&a); err != nil {
			t.Fatal(err)
		}
		delete(acknowledged, a)
	}
	if err := rows.Err(); err != nil || len(acknowledged) > 0 {
		t.Errorf("%d acknowledged inserts are gone, %v", len(acknowledged), err)
	}
}
