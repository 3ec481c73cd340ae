// Command testreport reads `go test -json` from standard input and prints what a person wants of it: a line a package,
// the whole output of what failed, and at the end everything that was left out and why.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
	Elapsed    float64
}

func main() {
	ok, err := report(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
	if !ok {
		os.Exit(1)
	}
}

type summary struct {
	passed, failed, skipped int
	packages                int
	output                  map[string][]string
	leftOut                 map[string]int
	broken                  bool
}

// report prints the stream's summary to w and says whether all passed. A stream without a single test is a failure: it
// means the run itself broke.
func report(r io.Reader, w io.Writer) (bool, error) {
	s := &summary{output: map[string][]string{}, leftOut: map[string]int{}}
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 1<<20), 64<<20)
	for in.Scan() {
		var e event
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			// The toolchain's own complaints are not JSON; they must be seen.
			fmt.Fprintln(w, in.Text())
			s.broken = true
			continue
		}
		s.take(e, w)
	}
	if err := in.Err(); err != nil {
		return false, fmt.Errorf("read the test stream: %w", err)
	}
	for _, line := range slices.Sorted(maps.Keys(s.leftOut)) {
		fmt.Fprintf(w, "%s (%d)\n", line, s.leftOut[line])
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
	return s.failed == 0 && !s.broken && s.passed > 0, nil
}

func (s *summary) take(e event, w io.Writer) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		if e.Action == "build-output" {
			key = e.ImportPath
		}
		s.output[key] = append(s.output[key], e.Output)
	case "build-fail":
		s.broken = true
		fmt.Fprintf(w, "--- BUILD FAILED %s\n%s", e.ImportPath, strings.Join(s.output[e.ImportPath], ""))
	case "pass", "skip", "fail":
		s.end(e, key, w)
		delete(s.output, key)
	}
}

func (s *summary) end(e event, key string, w io.Writer) {
	if e.Test == "" {
		s.packages++
		switch e.Action {
		case "pass":
			fmt.Fprintf(w, "ok  \t%s\t%.1fs\n", e.Package, e.Elapsed)
		case "fail":
			s.broken = true
			fmt.Fprintf(w, "FAIL\t%s\t%.1fs\n%s", e.Package, e.Elapsed, strings.Join(s.output[key], ""))
		}
		return
	}
	switch e.Action {
	case "pass":
		s.passed++
	case "skip":
		s.skipped++
		s.leftOut[reason(e, s.output[key])]++
	case "fail":
		s.failed++
		fmt.Fprintf(w, "--- FAILED %s %s\n%s", e.Package, e.Test, strings.Join(s.output[key], ""))
	}
}

// reason is why a test was skipped: the line it said so in, or its name where it gave none.
func reason(e event, output []string) string {
	for _, line := range output {
		if i := strings.Index(line, "LEFT OUT:"); i >= 0 {
			return strings.TrimSpace(line[i:])
		}
	}
	return fmt.Sprintf("LEFT OUT: %s %s", e.Package, e.Test)
}
