package sqltoken

import (
	"slices"
	"strings"
	"testing"
)

func TestClassify(t *testing.T) {
	for sql, want := range map[string]Statement{
		"SELECT 1": {Class: Query},
		" -- INSERT INTO t FORMAT CSV\n/* INSERT */ select 1":      {Class: Query},
		"WITH x AS (SELECT 1) SELECT * FROM x":                     {Class: Query},
		"WITH insert AS (SELECT 1 INTO x) SELECT 2":                {Class: Query},
		"WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x":       {},
		"(SELECT 1) UNION ALL (SELECT 2)":                          {Class: Query},
		"CREATE TABLE t (a String DEFAULT 'INSERT INTO x VALUES')": {},
		"INSERT INTO t VALUES (1), (2);":                           {Class: Insert, Target: "INSERT INTO t ", Format: "Values", Data: " (1), (2)"},
		"insert into t (a, values) values (1, 'FORMAT')":           {Class: Insert, Target: "insert into t (a, values) ", Format: "Values", Data: " (1, 'FORMAT')"},
		"INSERT INTO `format` FORMAT Native":                       {Class: Insert, Target: "INSERT INTO `format` ", Format: "Native"},
		"INSERT INTO format FORMAT Native":                         {Class: Insert, Target: "INSERT INTO format ", Format: "Native"},
		"INSERT INTO db.values FORMAT CSV\n1,2\n":                  {Class: Insert, Target: "INSERT INTO db.values ", Format: "CSV", Data: "1,2\n"},
		"INSERT INTO TABLE t SETTINGS a=1 FORMAT JSONEachRow {}":   {Class: Insert, Target: "INSERT INTO TABLE t SETTINGS a=1 ", Format: "JSONEachRow", Data: "{}"},
		"INSERT INTO FUNCTION file('x') FORMAT CSV ;":              {Class: Insert, Target: "INSERT INTO FUNCTION file('x') ", Format: "CSV"},
		"INSERT INTO t SELECT 'VALUES' FORMAT Null":                {},
		"INSERT INTO t (a) WITH 1 AS x SELECT x":                   {},
		"INSERT INTO t FROM INFILE 'x' FORMAT CSV":                 {},
		"INSERT INTO t /* VALUES */ -- FORMAT\n VALUES (1)":        {Class: Insert, Target: "INSERT INTO t /* VALUES */ -- FORMAT\n ", Format: "Values", Data: " (1)"},
		"INSERT INTO t FORMAT":                                     {},
		"INSERT INTO t":                                            {},
		"SET max_threads = 1":                                      {Class: Session},
		"/* x */ use db":                                           {Class: Session},
		"CREATE TEMPORARY TABLE t (a UInt8)":                       {Class: Session},
		"create or replace temporary table t (a UInt8)":            {Class: Session},
		"CREATE OR REPLACE TABLE temporary (a UInt8)":              {},
		"DROP TABLE t": {},
		"":             {},
	} {
		if got := Classify(sql); got != want {
			t.Errorf("Classify(%q) = %+v, want %+v", sql, got, want)
		}
	}
}

func TestFirstWord(t *testing.T) {
	for sql, want := range map[string]string{"/* x */ insert into": "INSERT", "(SELECT": "(", " -- x": "", "": ""} {
		if got := FirstWord(sql); got != want {
			t.Errorf("FirstWord(%q) = %q, want %q", sql, got, want)
		}
	}
}

func TestSplit(t *testing.T) {
	for script, want := range map[string][]string{
		"":                                      nil,
		" -- nothing;\n;; /* ; */":              nil,
		"SELECT 1":                              {"SELECT 1"},
		"SELECT ';';\n-- and; then\nSELECT `;`": {"SELECT ';'", "-- and; then\nSELECT `;`"},
		"SELECT $$;$$; ":                        {"SELECT $$;$$"},
	} {
		if got := Split(script); !slices.Equal(got, want) {
			t.Errorf("Split(%q) = %q, want %q", script, got, want)
		}
	}
}

func TestTokens(t *testing.T) {
	for sql, want := range map[string][]Kind{
		`'it''s \' one'`:         {String},
		"`a``b` \"c\\\"d\"":      {QuotedName, Space, QuotedName},
		"$x$ 'not a string $x$1": {Heredoc, Number},
		"$$a$$":                  {Heredoc},
		"a$b":                    {Word},
		"$notclosed$ x":          {Word, Space, Word},
		"-- c\n1.5e3":            {Comment, Space, Number},
		"/* 'a */x":              {Comment, Word},
		"# c":                    {Comment},
		"'open":                  {Broken},
		"/* open":                {Broken},
		"{a:Int32}":              {Punctuation, Word, Punctuation, Word, Punctuation},
		"größe":                  {Word},
	} {
		var got []Kind
		for at := 0; ; {
			token, ok := Next(sql, at)
			if !ok {
				break
			}
			got, at = append(got, token.Kind), token.End
		}
		if len(got) != len(want) {
			t.Errorf("%q: %v, want %v", sql, got, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%q: token %d is %d, want %d", sql, i, got[i], want[i])
			}
		}
	}
}

func FuzzTokens(f *testing.F) {
	for _, s := range []string{"SELECT 'a\\'b' -- x", "INSERT INTO t FORMAT CSV\n1", "$a$b$a$", "/*", "`\\", "\x00\xff$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		at := 0
		for {
			token, ok := Next(sql, at)
			if !ok {
				break
			}
			if token.Start != at || token.End <= at || token.End > len(sql) {
				t.Fatalf("token %+v at %d of %d bytes", token, at, len(sql))
			}
			at = token.End
		}
		if at != len(sql) {
			t.Fatalf("tokens end at %d of %d", at, len(sql))
		}
		s := Classify(sql)
		if s.Class == Insert && (!strings.HasPrefix(sql, s.Target) || !strings.Contains(sql, s.Data)) {
			t.Fatalf("Classify(%q) = %+v is not of the text", sql, s)
		}
	})
}
