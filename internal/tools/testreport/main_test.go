package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	for name, c := range map[string]struct {
		stream string
		ok     bool
		want   []string
	}{
		"all pass": {`{"Action":"pass","Package":"a","Test":"TestX"}
{"Action":"pass","Package":"a","Elapsed":1.5}`, true, []string{"ok  \ta\t1.5s", "1 passed, 0 failed, 0 skipped"}},
		"a failure shows its output": {`{"Action":"output","Package":"a","Test":"TestX","Output":"x_test.go:1: broken\n"}
{"Action":"fail","Package":"a","Test":"TestX"}
{"Action":"fail","Package":"a"}`, false, []string{"--- FAILED a TestX", "x_test.go:1: broken", "0 passed, 1 failed, 0 skipped"}},
		"what is left out is told": {`{"Action":"output","Package":"a","Test":"TestX","Output":"    k.go:1: LEFT OUT: PostgreSQL is not installed\n"}
{"Action":"skip","Package":"a","Test":"TestX"}
{"Action":"pass","Package":"a","Test":"TestY"}
{"Action":"pass","Package":"a"}`, true, []string{"LEFT OUT: PostgreSQL is not installed (1)", "1 passed, 0 failed, 1 skipped"}},
		"a skip without a word is told": {`{"Action":"skip","Package":"a","Test":"TestX"}
{"Action":"pass","Package":"a","Test":"TestY"}
{"Action":"pass","Package":"a"}`, true, []string{"LEFT OUT: a TestX (1)"}},
		"a package that dies fails": {`{"Action":"pass","Package":"a","Test":"TestY"}
{"Action":"output","Package":"a","Output":"panic: boom\n"}
{"Action":"fail","Package":"a"}`, false, []string{"FAIL\ta", "panic: boom"}},
		"a package that does not build fails": {`{"Action":"pass","Package":"b","Test":"TestY"}
{"ImportPath":"a","Action":"build-output","Output":"a.go:1: no\n"}
{"ImportPath":"a","Action":"build-fail"}`, false, []string{"BUILD FAILED a", "a.go:1: no"}},
		"not a stream": {"go: cannot find main module", false, []string{"cannot find main module"}},
		"nothing ran":  {"", false, []string{"0 passed"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			ok, err := report(strings.NewReader(c.stream), &out)
			if err != nil || ok != c.ok {
				t.Errorf("report = %v, %v; want %v", ok, err, c.ok)
			}
			for _, w := range c.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("printed %q without %q", out.String(), w)
				}
			}
		})
	}
}
