package tabular

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

const (
	// fingerprintBytes is how much of a file's head and tail its fingerprint covers.
	fingerprintBytes = 64 << 10
	// zstdMemory bounds what a zstd stream may ask for: the largest window of its command line's ordinary levels.
	zstdMemory = 128 << 20
)

// Stdin is the path that stands for standard input.
const Stdin = "-"

// File is a table in a file, or in standard input. It is for one goroutine, but for Consumed.
type File struct {
	reader
	path     string
	options  Options
	file     *os.File
	stdin    io.Reader
	print    Fingerprint
	name     string
	consumed atomic.Int64
	closers  []func()
}

// Fingerprint tells whether a file is the one it was. It does not read all of it.
type Fingerprint struct {
	Size int64 `json:"size"`
	// ModifiedAt is in microseconds since the Unix epoch.
	ModifiedAt int64 `json:"modified_at"`
	// Head and Tail are the SHA-256 of its first and its last 64 KiB, in hexadecimal.
	Head string `json:"head"`
	Tail string `json:"tail"`
}

// Open opens a table; stdin is read where the path is "-". Errors name the path.
func Open(path string, stdin io.Reader, o Options) (*File, error) {
	f := &File{path: path, options: o, stdin: stdin, name: o.Format}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, errors.Join(err, f.Close()))
	}
	return f, nil
}

func (f *File) open() (err error) {
	byName, delimiter := formatOf(f.path)
	if f.name == "" {
		f.name = byName
	}
	if f.path != Stdin {
		if f.file, err = os.Open(f.path); err != nil {
			return err
		}
		if f.print, err = fingerprint(f.file); err != nil {
			return err
		}
	}
	switch f.name {
	case Parquet:
		if f.path == Stdin {
			return errors.New("Parquet is read from its end, so it needs a file, not standard input")
		}
		p, err := newParquet(f.file, f.print.Size, &f.consumed)
		if err != nil {
			return err
		}
		f.reader = p
		return nil
	case CSV, JSONL:
	case "":
		return errors.New("the name does not tell the format (.csv, .tsv, .jsonl, .ndjson, .parquet, also with .gz or .zst): say which it is")
	default:
		return fmt.Errorf("a format is csv, jsonl or parquet, this is %q", f.name)
	}
	w, err := f.text(0)
	if err != nil {
		return err
	}
	if f.name == JSONL {
		j, err := newJSONL(w, f.options)
		if err != nil {
			return err
		}
		j.reopen = f.text
		f.reader = j
		return nil
	}
	c, err := newCSV(w, f.options, delimiter)
	if err != nil {
		return err
	}
	c.reopen = f.text
	f.reader = c
	return nil
}

// formatOf tells the format, and the delimiter of CSV, by a file's name.
func formatOf(path string) (format, delimiter string) {
	name := strings.ToLower(filepath.Base(path))
	for _, end := range []string{".gz", ".zst", ".zstd"} {
		name = strings.TrimSuffix(name, end)
	}
	switch filepath.Ext(name) {
	case ".csv":
		return CSV, ","
	case ".tsv", ".tab":
		return CSV, "\t"
	case ".jsonl", ".ndjson":
		return JSONL, ","
	case ".parquet", ".pq":
		return Parquet, ","
	}
	return "", ","
}

// text opens the file's text from an offset on: of a plain UTF-8 file by going there, of any other by reading up to it.
func (f *File) text(offset int64) (*window, error) {
	r := f.stdin
	if f.file != nil {
		if _, err := f.file.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		f.consumed.Store(0)
		r = f.file
	} else if offset > 0 {
		return nil, errors.New("standard input cannot be read from the middle")
	}
	head := bufio.NewReaderSize(&counter{r: r, n: &f.consumed}, windowBytes)
	start, err := head.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	plain, packed, err := f.unpack(head, start)
	if err != nil {
		return nil, err
	}
	decoded, coded, err := f.decode(plain)
	if err != nil {
		return nil, err
	}
	if offset == 0 {
		return f.afterMark(decoded)
	}
	if f.file != nil && !packed && !coded {
		if _, err := f.file.Seek(offset, io.SeekStart); err != nil {
			return nil, err
		}
		f.consumed.Store(offset)
		return newWindow(&counter{r: f.file, n: &f.consumed}, offset, f.options.maxRow()), nil
	}
	if n, err := io.CopyN(io.Discard, decoded, offset); err != nil {
		return nil, fmt.Errorf("go to byte %d of the text: it ends at %d: %w", offset, n, err)
	}
	return newWindow(decoded, offset, f.options.maxRow()), nil
}

// unpack decompresses what is compressed, by its first bytes.
func (f *File) unpack(r *bufio.Reader, start []byte) (plain *bufio.Reader, packed bool, err error) {
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, false, fmt.Errorf("read gzip: %w", err)
		}
		return bufio.NewReaderSize(z, windowBytes), true, nil
	case bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdMemory), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, false, fmt.Errorf("read zstd: %w", err)
		}
		f.closers = append(f.closers, z.Close)
		return bufio.NewReaderSize(z, windowBytes), true, nil
	case bytes.HasPrefix(start, []byte("PAR1")):
		return nil, false, errors.New("this is a Parquet file: say that its format is parquet")
	}
	return r, false, nil
}

// decode brings text into UTF-8. A byte order mark decides where no encoding was named.
func (f *File) decode(r *bufio.Reader) (text *bufio.Reader, coded bool, err error) {
	start, err := r.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	var code encoding.Encoding
	switch name := strings.ToLower(f.options.Encoding); name {
	case "":
		if string(start) != "\xff\xfe" && string(start) != "\xfe\xff" {
			return r, false, f.looksLikeText(r)
		}
		code = unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	case "utf-8", "utf8":
		return r, false, nil
	case "utf-16":
		code = unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	default:
		if code, err = htmlindex.Get(name); err != nil {
			return nil, false, fmt.Errorf("encoding %q is not known; known are utf-8, utf-16le, utf-16be, windows-1252, latin1, iso-8859-15, gbk, big5, shift_jis, euc-kr and the others of the WHATWG", f.options.Encoding)
		}
	}
	return bufio.NewReaderSize(transform.NewReader(r, code.NewDecoder()), windowBytes), true, nil
}

// looksLikeText refuses what has zero bytes near its start.
func (f *File) looksLikeText(r *bufio.Reader) error {
	start, err := r.Peek(1024)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if bytes.IndexByte(start, 0) >= 0 {
		return errors.New("this is not text in UTF-8: it has zero bytes (for UTF-16 without a byte order mark say utf-16le or utf-16be)")
	}
	return nil
}

// afterMark starts a text after its byte order mark.
func (f *File) afterMark(r *bufio.Reader) (*window, error) {
	start, err := r.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	offset := int64(0)
	if string(start) == "\ufeff" {
		n, err := r.Discard(3)
		if err != nil {
			return nil, err
		}
		offset = int64(n)
	}
	return newWindow(r, offset, f.options.maxRow()), nil
}

func fingerprint(f *os.File) (Fingerprint, error) {
	info, err := f.Stat()
	if err != nil {
		return Fingerprint{}, err
	}
	if info.IsDir() {
		return Fingerprint{}, errors.New("this is a folder: name the files in it")
	}
	if !info.Mode().IsRegular() {
		return Fingerprint{}, errors.New("this is no regular file: give - and the data on standard input")
	}
	p := Fingerprint{Size: info.Size(), ModifiedAt: info.ModTime().UnixMicro()}
	if p.Head, err = hashAt(f, 0, min(p.Size, fingerprintBytes)); err != nil {
		return p, err
	}
	p.Tail, err = hashAt(f, max(p.Size-fingerprintBytes, 0), min(p.Size, fingerprintBytes))
	return p, err
}

func hashAt(f io.ReaderAt, from, n int64) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, from, n)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Path is what the file was opened by.
func (f *File) Path() string { return f.path }

// Format is csv, jsonl or parquet.
func (f *File) Format() string { return f.name }

// Fingerprint is the file's when it was opened; that of standard input is zero.
func (f *File) Fingerprint() Fingerprint { return f.print }

// Columns are the names of the columns: of JSON lines those met in the first rows.
func (f *File) Columns() []string { return f.columnNames() }

// OpenEnded says that columns beyond Columns may be chosen: rows may have others.
func (f *File) OpenEnded() bool { return f.endless() }

// Choose says which columns rows are to have, by name or by #number.
func (f *File) Choose(columns []string) error {
	if err := f.choose(columns); err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	return nil
}

// Seek goes to a position an earlier reading of the same file had.
func (f *File) Seek(p Position) error {
	if err := f.seek(p); err != nil {
		return fmt.Errorf("read %s: %w", f.path, err)
	}
	return nil
}

// Next reads the next row; io.EOF is the end, a *RowError one row that cannot be read. Any other error is the file's.
func (f *File) Next(row *Row) error {
	err := f.next(row)
	if err == nil {
		return nil
	}
	var wrong *RowError
	if errors.As(err, &wrong) {
		return wrong
	}
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return fmt.Errorf("read %s: %w", f.path, err)
}

// Position is the place after the row last read.
func (f *File) Position() Position { return f.position() }

// Raw is the row last read as the file has it; a Parquet row is a JSON object of the chosen columns.
func (f *File) Raw() string { return f.raw() }

// Consumed is how many bytes of the file have been read: of Parquet, by the share of its rows. Any goroutine may ask.
func (f *File) Consumed() int64 { return f.consumed.Load() }

// Close closes the file.
func (f *File) Close() error {
	var errs []error
	if f.reader != nil {
		errs = append(errs, f.close())
	}
	for _, c := range f.closers {
		c()
	}
	if f.file != nil {
		errs = append(errs, f.file.Close())
	}
	return errors.Join(errs...)
}

// counter counts the bytes read.
type counter struct {
	r io.Reader
	n *atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}
