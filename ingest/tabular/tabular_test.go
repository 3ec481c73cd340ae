package tabular_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"marquee/ingest/tabular"
)

// write puts content into a file of that name.
func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string, o tabular.Options, columns ...string) *tabular.File {
	t.Helper()
	f, err := tabular.Open(path, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	if columns == nil {
		columns = f.Columns()
	}
	if err := f.Choose(columns); err != nil {
		t.Fatal(err)
	}
	return f
}

// line is a row as tests state it: its line (or number, in Parquet) and its cells, or what is wrong with it.
func line(row *tabular.Row, err error) string {
	at := row.Line
	if at == 0 {
		at = row.Number
	}
	var wrong *tabular.RowError
	if errors.As(err, &wrong) {
		return fmt.Sprintf("%d %s", at, wrong.Reason)
	}
	cells := make([]string, len(row.Cells))
	for i := range row.Cells {
		c := &row.Cells[i]
		switch c.Kind {
		case tabular.Null:
			cells[i] = "-"
		case tabular.List:
			cells[i] = string(bytes.Join(c.Items, []byte("+")))
		default:
			cells[i] = string(c.AppendText(nil))
		}
	}
	return fmt.Sprintf("%d %s", at, strings.Join(cells, "|"))
}

// rest reads what is left.
func rest(t testing.TB, f *tabular.File) []string {
	t.Helper()
	var out []string
	var row tabular.Row
	for {
		err := f.Next(&row)
		if errors.Is(err, io.EOF) {
			return out
		}
		var wrong *tabular.RowError
		if err != nil && !errors.As(err, &wrong) {
			t.Fatal(err)
		}
		out = append(out, line(&row, err))
	}
}

func TestCSV(t *testing.T) {
	tests := map[string]struct {
		text    string
		options tabular.Options
		want    []string
	}{
		"plain":                  {text: "a,b\n1,2\n3,4\n", want: []string{"2 1|2", "3 3|4"}},
		"no line end at the end": {text: "a,b\n1,2\n3,4", want: []string{"2 1|2", "3 3|4"}},
		"windows line ends":      {text: "a,b\r\n1,2\r\n3,\"4\"\r\n", want: []string{"2 1|2", "3 3|4"}},
		"byte order mark":        {text: "\ufeffa,b\n1,2\n", want: []string{"2 1|2"}},
		"blank lines":            {text: "\n\na,b\n\n1,2\n\r\n3,4\n\n", want: []string{"5 1|2", "7 3|4"}},
		"empty fields are null":  {text: "a,b\n,\n\"\",x\n", want: []string{"2 -|-", "3 -|x"}},
		"quotes":                 {text: "a,b\n\"1,5\",\"say \"\"hi\"\"\"\n", want: []string{`2 1,5|say "hi"`}},
		"newline within a field": {text: "a,b\n\"one\ntwo\r\nthree\",2\n3,4\n", want: []string{"2 one\ntwo\r\nthree|2", "5 3|4"}},
		"quote within a field":   {text: "a,b\n6\" pipe,2\n", want: []string{`2 6" pipe|2`}},
		"ragged":                 {text: "a,b\n1\n1,2,3\n\"1\",2,3\n5,6\n", want: []string{"2 malformed", "3 malformed", "4 malformed", "5 5|6"}},
		"after a closing quote":  {text: "a,b\n\"1\"x,2\n3,4\n", want: []string{"2 malformed", "3 3|4"}},
		"a lost quote costs a row": {
			text: "a,b\n\"1,2\n3,4\n5,6\n", want: []string{"2 malformed", "3 3|4", "4 5|6"},
		},
		"wrong encoding": {text: "a,b\nB\xfccher,2\n3,4\n", want: []string{"2 encoding", "3 3|4"}},
		"tabs":           {text: "a\tb\n1\t2\n", options: tabular.Options{Delimiter: "tab"}, want: []string{"2 1|2"}},
		"two bytes between fields": {
			text: "a::b\n1::2:3\n\"x::y\"::4\n", options: tabular.Options{Delimiter: "::"}, want: []string{"2 1|2:3", "3 x::y|4"},
		},
		"no quoting": {text: "a,b\n\"1,2\"\n", options: tabular.Options{Quote: "none"}, want: []string{`2 "1|2"`}},
		"other quote": {
			text: "a,b\n'1,5',2\n", options: tabular.Options{Quote: "'"}, want: []string{"2 1,5|2"},
		},
		"no header": {text: "1,2\n3,4\n", options: tabular.Options{NoHeader: true}, want: []string{"1 1|2", "2 3|4"}},
		"named columns": {
			text: "1,2\n3\n", options: tabular.Options{NoHeader: true, Columns: []string{"x", "y"}}, want: []string{"1 1|2", "2 malformed"},
		},
		"skipped lines": {text: "# made by\n# somebody\na,b\n1,2\n", options: tabular.Options{SkipLines: 2}, want: []string{"4 1|2"}},
		"long rows": {
			text:    "a,b\n" + strings.Repeat("x", 100) + ",1\n2,3\n\"" + strings.Repeat("y\n", 60) + "\",3\n4,5\n",
			options: tabular.Options{MaxRowBytes: 64}, want: append(append([]string{"2 too_large", "3 2|3", "4 too_large"}, lost(5, 59)...), "64 malformed", "65 4|5"),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := open(t, write(t, "x.csv", test.text), test.options)
			if diff := cmp.Diff(test.want, rest(t, f)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// lost are lines of a field too long, each taken for a row.
func lost(first, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%d malformed", first+i)
	}
	return out
}

func TestColumnsByNameAndNumber(t *testing.T) {
	path := write(t, "x.csv", "id,id,name\n1,2,three\n")
	f := open(t, path, tabular.Options{}, "name", "#2")
	if got := rest(t, f); got[0] != "2 three|2" {
		t.Errorf("got %q", got)
	}
	for column, want := range map[string]string{"id": "two columns", "nane": "there is no column", "#4": "there is no column"} {
		if err := f.Choose([]string{column}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("choosing %q: %v", column, err)
		}
	}
}

func TestJSONLines(t *testing.T) {
	text := "\ufeff" + `{"user": {"id": 7, "tags": ["a", "b\n", null, 3]}, "a.b": true, "deep": [[1]], "n": null}` + "\r\n\n" +
		`{"user": {"id": "\u00fcber \ud83d\ude00 \ud83d"}}` + "\n" +
		`{"user": 5, "x": 1.50e3}` + "\n" +
		`{"user": {"id": 7}` + "\n[1]\n{\"user\": {\"id\": \"\xff\"}}\n" + strings.Repeat(" ", 500) + "\n{}"
	f := open(t, write(t, "x.jsonl", text), tabular.Options{MaxRowBytes: 400}, "user.id", "user.tags", "a.b", "x", "deep", "n")
	want := []string{
		"1 7|a+b\n+3|true|-|[[1]]|-", "3 über 😀 �|-|-|-|-|-", "4 -|-|-|1.50e3|-|-", "5 malformed", "6 malformed", "7 encoding",
		"8 too_large", "9 -|-|-|-|-|-",
	}
	if diff := cmp.Diff(want, rest(t, f)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"user.id", "user.tags", "a.b", "deep", "n"}, f.Columns()[:5]); diff != "" {
		t.Error(diff)
	}
}

type record struct {
	User  string   `parquet:"user,dict"`
	Ratio float64  `parquet:"ratio"`
	At    int64    `parquet:"at,timestamp(millisecond)"`
	Views *int32   `parquet:"views,optional"`
	Tags  []string `parquet:"tags,list"`
	Where struct {
		Country string `parquet:"country"`
	} `parquet:"where"`
}

// records are n rows in row groups of ten.
func records(t testing.TB, n int) string {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[record](&b, parquet.MaxRowsPerRowGroup(10))
	for i := range n {
		r := record{User: fmt.Sprint("u", i), Ratio: float64(i) / 4, At: int64(i) * 1000, Tags: []string{"x", fmt.Sprint(i)}}
		r.Where.Country = "SE"
		if views := int32(i); i%2 == 0 {
			r.Views = &views
		}
		if _, err := w.Write([]record{r}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return write(t, "x.parquet", b.String())
}

func TestParquet(t *testing.T) {
	f := open(t, records(t, 3), tabular.Options{}, "where.country", "views", "user", "ratio", "at", "tags")
	want := []string{"1 SE|0|u0|0|0|x+0", "2 SE|-|u1|0.25|1000000|x+1", "3 SE|2|u2|0.5|2000000|x+2"}
	if diff := cmp.Diff(want, rest(t, f)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"user", "ratio", "at", "views", "tags", "where.country"}, f.Columns()); diff != "" {
		t.Error(diff)
	}
}

// TestReadingGoesOnAnywhere seeks to the position after every row and reads the rest.
func TestReadingGoesOnAnywhere(t *testing.T) {
	csv := "a,b\r\n1,\"x\ny\"\n\n2,\n\"3,4\n5,ü\nragged\n6,7"
	jsonl := "{\"a\":1,\"b\":\"ü\"}\n\n{\"a\":\n{\"b\":2}\n{\"a\":3}"
	files := map[string]string{
		"csv": write(t, "x.csv", csv), "mark": write(t, "x.csv", "\ufeff"+csv), "jsonl": write(t, "x.ndjson", jsonl),
		"gzip": write(t, "x.csv.gz", zipped(t, csv)), "zstd": write(t, "x.jsonl.zst", squeezed(t, jsonl)),
		"utf16":   write(t, "x.csv", string(must(unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder().Bytes([]byte(csv))))),
		"parquet": records(t, 35),
	}
	for name, path := range files {
		t.Run(name, func(t *testing.T) {
			f := open(t, path, tabular.Options{})
			all := rest(t, f)
			if len(all) < 4 {
				t.Fatalf("got %q", all)
			}
			again := open(t, path, tabular.Options{})
			positions := []tabular.Position{again.Position()}
			var row tabular.Row
			for range all {
				var wrong *tabular.RowError
				if err := again.Next(&row); err != nil && !errors.As(err, &wrong) {
					t.Fatal(err)
				}
				positions = append(positions, again.Position())
			}
			for i, p := range positions {
				if err := f.Seek(p); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(all[i:], append([]string{}, rest(t, f)...)); diff != "" {
					t.Errorf("from %+v on: %s", p, diff)
				}
			}
		})
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func zipped(t testing.TB, text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func squeezed(t testing.TB, text string) string {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := w.EncodeAll([]byte(text), nil)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return string(packed)
}

func TestEncodings(t *testing.T) {
	const text = "name\nBücher für Ærø\n"
	for encoding, content := range map[string]string{
		"latin1":   string(must(charmap.ISO8859_1.NewEncoder().Bytes([]byte(text)))),
		"utf-16le": string(must(unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewEncoder().Bytes([]byte(text)))),
		"utf-8":    text,
	} {
		f := open(t, write(t, "x.csv", content), tabular.Options{Encoding: encoding})
		if got := rest(t, f); got[0] != "2 Bücher für Ærø" {
			t.Errorf("%s: got %q", encoding, got)
		}
	}
}

func TestStdin(t *testing.T) {
	f, err := tabular.Open(tabular.Stdin, strings.NewReader("a,b\n1,2\n"), tabular.Options{Format: tabular.CSV})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Choose([]string{"b"}); err != nil {
		t.Fatal(err)
	}
	if got := rest(t, f); got[0] != "2 2" {
		t.Errorf("got %q", got)
	}
	if f.Fingerprint() != (tabular.Fingerprint{}) || f.Consumed() != 8 {
		t.Errorf("fingerprint %+v, %d bytes", f.Fingerprint(), f.Consumed())
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	cut := zipped(t, strings.Repeat("a,b\n", 100))
	tests := map[string]struct {
		name, text string
		options    tabular.Options
		want       string
	}{
		"empty CSV":       {"x.csv", "", tabular.Options{}, "empty"},
		"empty JSON":      {"x.jsonl", "", tabular.Options{}, "empty"},
		"no format":       {"x.dat", "a,b", tabular.Options{}, "say which"},
		"unknown format":  {"x.dat", "a,b", tabular.Options{Format: "xls"}, "csv, jsonl or parquet"},
		"JSON array":      {"x.jsonl", " [{}]", tabular.Options{}, "jq"},
		"UTF-16":          {"x.csv", "a\x00,\x00", tabular.Options{}, "utf-16le"},
		"encoding":        {"x.csv", "a,b", tabular.Options{Encoding: "klingon"}, "not known"},
		"header":          {"x.csv", "\xfc,b", tabular.Options{}, "encoding"},
		"names":           {"x.csv", "a,b", tabular.Options{Columns: []string{"x"}}, "1 column names"},
		"quote":           {"x.csv", "a,b", tabular.Options{Quote: "''"}, "one byte"},
		"delimiter":       {"x.csv", "a,b", tabular.Options{Delimiter: "\n"}, "line's end"},
		"Parquet as CSV":  {"x.csv", "PAR1....", tabular.Options{}, "parquet"},
		"short Parquet":   {"x.parquet", "PAR1", tabular.Options{}, "12 bytes"},
		"cut Parquet":     {"x.parquet", "PAR1" + strings.Repeat("x", 100), tabular.Options{}, "PAR1"},
		"lying Parquet":   {"x.parquet", "PAR1" + strings.Repeat("x", 100) + "\xff\xff\xff\x7fPAR1", tabular.Options{}, "metadata"},
		"damaged Parquet": {"x.parquet", "PAR1" + strings.Repeat("x", 100) + "\x40\x00\x00\x00PAR1", tabular.Options{}, "x.parquet"},
		"not gzip":        {"x.csv.gz", "\x1f\x8bnothing", tabular.Options{}, "gzip"},
		"cut gzip":        {"x.csv.gz", cut[:12], tabular.Options{}, "unexpected EOF"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := tabular.Open(write(t, test.name, test.text), nil, test.options)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
	if _, err := tabular.Open(t.TempDir(), nil, tabular.Options{Format: "csv"}); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := tabular.Open(tabular.Stdin, strings.NewReader("PAR1"), tabular.Options{Format: "parquet"}); err == nil {
		t.Error("Parquet on standard input opened")
	}
}

func TestAFileCutShortIsAnError(t *testing.T) {
	text := zipped(t, "a,b\n"+strings.Repeat("1,2\n", 10000))
	f := open(t, write(t, "x.csv.gz", text[:len(text)-12]), tabular.Options{})
	var row tabular.Row
	for {
		err := f.Next(&row)
		if errors.Is(err, io.EOF) {
			t.Fatal("the end was reached")
		}
		if err != nil {
			if !strings.Contains(err.Error(), "unexpected EOF") {
				t.Error(err)
			}
			return
		}
	}
}

func TestFingerprints(t *testing.T) {
	path := write(t, "x.csv", "a\n"+strings.Repeat("1\n", 100_000))
	before := open(t, path, tabular.Options{}).Fingerprint()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("2\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	after := open(t, path, tabular.Options{}).Fingerprint()
	if after.Size != before.Size+2 || after.Head != before.Head || after.Tail == before.Tail {
		t.Errorf("before %+v, after %+v", before, after)
	}
}
