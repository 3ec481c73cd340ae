package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"marquee/features/warehouse"
)

// TestMain makes this test binary the marquee command too: scripts run it as a process of its own, and the embedded
// warehouse runs it as its child.
func TestMain(m *testing.M) {
	if warehouse.IsChild() {
		os.Exit(warehouse.ChildMain())
	}
	testscript.Main(m, map[string]func(){"marquee": main})
}

// TestScripts runs the command line as its users do, each script in a folder of its own. Scripts that need the public
// data sets skip where they are not there, and fail instead where CI=true.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(root, "..", "shared", "data")
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("MARQUEE_DATA_DIR", filepath.Join(e.WorkDir, "data"))
			e.Setenv("MARQUEE_NATIVE_DIR", nativeDir(root))
			e.Setenv("MARQUEE_TELEMETRY_LOG_LEVEL", "warn")
			e.Setenv("DATA", data)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"truncate":  truncate,
			"jsonequal": jsonEqual,
		},
		Condition:           func(condition string) (bool, error) { return haveData(data, condition) },
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

func nativeDir(root string) string {
	if dir := os.Getenv("MARQUEE_NATIVE_DIR"); dir != "" {
		return dir
	}
	return filepath.Join(root, ".native")
}

// haveData answers the condition [data:SET]: whether a public data set is there. With CI=true it must be.
func haveData(data, condition string) (bool, error) {
	set, ok := strings.CutPrefix(condition, "data:")
	if !ok {
		return false, fmt.Errorf("unknown condition %q", condition)
	}
	if _, err := os.Stat(filepath.Join(data, set)); err == nil {
		return true, nil
	}
	if os.Getenv("CI") == "true" {
		return false, fmt.Errorf("the data set %s is missing, and with CI=true nothing may be left out", set)
	}
	return false, nil
}

// truncate cuts a file to half its length: truncate FILE.
func truncate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: truncate FILE")
	}
	matches, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(matches) == 0 {
		ts.Fatalf("no file matches %s", args[0])
	}
	for _, name := range matches {
		info, err := os.Stat(name)
		ts.Check(err)
		ts.Check(os.Truncate(name, info.Size()/2))
	}
}

// jsonEqual holds fields of the last output against each other or a value: jsonequal FIELD FIELD|VALUE…
func jsonEqual(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: jsonequal FIELD FIELD|VALUE…")
	}
	fields := parseFlatJSON(ts, ts.ReadFile("stdout"))
	first, ok := fields[args[0]]
	if !ok {
		ts.Fatalf("no field %s in %v", args[0], fields)
	}
	for _, other := range args[1:] {
		want, ok := fields[other]
		if !ok {
			want = other
		}
		if first != want {
			ts.Fatalf("%s is %s, %s is %s", args[0], first, other, want)
		}
	}
}

func parseFlatJSON(ts *testscript.TestScript, text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok {
			out[strings.Trim(key, `"`)] = strings.Trim(strings.TrimSuffix(strings.TrimSpace(value), ","), `"`)
		}
	}
	if len(out) == 0 {
		ts.Fatalf("the output is not a JSON object: %s", text)
	}
	return out
}
