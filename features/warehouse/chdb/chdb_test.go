package chdb

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"marquee/internal/native"
	"marquee/internal/testkit"
)

// The engine can be opened on one folder a process, so one test does it all.
func TestEngine(t *testing.T) {
	path, err := native.LibraryPath(native.ChDB)
	if err != nil {
		testkit.LeftOut(t, "libchdb", err.Error())
	}
	lib, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := lib.Connect(t.TempDir(), "--mark_cache_size=1048576")
	if err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]func(*testing.T, *Conn){"exec": testExec, "stream": testStream, "insert": testInsert, "folder": testOneFolder} {
		t.Run(name, func(t *testing.T) { run(t, c) })
	}
	c.Close()
	lib.Shutdown()
	if _, err := lib.Connect(t.TempDir()); err == nil {
		t.Error("a connection was opened after the shutdown")
	}
}

func exec(t *testing.T, c *Conn, sql string, params map[string]string) string {
	t.Helper()
	r, err := c.Exec(sql, "TSVRaw", params)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(r.Data))
}

func testExec(t *testing.T, c *Conn) {
	for name, want := range map[string]string{"it's \\ 'x'": "10", "größe": "7", "": "0"} {
		if got := exec(t, c, "SELECT length({s:String})", map[string]string{"s": strings.ReplaceAll(name, `\`, `\\`)}); got != want {
			t.Errorf("%q has length %s, want %s", name, got, want)
		}
	}
	if got := exec(t, c, "SELECT value FROM system.server_settings WHERE name = 'mark_cache_size'", nil); got != "1048576" {
		t.Errorf("the option came through as %s", got)
	}
	if _, err := c.Exec("SELECT * FROM nowhere", "Null", nil); err == nil || !strings.HasPrefix(err.Error(), "Code: 60.") {
		t.Errorf("a table that is not there: %v", err)
	}
}

func testStream(t *testing.T, c *Conn) {
	const rows = 1_000_000
	lines := 0
	err := c.Stream("SELECT number FROM numbers(1000000)", "TSV", nil, func(b []byte) error {
		lines += bytes.Count(b, []byte("\n"))
		return nil
	})
	if err != nil || lines != rows {
		t.Errorf("%d of %d rows, %v", lines, rows, err)
	}
	enough := errors.New("enough")
	if err := c.Stream("SELECT number FROM system.numbers", "TSV", nil, func([]byte) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a stream that its reader broke off ended with %v", err)
	}
	if err := c.Stream("SELECT throwIf(number = 900000) FROM numbers(1000000)", "TSV", nil, func([]byte) error { return nil }); err == nil || !strings.HasPrefix(err.Error(), "Code: 395.") {
		t.Errorf("a stream that broke in the middle ended with %v", err)
	}
	if got := exec(t, c, "SELECT 1", nil); got != "1" {
		t.Errorf("after broken streams the connection says %s", got)
	}
}

func testInsert(t *testing.T, c *Conn) {
	exec(t, c, "CREATE TABLE t (a UInt64) ENGINE = Memory", nil)
	begin := func() *Insert {
		in, err := c.Insert("INSERT INTO {table:Identifier} ", "CSV", map[string]string{"table": "t"})
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	in := begin()
	for _, piece := range []string{"1\n2", "3\n", "", "4\n"} {
		if _, err := in.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := in.Done(); err != nil || r.RowsWritten != 3 {
		t.Errorf("Done = %+v, %v; want 3 rows", r, err)
	}
	in = begin()
	if _, err := in.Write([]byte("5\n6\n")); err != nil {
		t.Fatal(err)
	}
	in.Cancel()
	in = begin()
	_, err := in.Write([]byte("no number\n"))
	if err == nil {
		_, err = in.Done()
	} else {
		in.Cancel()
	}
	if err == nil {
		t.Error("text is taken for a number")
	}
	if got := exec(t, c, "SELECT sum(a) FROM t", nil); got != "28" {
		t.Errorf("the sum is %s, want 1 + 23 + 4", got)
	}
	if _, err := c.Insert("INSERT INTO nowhere ", "CSV", nil); err == nil {
		t.Error("an INSERT into a table that is not there began")
	}
}

func testOneFolder(t *testing.T, c *Conn) {
	if _, err := c.lib.Connect(t.TempDir()); err == nil {
		t.Error("a second folder was opened")
	}
}

func TestLoadOfSomethingElse(t *testing.T) {
	if _, err := Load(t.TempDir() + "/none.so"); err == nil || !strings.Contains(err.Error(), "none.so") {
		t.Errorf("Load = %v", err)
	}
}
