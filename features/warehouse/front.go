package warehouse

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"marquee/features/warehouse/chdb"
	"marquee/features/warehouse/sqltoken"
)

// configFile in the warehouse's folder, where there is one, is the engine's own configuration.
const configFile = "config.xml"

// engineOptions are the engine's own settings. It shares the machine with the service, so it gets half of the memory and
// small caches; by itself it would take nine tenths, and 5 GB for each cache.
func engineOptions(dir string) []string {
	options := []string{
		"--max_server_memory_usage_to_ram_ratio=0.5",
		"--mark_cache_size=268435456",
		"--primary_index_cache_size=134217728",
		"--index_mark_cache_size=67108864",
	}
	file := filepath.Join(dir, configFile)
	if _, err := os.Stat(file); err == nil {
		options = append(options, "--config-file="+file)
	}
	return options
}

// front speaks ClickHouse's HTTP interface for the engine, as far as clickhouse-go and curl use it.
type front struct {
	lib      *chdb.Library
	token    string
	version  string
	sessions *sessions
	admin    chan *chdb.Conn // one connection, for KILL QUERY
}

func newFront(lib *chdb.Library, dir, token string) (*front, error) {
	options := engineOptions(dir)
	connect := func() (*chdb.Conn, error) { return lib.Connect(filepath.Join(dir, "engine"), options...) }
	f := &front{lib: lib, token: token, sessions: newSessions(connect), admin: make(chan *chdb.Conn, 1)}
	c, err := connect()
	if err != nil {
		return nil, err
	}
	f.admin <- c
	r, err := c.Exec("SELECT version()", "TSVRaw", nil)
	if err != nil {
		return nil, fmt.Errorf("ask the engine its version: %w", err)
	}
	f.version = strings.TrimSpace(string(r.Data))
	return f, nil
}

// close ends the engine; the sessions must have been drained.
func (f *front) close(wait time.Duration) error {
	f.sessions.close()
	select {
	case c := <-f.admin:
		c.Close()
	case <-time.After(wait):
		return errors.New("a KILL QUERY did not end; leaving without a clean shutdown")
	}
	f.lib.Shutdown()
	return nil
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ping" {
		io.WriteString(w, "Ok.\n") // the client is gone when this fails
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
	s, err := f.sessions.get(r.Context(), q.database, q.settings)
	if err != nil {
		fail(w, err)
		return
	}
	defer f.sessions.put(s)
	// What stays in a session is not for the next request to find.
	s.spoiled = q.statement.Class == sqltoken.Session || len(q.external) > 0
	f.run(w, r, s, q)
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

// helloStatement is what clickhouse-go asks first on every connection.
const helloStatement = "SELECT displayName(), version(), revision(), timezone()"

func (f *front) run(w http.ResponseWriter, r *http.Request, s *session, q *request) {
	for _, table := range q.external {
		if err := s.fill(table); err != nil {
			fail(w, err)
			return
		}
	}
	out := newOutput(w, q)
	switch {
	case q.sql == helloStatement:
		if err := hello(out, f.version); err != nil {
			out.fail(w, err)
		}
	case q.statement.Class == sqltoken.Insert:
		insert(w, s, q)
	case q.statement.Class == sqltoken.Query:
		f.query(w, r, s, q, out)
	default:
		// What changes something is not killed when its client goes: killed, INSERT … SELECT now and then hangs the engine's
		// threads with the table's lock in their hands. It ends by itself, whole.
		res, err := s.conn.Exec(q.sql, q.format, q.params)
		if err != nil {
			fail(w, err)
			return
		}
		w.Header().Set("X-ClickHouse-Summary", fmt.Sprintf(`{"read_rows":"%d","written_rows":"%d"}`, res.RowsRead, res.RowsWritten))
		if err := out.write(res.Data); err != nil {
			out.fail(w, err)
		}
	}
}

// query streams a result.
func (f *front) query(w http.ResponseWriter, r *http.Request, s *session, q *request, out *output) {
	stop := f.killOnCancel(r.Context(), s.mark)
	err := s.conn.Stream(q.sql, q.format, q.params, func(b []byte) error {
		if err := r.Context().Err(); err != nil {
			return err
		}
		return out.write(b)
	})
	stop()
	if err == nil {
		return
	}
	// After an error nobody promises what state the connection is in.
	s.spoiled = true
	out.fail(w, err)
}

// fill makes an external table.
func (s *session) fill(t externalTable) error {
	if _, err := s.conn.Exec("CREATE TEMPORARY TABLE "+quoteName(t.name)+" ("+t.structure+")", "Null", nil); err != nil {
		return err
	}
	in, err := s.conn.Insert("INSERT INTO "+quoteName(t.name)+" ", t.format, nil)
	if err != nil {
		return err
	}
	if _, err := in.Write(t.data); err != nil {
		in.Cancel()
		return err
	}
	_, err = in.Done()
	return err
}

// insert streams data into a table. What is not whole is not acknowledged; up to the engine's block of a million rows or
// 256 MB, none of it is then in the table.
func insert(w http.ResponseWriter, s *session, q *request) {
	in, err := s.conn.Insert(q.statement.Target, q.statement.Format, q.params)
	if err != nil {
		s.spoiled = true
		fail(w, err)
		return
	}
	data := io.Reader(strings.NewReader(q.statement.Data))
	if q.data != nil {
		data = io.MultiReader(data, q.data)
	}
	if err := feed(in, data); err != nil {
		s.spoiled = true
		in.Cancel()
		fail(w, err)
		return
	}
	res, err := in.Done()
	if err != nil {
		s.spoiled = true
		fail(w, err)
		return
	}
	w.Header().Set("X-ClickHouse-Summary", fmt.Sprintf(`{"written_rows":"%d"}`, res.RowsWritten))
}

// feed hands all of the data on, in large pieces. Only a clean end is an end: data that was cut short is an error, and so
// is none at all, which a client sends when it fails before the first byte.
func feed(in io.Writer, data io.Reader) error {
	buf := make([]byte, 1<<20)
	total := 0
	for {
		n, err := fill(buf, data)
		total += n
		if _, werr := in.Write(buf[:n]); werr != nil {
			return werr
		}
		switch {
		case errors.Is(err, io.EOF) && total == 0:
			return badRequest(108, "NO_DATA_TO_INSERT", "the INSERT has no data")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return badRequest(33, "CANNOT_READ_ALL_DATA", "the data broke off after %d bytes: %w", total, err)
		}
	}
}

// fill reads until the buffer is full, and gives the reader's error as it is, where io.ReadFull gives the same one for data
// that ended and for data that was cut.
func fill(buf []byte, r io.Reader) (n int, err error) {
	for n < len(buf) && err == nil {
		var got int
		got, err = r.Read(buf[n:])
		n += got
	}
	return n, err
}

// killEvery is how often a cancelled query is killed until it ends: it may not have begun when it is first.
const killEvery = 50 * time.Millisecond

// killOnCancel kills the session's query when the client goes away; without it, the engine works on and hangs the
// process at its end. The function it returns must be called when the query is over.
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
		for {
			f.kill(mark)
			select {
			case <-over:
				return
			case <-time.After(killEvery):
			}
		}
	}()
	return func() {
		close(over)
		<-done
	}
}

func (f *front) kill(mark string) {
	c := <-f.admin
	defer func() { f.admin <- c }()
	if _, err := c.Exec("KILL QUERY WHERE Settings['log_comment'] = "+quoteText(mark)+" ASYNC", "Null", nil); err != nil {
		fmt.Fprintln(os.Stderr, "kill a cancelled query:", err)
	}
}
