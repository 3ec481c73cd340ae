package tabular_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"marquee/ingest/tabular"
)

// readAll reads whatever it is to its end: rows may be wrong, but it must end, positions must grow, and going on from
// the middle must give what reading through gave.
func readAll(t *testing.T, f *tabular.File) []string {
	t.Helper()
	if err := f.Choose(f.Columns()); err != nil {
		return nil // two columns of one name
	}
	var out []string
	var middle tabular.Position
	var row tabular.Row
	for {
		before := f.Position()
		err := f.Next(&row)
		var wrong *tabular.RowError
		switch {
		case errors.Is(err, io.EOF):
			if len(out) < 2 {
				return out
			}
			if err := f.Seek(middle); err != nil {
				t.Fatalf("seek to %+v: %v", middle, err)
			}
			if err := f.Next(&row); err != nil && !errors.As(err, &wrong) {
				if f.Format() == tabular.Parquet {
					return out // going to a row reads what reading through does not
				}
				t.Fatalf("after seeking to %+v: %v", middle, err)
			} else if got := line(&row, err); got != out[1] {
				t.Fatalf("after seeking to %+v: %q, want %q", middle, got, out[1])
			}
			return out
		case err != nil && !errors.As(err, &wrong):
			return out
		}
		if after := f.Position(); after.Rows != before.Rows+1 || after.Bytes < before.Bytes || f.Format() != tabular.Parquet && after.Bytes == before.Bytes {
			t.Fatalf("position %+v after %+v", after, before)
		}
		if out = append(out, line(&row, err)); len(out) == 1 {
			middle = f.Position()
		}
		_ = f.Raw()
	}
}

func fuzzFile(t *testing.T, name string, content []byte) string {
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{
		"a,b\n1,2\n", "a,b\r\n\"1\",\"x\ny\"\n", "\ufeffa\n\"", "a,b\n\"1,2\n3\n", "a;b\n1;2", "\"a\"\"b\",c\n1,2\n\n3", "a\n\xff\n", "\x1f\x8b", "a,a\n",
		"a,b\n" + strings.Repeat("\"x\n", 40), "a::b\n1::2\n", "\xff\xfea\x00\n\x001\x00",
	} {
		f.Add([]byte(s), ",", 64)
		f.Add([]byte(s), "::", 4096)
	}
	f.Fuzz(func(t *testing.T, content []byte, delimiter string, most int) {
		o := tabular.Options{Delimiter: delimiter, MaxRowBytes: 16 + most&0xffff}
		file, err := tabular.Open(fuzzFile(t, "x.csv", content), nil, o)
		if err != nil {
			return
		}
		defer func() { _ = file.Close() }()
		rows := readAll(t, file)
		if delimiter == "," && len(content) < o.MaxRowBytes {
			sameAsStandard(t, content, rows)
		}
	})
}

// sameAsStandard holds rows against encoding/csv's, where that takes the file.
func sameAsStandard(t *testing.T, content []byte, rows []string) {
	if !utf8.Valid(content) || bytes.ContainsAny(content, "\x00\r") || bytes.HasPrefix(content, []byte("\ufeff")) {
		return // it keeps a byte order mark, and makes \r\n within quotes \n
	}
	r := csv.NewReader(bytes.NewReader(content))
	want, err := r.ReadAll()
	if err != nil || len(want) == 0 || len(rows) == 0 {
		return
	}
	if len(want)-1 != len(rows) {
		t.Fatalf("%d rows, encoding/csv has %d: %q", len(rows), len(want)-1, content)
	}
	for i, fields := range want[1:] {
		for j := range fields {
			if fields[j] == "" {
				fields[j] = "-"
			}
		}
		_, got, _ := strings.Cut(rows[i], " ")
		if joined := strings.Join(fields, "|"); got != joined {
			t.Fatalf("row %d is %q, encoding/csv has %q", i, got, joined)
		}
	}
}

func FuzzJSONLines(f *testing.F) {
	for _, s := range []string{
		`{"a":1}`, `{"a":{"b":[1,"x\u00fc\ud83d\ude00"]},"c":null}`, `{"a":-0.5e+10,"b":true}` + "\n{}", `{"a":"\x"}`, `{"a":01}`, "[1]", `{"a":1}x`,
		"{\"a\":\"\xff\"}", `{"a":"`, "\"a\"", `{"a":1,"a":{"b":2}}`, `{"":""}`, "{\"a\":\"\t\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := tabular.Open(fuzzFile(t, "x.jsonl", content), nil, tabular.Options{MaxRowBytes: 1 << 16})
		if err != nil {
			return
		}
		defer func() { _ = file.Close() }()
		rows := readAll(t, file)
		if bytes.HasPrefix(content, []byte("\ufeff")) || bytes.Contains(content, []byte("\n")) || len(rows) != 1 || bytes.Count(content, []byte("{"))+bytes.Count(content, []byte("[")) > 100 {
			return
		}
		right := json.Valid(content) && utf8.Valid(content) && bytes.HasPrefix(bytes.TrimSpace(content), []byte("{"))
		if taken := !strings.HasSuffix(rows[0], " malformed") && !strings.HasSuffix(rows[0], " encoding"); taken != right && !strings.Contains(string(content), "malformed") {
			t.Fatalf("taken: %v, JSON: %v: %q", taken, right, content)
		}
	})
}

func FuzzParquet(f *testing.F) {
	for _, n := range []int{0, 1, 25} {
		content, err := os.ReadFile(records(f, n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
		f.Add(append(content[:len(content)/2:len(content)/2], content[len(content)/2+1:]...))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := tabular.Open(fuzzFile(t, "x.parquet", content), nil, tabular.Options{})
		if err != nil {
			return
		}
		defer func() { _ = file.Close() }()
		if rows := readAll(t, file); len(rows) > 1<<20 {
			t.Fatalf("%d rows in %d bytes", len(rows), len(content))
		}
	})
}
