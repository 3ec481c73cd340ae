package warehouse

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	chproto "github.com/ClickHouse/ch-go/proto"

	"marquee/features/warehouse/chdb"
	"marquee/features/warehouse/sqltoken"
)

// maxStatement bounds a statement's text; the data of an INSERT that comes beside it has no bound, as it is streamed.
const maxStatement = 64 << 20

// front speaks ClickHouse's HTTP interface for the engine, as far as clickhouse-go and curl use it. It answers the
// client's hello itself, with revision 0: the engine writes Native blocks in that revision's form.
type front struct {
	lib     *chdb.Library
	dir     string
	token   string
	version string
	pool    chan *chdb.Conn
	admin   chan *chdb.Conn // one connection, for KILL QUERY
}

func newFront(lib *chdb.Library, dir, token string, connections int) (*front, error) {
	f := &front{lib: lib, dir: dir, token: token, pool: make(chan *chdb.Conn, connections), admin: make(chan *chdb.Conn, 1)}
	for i := range connections + 1 {
		c, err := lib.Connect(dir)
		if err != nil {
			return nil, err
		}
		if i == connections {
			f.admin <- c
			break
		}
		f.pool <- c
	}
	c := <-f.pool
	r, err := c.Exec("SELECT version()", "TSVRaw", nil)
	f.pool <- c
	if err != nil {
		return nil, fmt.Errorf("ask the engine its version: %w", err)
	}
	f.version = strings.TrimSpace(string(r.Data))
	return f, nil
}

// close closes every connection, waiting a while for those in use.
func (f *front) close(wait time.Duration) error {
	deadline := time.After(wait)
	for range cap(f.pool) {
		select {
		case c := <-f.pool:
			c.Close()
		case <-deadline:
			return errors.New("a query did not end; leaving without a clean shutdown")
		}
	}
	select {
	case c := <-f.admin:
		c.Close()
	case <-deadline:
		return errors.New("a KILL QUERY did not end; leaving without a clean shutdown")
	}
	return f.lib.Shutdown()
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ping" {
		f.text(w, "Ok.\n")
		return
	}
	if !f.authorized(r) {
		w.Header().Set("X-ClickHouse-Exception-Code", "516")
		http.Error(w, "Code: 516. DB::Exception: the token is wrong (AUTHENTICATION_FAILED)", http.StatusForbidden)
		return
	}
	q, err := readRequest(r)
	if err != nil {
		fail(w, err)
		return
	}
	var c *chdb.Conn
	select {
	case c = <-f.pool:
	case <-r.Context().Done():
		return
	}
	defer func() { f.pool <- c }()
	reset, err := f.prepare(c, q)
	if err != nil {
		fail(w, err)
		return
	}
	f.run(w, r, c, q)
	if err := reset(); err != nil {
		// A connection with a stranger's settings must not be used again.
		c.Close()
		if c, err = f.lib.Connect(f.dir); err != nil {
			panic(fmt.Sprintf("replace a connection: %v", err))
		}
	}
}

func (f *front) text(w http.ResponseWriter, s string) {
	// The client is gone when this fails.
	fmt.Fprint(w, s)
}

func (f *front) authorized(r *http.Request) bool {
	got := r.Header.Get("X-ClickHouse-Key")
	if _, password, ok := r.BasicAuth(); ok {
		got = password
	}
	if got == "" {
		got = r.URL.Query().Get("password")
	}
	return subtle.ConstantTimeCompare([]byte(got), []byte(f.token)) == 1
}

// request is a call as the engine needs it.
type request struct {
	sql       string
	statement sqltoken.Statement
	data      io.Reader // of an INSERT, beside the statement
	format    string
	database  string
	settings  []setting
	params    map[string]string
	compress  string // LZ4, ZSTD or nothing
	mark      string // names the query to KILL QUERY
}

type setting struct{ name, value string }

// notSettings are the URL parameters of ClickHouse's HTTP interface that are not settings of the engine.
func notSettings() []string {
	return []string{"query", "database", "default_format", "client_protocol_version", "query_id", "quota_key", "session_id",
		"session_timeout", "session_check", "compress", "decompress", "network_compression_method", "network_zstd_compression_level",
		"user", "password", "wait_end_of_query", "buffer_size", "role", "stacktrace", "enable_http_compression",
		"send_progress_in_http_headers", "http_headers_progress_interval_ms", "log_comment"}
}

func readRequest(r *http.Request) (*request, error) {
	v := r.URL.Query()
	q := &request{format: v.Get("default_format"), database: v.Get("database"), params: map[string]string{}, mark: newMark()}
	if q.format == "" {
		q.format = "TabSeparated"
	}
	if v.Get("compress") == "1" {
		q.compress = "LZ4"
		if v.Get("network_compression_method") == "ZSTD" {
			q.compress = "ZSTD"
		}
	}
	q.readSettings(v)
	body := io.Reader(r.Body)
	if v.Get("decompress") == "1" {
		body = compress.NewReader(body)
	}
	if q.sql = v.Get("query"); q.sql != "" {
		q.statement = sqltoken.Classify(q.sql)
		if q.statement.Class == sqltoken.Insert {
			q.data = body
			return q, nil
		}
	}
	rest, err := io.ReadAll(io.LimitReader(body, maxStatement+1))
	if err != nil {
		return nil, fmt.Errorf("read the statement: %w", err)
	}
	if len(rest) > maxStatement {
		return nil, fmt.Errorf("the statement is longer than %d bytes; give an INSERT's data beside it, with the statement in the query parameter", maxStatement)
	}
	q.sql = strings.TrimSpace(q.sql + "\n" + string(rest))
	q.statement = sqltoken.Classify(q.sql)
	return q, nil
}

func (q *request) readSettings(v url.Values) {
	for name, values := range v {
		if p, ok := strings.CutPrefix(name, "param_"); ok {
			q.params[p] = values[0]
		} else if !slices.Contains(notSettings(), name) {
			q.settings = append(q.settings, setting{name, values[0]})
		}
	}
	q.settings = append(q.settings, setting{"log_comment", q.mark})
}

func newMark() string {
	b := make([]byte, 12)
	rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}

// prepare puts the connection into the request's database and settings; the function it returns takes the settings back.
func (f *front) prepare(c *chdb.Conn, q *request) (reset func() error, err error) {
	database := q.database
	if database == "" {
		database = "default"
	}
	if _, err := c.Exec("USE "+quoteName(database), "Null", nil); err != nil {
		return nil, err
	}
	set, unset := make([]string, len(q.settings)), make([]string, len(q.settings))
	for i, s := range q.settings {
		if !isName(s.name) {
			return nil, fmt.Errorf("Code: 115. DB::Exception: %q is no setting (UNKNOWN_SETTING)", s.name)
		}
		set[i], unset[i] = s.name+" = "+quoteText(s.value), s.name+" = DEFAULT"
	}
	reset = func() error {
		_, err := c.Exec("SET "+strings.Join(unset, ", "), "Null", nil)
		return err
	}
	if _, err := c.Exec("SET "+strings.Join(set, ", "), "Null", nil); err != nil {
		return nil, errors.Join(err, reset())
	}
	return reset, nil
}

func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return s != ""
}

func quoteName(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}

func quoteText(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// helloStatement is what clickhouse-go asks first on every connection.
const helloStatement = "SELECT displayName(), version(), revision(), timezone()"

func (f *front) run(w http.ResponseWriter, r *http.Request, c *chdb.Conn, q *request) {
	out := newOutput(w, q)
	switch {
	case q.sql == helloStatement:
		if err := f.hello(out); err != nil {
			fail(w, err)
		}
	case q.statement.Class == sqltoken.Insert && len(q.params) == 0:
		f.insert(w, r, c, q)
	case q.statement.Class == sqltoken.Query:
		f.query(w, r, c, q, out)
	default:
		stop := f.killOnCancel(r.Context(), q.mark)
		res, err := c.Exec(q.sql, q.format, q.params)
		stop()
		if err != nil {
			fail(w, err)
			return
		}
		w.Header().Set("X-ClickHouse-Summary", fmt.Sprintf(`{"read_rows":"%d","written_rows":"%d"}`, res.RowsRead, res.RowsWritten))
		out.write(res.Data)
	}
}

// query streams a result. An error after the first bytes goes out in the form the client looks for at the end of a
// broken stream.
func (f *front) query(w http.ResponseWriter, r *http.Request, c *chdb.Conn, q *request, out *output) {
	stop := f.killOnCancel(r.Context(), q.mark)
	err := c.Stream(q.sql, q.format, q.params, func(b []byte) error {
		if err := r.Context().Err(); err != nil {
			return err
		}
		return out.write(b)
	})
	stop()
	switch {
	case err == nil || r.Context().Err() != nil:
	case !out.started:
		fail(w, err)
	default:
		const tag = "marqueemarqueema" // 16 bytes, as the client expects
		msg := err.Error()
		fmt.Fprintf(w, "\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n", tag, msg, len(msg), tag)
	}
}

func (f *front) insert(w http.ResponseWriter, r *http.Request, c *chdb.Conn, q *request) {
	in, err := c.Insert(q.statement.Target, q.statement.Format)
	if err != nil {
		fail(w, err)
		return
	}
	data := io.Reader(strings.NewReader(q.statement.Data))
	if q.data != nil {
		data = io.MultiReader(data, q.data)
	}
	if err := feed(in, data); err != nil {
		in.Cancel()
		fail(w, err)
		return
	}
	res, err := in.Done()
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("X-ClickHouse-Summary", fmt.Sprintf(`{"written_rows":"%d"}`, res.RowsWritten))
}

func feed(in *chdb.Insert, data io.Reader) error {
	buf := make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(data, buf)
		if _, werr := in.Write(buf[:n]); werr != nil {
			return werr
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && n < len(buf) && isEnd(data):
			return nil
		case err != nil:
			return fmt.Errorf("the data broke off: %w", err)
		}
	}
}

// isEnd tells a body that ended from one that was cut: reading on gives a clean end only for the first.
func isEnd(data io.Reader) bool {
	n, err := data.Read(make([]byte, 1))
	return n == 0 && errors.Is(err, io.EOF)
}

// killOnCancel kills the marked query when the client goes away; without it, the engine works on and hangs the process at
// its end. The function it returns must be called when the query is over.
func (f *front) killOnCancel(ctx context.Context, mark string) (stop func()) {
	over := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-over:
			return
		case <-ctx.Done():
		}
		c := <-f.admin
		defer func() { f.admin <- c }()
		if _, err := c.Exec("KILL QUERY WHERE Settings['log_comment'] = "+quoteText(mark)+" ASYNC", "Null", nil); err != nil {
			fmt.Fprintln(os.Stderr, "kill a cancelled query:", err)
		}
	}()
	return func() {
		close(over)
		<-done
	}
}

// hello answers who the server is, as a Native block.
func (f *front) hello(out *output) error {
	name, version, revision, zone := new(chproto.ColStr), new(chproto.ColStr), new(chproto.ColUInt32), new(chproto.ColStr)
	name.Append("chdb")
	version.Append(f.version)
	revision.Append(0)
	zone.Append("UTC")
	block := chproto.Block{Columns: 4, Rows: 1, Info: chproto.BlockInfo{BucketNum: -1}}
	var b chproto.Buffer
	if err := block.EncodeBlock(&b, chproto.Version, []chproto.InputColumn{
		{Name: "displayName()", Data: name}, {Name: "version()", Data: version},
		{Name: "revision()", Data: revision}, {Name: "timezone()", Data: zone},
	}); err != nil {
		return fmt.Errorf("encode the hello: %w", err)
	}
	return out.write(b.Buf)
}

// output writes a result, compressed where the client asked for it.
type output struct {
	w          io.Writer
	compressor *compress.Writer
	started    bool
}

func newOutput(w http.ResponseWriter, q *request) *output {
	w.Header().Set("X-ClickHouse-Format", q.format)
	o := &output{w: w}
	switch q.compress {
	case "LZ4":
		o.compressor = compress.NewWriter(compress.LevelZero, compress.LZ4)
	case "ZSTD":
		o.compressor = compress.NewWriter(compress.LevelZero, compress.ZSTD)
	}
	return o
}

func (o *output) write(b []byte) error {
	o.started = o.started || len(b) > 0
	if o.compressor == nil {
		_, err := o.w.Write(b)
		return err
	}
	for piece := range slices.Chunk(b, 1<<20) {
		if err := o.compressor.Compress(piece); err != nil {
			return err
		}
		if _, err := o.w.Write(o.compressor.Data); err != nil {
			return err
		}
	}
	return nil
}

// fail answers with the engine's error and its code.
func fail(w http.ResponseWriter, err error) {
	msg := err.Error()
	if code := exceptionCode(msg); code != "" {
		w.Header().Set("X-ClickHouse-Exception-Code", code)
	}
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.WriteHeader(http.StatusInternalServerError)
	fmt.Fprint(w, msg)
}

// exceptionCode is the number in "Code: 60. DB::Exception: …".
func exceptionCode(msg string) string {
	_, rest, ok := strings.Cut(msg, "Code: ")
	code, _, end := strings.Cut(rest, ".")
	if !ok || !end || len(code) > 6 || strings.Trim(code, "0123456789") != "" {
		return ""
	}
	return code
}
