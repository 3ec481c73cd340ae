package warehouse

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	chproto "github.com/ClickHouse/ch-go/proto"
)

// output writes a result, compressed where the client asked for it.
type output struct {
	w          io.Writer
	compressor *compress.Writer
	started    bool
	tag        string // marks an error behind the first bytes; 16 bytes that no result can guess
}

func newOutput(w http.ResponseWriter, q *request) *output {
	w.Header().Set("X-ClickHouse-Format", q.format)
	o := &output{w: w, tag: rand.Text()[:16]}
	w.Header().Set("X-ClickHouse-Exception-Tag", o.tag)
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
			return fmt.Errorf("compress the result: %w", err)
		}
		if _, err := o.w.Write(o.compressor.Data); err != nil {
			return err
		}
	}
	return nil
}

// fail answers with an error: with a status of its own where nothing was written yet, else in the form that the client
// looks for at the end of a broken stream.
func (o *output) fail(w http.ResponseWriter, err error) {
	if !o.started {
		fail(w, err)
		return
	}
	msg := err.Error()
	// The client is gone when this fails.
	fmt.Fprintf(w, "\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n", o.tag, msg, len(msg), o.tag)
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
	if !ok || !end || code == "" || len(code) > 6 || strings.Trim(code, "0123456789") != "" {
		return ""
	}
	return code
}

// hello answers who the server is, as a Native block. Its revision is 0: the engine writes Native blocks in that form.
func hello(out *output, engineVersion string) error {
	name, version, revision, zone := new(chproto.ColStr), new(chproto.ColStr), new(chproto.ColUInt32), new(chproto.ColStr)
	name.Append("chdb")
	version.Append(engineVersion)
	revision.Append(0)
	zone.Append("UTC") // the child's environment says so
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
