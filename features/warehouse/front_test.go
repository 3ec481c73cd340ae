package warehouse

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/klauspost/compress/zstd"
)

// call sends one HTTP request to the embedded engine, as curl would.
func call(t *testing.T, w *Warehouse, params url.Values, body io.Reader, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.child.ln.Addr().String()+"/?"+params.Encode(), body)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("default", w.child.cfg.Token)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func query(sql string) url.Values { return url.Values{"query": {sql}} }

// connect opens a client of the embedded engine with options of its own.
func connect(t *testing.T, w *Warehouse, change func(*clickhouse.Options)) driver.Conn {
	t.Helper()
	o := w.child.options()
	change(o)
	conn, err := clickhouse.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func TestAStatementLeavesNothingInTheSession(t *testing.T) {
	w := open(t, "embedded:")
	execute(t, w, "CREATE DATABASE other")
	execute(t, w, "CREATE TABLE other.only_there (a UInt8) ENGINE = Memory")
	for _, leaves := range []string{"SET max_threads = 7", "USE other", "CREATE TEMPORARY TABLE mine (a UInt8)"} {
		if status, text := call(t, w, nil, strings.NewReader(leaves)); status != 200 {
			t.Fatalf("%s: %d %s", leaves, status, text)
		}
	}
	if status, text := call(t, w, url.Values{"database": {"other"}, "readonly": {"1"}}, strings.NewReader("SELECT count() FROM only_there")); status != 200 || text != "0\n" {
		t.Fatalf("a read-only query in another database: %d %s", status, text)
	}
	if n := count(t, w, "SELECT toUInt64(getSetting('readonly')) + (getSetting('max_threads') = 7) + (currentDatabase() != 'default')"); n != 0 {
		t.Errorf("%d of what was set is still there", n)
	}
	execute(t, w, "CREATE TABLE made_after_readonly (a UInt8) ENGINE = Memory")
	if status, _ := call(t, w, nil, strings.NewReader("SELECT * FROM mine")); status == 200 {
		t.Error("another request's temporary table is there")
	}
	if status, text := call(t, w, url.Values{"database": {"nowhere"}}, strings.NewReader("SELECT 1")); status == 200 || exceptionCode(text) != "81" {
		t.Errorf("a database that is not there: %d %s", status, text)
	}
}

func TestWhatTheFrontCannotDoItSays(t *testing.T) {
	w := open(t, "embedded:")
	for name, c := range map[string]struct {
		params url.Values
		body   string
		header string
		want   string
	}{
		"session":    {url.Values{"session_id": {"x"}}, "SELECT 1", "", "session_id"},
		"role":       {url.Values{"role": {"x"}}, "SELECT 1", "", "role"},
		"encoding":   {nil, "SELECT 1", "br", "gzip, deflate, zstd"},
		"not gzip":   {nil, "SELECT 1", "gzip", "gzip"},
		"setting":    {url.Values{"a b": {"1"}}, "SELECT 1", "", "no setting"},
		"two":        {nil, "SELECT 1; SELECT 2", "", "several statements"},
		"empty":      {nil, " -- nothing\n", "", "empty"},
		"no data":    {query("INSERT INTO t FORMAT CSV"), "", "", "no data"},
		"implicit":   {nil, "1 + 1", "", "SYNTAX_ERROR"},
		"block":      {url.Values{"decompress": {"1"}}, "no block of compressed data, this", "", "read the statement"},
		"no columns": {nil, "--b\r\nContent-Disposition: form-data; name=\"x\"; filename=\"\"\r\n\r\n1\r\n--b--\r\n", "multipart", "x_structure"},
	} {
		t.Run(name, func(t *testing.T) {
			execute(t, w, "CREATE TABLE IF NOT EXISTS t (a UInt8) ENGINE = Memory")
			headers := []string{"Content-Encoding", c.header}
			if c.header == "multipart" {
				headers = []string{"Content-Type", "multipart/form-data; boundary=b"}
			}
			status, text := call(t, w, c.params, strings.NewReader(c.body), headers...)
			if status != http.StatusInternalServerError || !strings.Contains(text, c.want) || exceptionCode(text) == "" {
				t.Errorf("%d %s; want an exception with %q", status, text, c.want)
			}
		})
	}
}

func compressed(t *testing.T, encoding, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	var z io.WriteCloser
	var err error
	switch encoding {
	case "gzip":
		z = gzip.NewWriter(&b)
	case "deflate":
		z = zlib.NewWriter(&b)
	case "zstd":
		z, err = zstd.NewWriter(&b)
	case "blocks":
		for _, half := range []string{text[:len(text)/2], text[len(text)/2:]} {
			c := compress.NewWriter(compress.LevelZero, compress.LZ4)
			if err := c.Compress([]byte(half)); err != nil {
				t.Fatal(err)
			}
			b.Write(c.Data)
		}
		return b.Bytes()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Whatever the compression, whole bodies are taken and cut ones refused without a row of them.
func TestCompressedBodiesAndCutOnes(t *testing.T) {
	w := open(t, "embedded:")
	var rows strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&rows, "%d,some text of row %d\n", i, i*i)
	}
	for _, encoding := range []string{"gzip", "deflate", "zstd", "blocks"} {
		t.Run(encoding, func(t *testing.T) {
			execute(t, w, "CREATE OR REPLACE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
			params, header := query("INSERT INTO t FORMAT CSV"), encoding
			if encoding == "blocks" {
				params.Set("decompress", "1")
				header = ""
			}
			whole := compressed(t, encoding, rows.String())
			for _, cut := range []int{1, 30, len(whole) / 2, len(whole) - 1} {
				if status, text := call(t, w, params, bytes.NewReader(whole[:cut]), "Content-Encoding", header); status == 200 {
					t.Errorf("a body cut after %d of %d bytes is acknowledged: %s", cut, len(whole), text)
				}
			}
			if n := count(t, w, "SELECT count() FROM t"); n != 0 {
				t.Errorf("%d rows of refused bodies are in", n)
			}
			if status, text := call(t, w, params, bytes.NewReader(whole), "Content-Encoding", header); status != 200 {
				t.Fatalf("%d %s", status, text)
			}
			if n := count(t, w, "SELECT countIf(b = concat('some text of row ', toString(a * a))) FROM t"); n != 10_000 {
				t.Errorf("%d of 10000 rows are in", n)
			}
		})
	}
}

// A client that dies in mid-insert leaves no row behind, at whatever byte it dies.
func TestClientGoneInMidInsert(t *testing.T) {
	w := open(t, "embedded:")
	execute(t, w, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	token := w.child.cfg.Token
	for _, chunks := range []int{0, 1, 50} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.child.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		fmt.Fprintf(&b, "POST /?%s HTTP/1.1\r\nHost: x\r\nX-ClickHouse-Key: %s\r\nTransfer-Encoding: chunked\r\n\r\n", query("INSERT INTO t FORMAT TSV").Encode(), token)
		for i := range chunks {
			rows := strings.Repeat(fmt.Sprintf("%d\n", i), 1000)
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(rows), rows)
		}
		if _, err := io.WriteString(conn, b.String()); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(answer), "the data broke off") {
			t.Errorf("after %d chunks: %s", chunks, answer)
		}
	}
	if n := count(t, w, "SELECT count() FROM t"); n != 0 {
		t.Errorf("%d rows of broken inserts are in", n)
	}
}

// Every format's rows arrive, wherever the pieces that the body comes in are cut.
func TestInsertFormats(t *testing.T) {
	w := open(t, "embedded:")
	const rows = 30_000
	for _, format := range []string{"Native", "RowBinary", "CSV", "TabSeparated", "JSONEachRow", "Values", "Parquet"} {
		t.Run(format, func(t *testing.T) {
			execute(t, w, "CREATE OR REPLACE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
			_, data := call(t, w, nil, strings.NewReader(fmt.Sprintf("SELECT number AS a, concat('it''s, row ', toString(number)) AS b FROM numbers(%d) FORMAT %s", rows, format)))
			want := "SELECT countIf(b = concat('it''s, row ', toString(a))) FROM t"
			if status, text := call(t, w, query("INSERT INTO t FORMAT "+format), &trickle{data: data, size: 4099}); status != 200 {
				t.Fatal(text)
			}
			if n := count(t, w, want); n != rows {
				t.Errorf("%d of %d rows came in beside the statement", n, rows)
			}
			execute(t, w, "TRUNCATE TABLE t")
			if status, text := call(t, w, nil, strings.NewReader("INSERT INTO t FORMAT "+format+"\n"+data)); status != 200 {
				t.Fatal(text)
			}
			if n := count(t, w, want); n != rows {
				t.Errorf("%d of %d rows came in behind the statement", n, rows)
			}
		})
	}
}

// trickle gives data in pieces.
type trickle struct {
	data string
	size int
}

func (t *trickle) Read(p []byte) (int, error) {
	if t.data == "" {
		return 0, io.EOF
	}
	n := copy(p, t.data[:min(t.size, len(t.data))])
	t.data = t.data[n:]
	return n, nil
}

func TestInsertWithParametersKeepsItsData(t *testing.T) {
	w := open(t, "embedded:")
	execute(t, w, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{"unused": "1"}))
	batch, err := w.Conn().PrepareBatch(ctx, "INSERT INTO t")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(batch.Append(uint64(7)), batch.Send()); err != nil {
		t.Fatal(err)
	}
	ctx = clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{"table": "t", "a": "8"}))
	if err := w.Conn().Exec(ctx, "INSERT INTO {table:Identifier} VALUES ({a:UInt64})"); err != nil {
		t.Fatal(err)
	}
	if n := count(t, w, "SELECT sum(a) FROM t"); n != 15 {
		t.Errorf("the sum is %d, want 15", n)
	}
}

func TestExternalTables(t *testing.T) {
	w := open(t, "embedded:")
	table, err := ext.NewTable("wanted", ext.Column("id", "UInt64"), ext.Column("name", "String"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if err := table.Append(uint64(i), fmt.Sprint("name ", i)); err != nil {
			t.Fatal(err)
		}
	}
	ctx := clickhouse.Context(t.Context(), clickhouse.WithExternalTable(table))
	for range 2 {
		var n uint64
		if err := w.Conn().QueryRow(ctx, "SELECT countIf(name = concat('name ', toString(id))) FROM wanted WHERE id IN (SELECT number FROM numbers(500))").Scan(&n); err != nil || n != 500 {
			t.Errorf("%d, %v; want 500 rows of the external table", n, err)
		}
	}
	if err := w.Conn().Exec(t.Context(), "SELECT * FROM wanted"); err == nil {
		t.Error("the external table outlived its query")
	}
}

func TestClientCompression(t *testing.T) {
	w := open(t, "embedded:")
	for _, method := range []clickhouse.CompressionMethod{clickhouse.CompressionLZ4, clickhouse.CompressionZSTD, clickhouse.CompressionGZIP, clickhouse.CompressionDeflate} {
		t.Run(method.String(), func(t *testing.T) {
			conn := connect(t, w, func(o *clickhouse.Options) {
				o.Compression = &clickhouse.Compression{Method: method, Level: 3}
			})
			execute(t, w, "CREATE OR REPLACE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
			batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO t")
			if err != nil {
				t.Fatal(err)
			}
			const rows = 200_000
			for i := range uint64(rows) {
				if err := batch.Append(i, fmt.Sprint("row ", i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := batch.Send(); err != nil {
				t.Fatal(err)
			}
			n, err := readAll(t.Context(), conn, "SELECT a, b FROM t")
			if err != nil || n != rows {
				t.Errorf("read %d of %d rows, %v", n, rows, err)
			}
			n, err = readAll(t.Context(), conn, "SELECT number AS a, toString(throwIf(number = 3000000)) AS b FROM numbers(4000000) SETTINGS max_threads = 1, max_block_size = 65536")
			var ex *clickhouse.Exception
			if n == 0 || !errors.As(err, &ex) || ex.Code != 395 {
				t.Errorf("a broken stream gave %d rows, then %v; want the exception 395", n, err)
			}
			if err := conn.Exec(t.Context(), "SELECT * FROM no_such_table"); !errors.As(err, &ex) || ex.Code != 60 {
				t.Errorf("%v; want the exception 60", err)
			}
		})
	}
}

func readAll(ctx context.Context, conn driver.Conn, sql string) (int, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var a uint64
		var b string
		if err := rows.Scan(&a, &b); err != nil {
			return n, err
		}
		n++
	}
	return n, rows.Err()
}

func TestEngineIsInUTCWhereverTheMachineIs(t *testing.T) {
	t.Setenv("TZ", "Asia/Tokyo")
	w := open(t, "embedded:")
	var zone, text string
	var at time.Time
	if err := w.Conn().QueryRow(t.Context(), "SELECT timezone(), toString(toDateTime(0)), toDateTime(0)").Scan(&zone, &text, &at); err != nil {
		t.Fatal(err)
	}
	if zone != "UTC" || text != "1970-01-01 00:00:00" || at.Unix() != 0 {
		t.Errorf("zone %s, the epoch is %s and %s", zone, text, at)
	}
}

// More results may be open at once than any pool of connections that a process would have.
func TestManyOpenResults(t *testing.T) {
	w := open(t, "embedded:")
	conn := connect(t, w, func(o *clickhouse.Options) { o.MaxOpenConns, o.MaxIdleConns = 100, 100 })
	for i := range 60 {
		rows, err := conn.Query(t.Context(), "SELECT number FROM numbers(3000000)")
		if err != nil {
			t.Fatalf("result %d: %v", i, err)
		}
		defer rows.Close()
	}
	if n := count(t, w, "SELECT toUInt64(1)"); n != 1 {
		t.Error("no answer while results are open")
	}
}
