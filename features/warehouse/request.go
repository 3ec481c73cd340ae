package warehouse

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/klauspost/compress/zstd"

	"marquee/features/warehouse/sqltoken"
)

// maxStatement bounds a statement's text and the external tables beside it, in bytes; the data of an INSERT that comes
// beside its statement has no bound, as it is streamed.
const maxStatement = 64 << 20

// request is a call as the engine needs it.
type request struct {
	sql       string
	statement sqltoken.Statement
	data      io.Reader // of an INSERT, beside the statement
	format    string
	database  string
	settings  map[string]string
	params    map[string]string
	compress  string // LZ4, ZSTD or nothing
	external  []externalTable
}

// externalTable is data that a query finds as a temporary table.
type externalTable struct {
	name, structure, format string
	data                    []byte
}

// exception is an error of the front itself, in the engine's form.
type exception struct {
	code  int
	name  string
	cause error
}

func (e *exception) Error() string {
	return fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", e.code, e.cause, e.name)
}

func (e *exception) Unwrap() error { return e.cause }

func badRequest(code int, name, format string, args ...any) error {
	return &exception{code, name, fmt.Errorf(format, args...)}
}

// readRequest reads all of a call but the data of an INSERT.
func readRequest(r *http.Request) (*request, error) {
	v := r.URL.Query()
	q := &request{
		format: v.Get("default_format"), database: v.Get("database"),
		settings: map[string]string{}, params: map[string]string{},
	}
	if q.format == "" {
		q.format = "TabSeparated"
	}
	if v.Get("compress") == "1" {
		q.compress = "LZ4"
		if strings.EqualFold(v.Get("network_compression_method"), "ZSTD") {
			q.compress = "ZSTD"
		}
	}
	for _, name := range []string{"session_id", "role"} {
		if v.Has(name) {
			return nil, badRequest(48, "NOT_IMPLEMENTED", "the embedded warehouse has no %s; leave it out", name)
		}
	}
	body, err := decoded(r, v)
	if err != nil {
		return nil, err
	}
	kind, parts, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && kind == "multipart/form-data" {
		err = q.readMultipart(multipart.NewReader(body, parts["boundary"]), v)
	} else {
		err = q.readStatement(body, v.Get("query"))
	}
	if err != nil {
		return nil, err
	}
	return q, q.readSettings(v)
}

// decoded takes the body's compression off: HTTP's, and ClickHouse's own.
func decoded(r *http.Request, v url.Values) (io.Reader, error) {
	body := io.Reader(r.Body)
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip", "deflate":
		open := gzipReader
		if encoding == "deflate" {
			open = zlib.NewReader
		}
		unzipped, err := open(body)
		if err != nil {
			return nil, badRequest(354, "INFLATE_FAILED", "read the %s body: %w", encoding, err)
		}
		body = unzipped
	case "zstd":
		unzipped, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, badRequest(354, "INFLATE_FAILED", "read the zstd body: %w", err)
		}
		body = unzipped
	default:
		return nil, badRequest(89, "UNKNOWN_COMPRESSION_METHOD", "Content-Encoding %q is not supported; valid are gzip, deflate, zstd, and compression lz4 or zstd of the client", encoding)
	}
	if v.Get("decompress") == "1" {
		counted := &countingReader{r: body}
		return &blockReader{from: counted, blocks: compress.NewReader(counted)}, nil
	}
	return body, nil
}

func gzipReader(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }

// blockReader reads ClickHouse's compressed blocks. compress.Reader by itself neither tells the end of the data from a
// block that was cut short behind its header, nor may it be read again after an error.
type blockReader struct {
	from   *countingReader
	blocks *compress.Reader
	err    error
}

func (b *blockReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	before := b.from.n
	n, err := b.blocks.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF) && b.from.n == before:
		b.err = io.EOF
	case errors.Is(err, io.EOF):
		b.err = io.ErrUnexpectedEOF
	default:
		b.err = err
	}
	return n, b.err
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// readStatement reads a statement that stands in the URL, in the body, or begins in the one and ends in the other.
func (q *request) readStatement(body io.Reader, inURL string) error {
	if s := sqltoken.Classify(inURL); s.Class == sqltoken.Insert {
		q.sql, q.statement, q.data = inURL, s, body
		return nil
	}
	rest, err := readBounded(body, maxStatement)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(rest)) > 0 && sqltoken.FirstWord(inURL) == "INSERT" {
		// In the statement's own text the engine loses rows of binary formats.
		return badRequest(48, "NOT_IMPLEMENTED", "the embedded warehouse takes no data for an INSERT … SELECT; insert it into a table and select from that")
	}
	return q.take(inURL + "\n" + string(rest))
}

func (q *request) take(sql string) error {
	q.sql = strings.TrimSpace(sql)
	q.statement = sqltoken.Classify(q.sql)
	if q.statement.Class == sqltoken.Insert {
		return nil
	}
	switch all := sqltoken.Split(q.sql); len(all) {
	case 0:
		return badRequest(62, "SYNTAX_ERROR", "the statement is empty")
	case 1:
		q.sql = all[0]
		return nil
	}
	return badRequest(62, "SYNTAX_ERROR", "several statements in one call; send them one by one")
}

func readBounded(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, badRequest(23, "CANNOT_READ_FROM_ISTREAM", "read the statement: %w", err)
	}
	if int64(len(b)) > limit {
		return nil, badRequest(307, "TOO_MANY_BYTES", "the statement is longer than %d bytes; give an INSERT's data beside it, with the statement in the query parameter", maxStatement)
	}
	return b, nil
}

// readMultipart reads a query and the external tables beside it, each a part named as the table, its columns in the
// parameter NAME_structure.
func (q *request) readMultipart(parts *multipart.Reader, v url.Values) error {
	sql, left := v.Get("query"), int64(maxStatement)
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return badRequest(23, "CANNOT_READ_FROM_ISTREAM", "read the external tables: %w", err)
		}
		data, err := readBounded(part, left)
		if err != nil {
			return err
		}
		left -= int64(len(data))
		name := part.FormName()
		if name == "query" {
			sql += string(data)
			continue
		}
		table := externalTable{name, v.Get(name + "_structure"), v.Get(name + "_format"), data}
		if table.structure == "" {
			return badRequest(36, "BAD_ARGUMENTS", "the external table %q has no columns; give the parameter %s_structure", name, name)
		}
		if table.format == "" {
			table.format = "TabSeparated"
		}
		if !isName(table.format) {
			return badRequest(73, "UNKNOWN_FORMAT", "%q is no format", table.format)
		}
		q.external = append(q.external, table)
		v.Del(name + "_structure")
		v.Del(name + "_format")
	}
	return q.take(sql)
}

// notSettings are the URL parameters of ClickHouse's HTTP interface that are not settings of the engine.
func notSettings() []string {
	return []string{"query", "database", "default_format", "client_protocol_version", "query_id", "quota_key",
		"session_timeout", "session_check", "compress", "decompress", "network_compression_method", "network_zstd_compression_level",
		"user", "password", "wait_end_of_query", "buffer_size", "stacktrace", "enable_http_compression",
		"send_progress_in_http_headers", "http_headers_progress_interval_ms", "log_comment"}
}

func (q *request) readSettings(v url.Values) error {
	known := notSettings()
	for name, values := range v {
		switch p, ok := strings.CutPrefix(name, "param_"); {
		case ok:
			q.params[p] = values[0]
		case slices.Contains(known, name):
		case !isName(name):
			return badRequest(115, "UNKNOWN_SETTING", "%q is no setting", name)
		default:
			q.settings[name] = values[0]
		}
	}
	return nil
}

func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return s != ""
}
