package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestReadmeIsTrue holds what README.md tells people to type against what there is: the targets of make with their
// variables, the commands with their flags, the packages of go test, and files.
func TestReadmeIsTrue(t *testing.T) {
	readme, makefile := readText(t, "../../README.md"), readText(t, "../../Makefile")
	seen := map[string]int{}
	for _, line := range codeIn(readme) {
		words := shellWords(line)
		if len(words) < 2 && !strings.HasPrefix(line, "--") {
			continue
		}
		switch what := strings.TrimPrefix(words[0], "bin/"); {
		case what == "make":
			seen[what] += makeTargets(t, makefile, words[1:])
		case what == "marquee":
			seen[what]++
			if err := understood(t, words[1:]); err != nil {
				t.Errorf("README.md says `%s`: %v", line, err)
			}
		case what == "go" && words[1] == "test":
			seen[what]++
			goTest(t, line, words[2:])
		case strings.HasPrefix(what, "--"):
			seen["--"]++
			if name, _, _ := strings.Cut(strings.TrimPrefix(what, "--"), "="); !slices.Contains(flagNames(t), name) {
				t.Errorf("README.md says `%s`, and no command has that flag", line)
			}
		}
	}
	// A reader that finds nothing would find nothing wrong.
	for what, least := range map[string]int{"make": 4, "marquee": 8, "go": 4, "--": 5} {
		if seen[what] < least {
			t.Errorf("README.md names %d times %q, at least %d are expected", seen[what], what, least)
		}
	}
}

// TestReadmeNamesFiles: the documents and files that README.md sends people to are there, or a target of make says that it
// writes them.
func TestReadmeNamesFiles(t *testing.T) {
	makefile := readText(t, "../../Makefile")
	for _, name := range regexp.MustCompile(`\b[A-Za-z][\w./-]*\.(?:md|yaml)\b`).FindAllString(readText(t, "../../README.md"), -1) {
		if _, err := os.Stat(filepath.Join("../..", name)); err != nil && !strings.Contains(makefile, "## Write "+name) {
			t.Errorf("README.md names %s: %v", name, err)
		}
	}
}

// TestCommandsThatMessagesNameAreThere: what errors, help and comments tell people to run, between backquotes or behind "run" or
// "with", is a command of this program.
func TestCommandsThatMessagesNameAreThere(t *testing.T) {
	named := regexp.MustCompile("`marquee ([a-z][a-z-]*(?: [a-z][a-z-]*)*)")
	seen := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." && d.Name() != "." {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		for _, m := range named.FindAllStringSubmatch(readText(t, path), -1) {
			seen++
			if !isCommand(t, strings.Fields(m[1])) {
				t.Errorf("%s says `marquee %s`, which is no command", path, m[1])
			}
		}
		return nil
	})
	if err != nil || seen < 8 {
		t.Errorf("%d commands are named (%v)", seen, err)
	}
}

// isCommand reports whether the words begin with a command, down to one that does something.
func isCommand(t *testing.T, words []string) bool {
	t.Helper()
	parser, err := kong.New(&cli{}, kong.Vars{"version": "", "commit": ""})
	if err != nil {
		t.Fatal(err)
	}
	node := parser.Model.Node
	for _, word := range words {
		next := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == word })
		if next < 0 {
			break // An argument, or the sentence going on.
		}
		node = node.Children[next]
	}
	return node != parser.Model.Node && len(node.Children) == 0
}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// codeIn is what Markdown shows as code: lines of fenced blocks, without shell comments and with continued lines joined, and
// spans between backquotes.
func codeIn(markdown string) []string {
	var out []string
	parts := strings.Split(markdown, "```")
	for i, part := range parts {
		if i%2 == 1 {
			part = strings.ReplaceAll(part, "\\\n", " ")
			for line := range strings.Lines(part) {
				line, _, _ = strings.Cut(line, " #")
				out = append(out, strings.TrimSpace(line))
			}
			continue
		}
		for _, span := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(part, -1) {
			// In a table a vertical bar is escaped.
			out = append(out, strings.ReplaceAll(span[1], `\|`, "|"))
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// makeTargets checks the words behind make: targets, and variables that the Makefile uses.
func makeTargets(t *testing.T, makefile string, words []string) (targets int) {
	t.Helper()
	for _, word := range words {
		if name, _, ok := strings.Cut(word, "="); ok {
			// Either a rule uses it, or what the rule runs finds it in its environment and the target's help says so.
			if !strings.Contains(makefile, "$("+name+")") && !strings.Contains(makefile, " "+name+"=") {
				t.Errorf("README.md gives make the variable %s, which the Makefile does not know", name)
			}
			continue
		}
		targets++
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(word) + `:`).MatchString(makefile) {
			t.Errorf("README.md says make %s, and the Makefile has no such target", word)
		}
	}
	return targets
}

// shellWords splits a line as a shell does that knows quotes and nothing else.
func shellWords(line string) (words []string) {
	for _, w := range regexp.MustCompile(`(?:'[^']*'|"[^"]*"|[^\s'"])+`).FindAllString(line, -1) {
		words = append(words, regexp.MustCompile(`'([^']*)'|"([^"]*)"`).ReplaceAllString(w, "$1$2"))
	}
	return words
}

// understood reads a command line, or the usual notation for several: list|show for either, [--flag] for what may be left out.
func understood(t *testing.T, args []string) error {
	t.Helper()
	notation := regexp.MustCompile(`^[a-z-]+(?:\|[a-z-]+)+$|^\[.*\]$`)
	if !slices.ContainsFunc(args, notation.MatchString) {
		return parses(t, args)
	}
	parser, err := newParser(&cli{})
	if err != nil {
		return err
	}
	nodes := []*kong.Node{parser.Model.Node}
	for _, arg := range args {
		arg = strings.Trim(arg, "[]")
		if name, flag := strings.CutPrefix(arg, "--"); flag {
			if !slices.Contains(flagNames(t), name) {
				return fmt.Errorf("no command has the flag --%s", name)
			}
			continue
		}
		var next []*kong.Node
		for _, name := range strings.Split(arg, "|") {
			for _, n := range nodes {
				if i := slices.IndexFunc(n.Children, func(c *kong.Node) bool { return c.Name == name }); i >= 0 {
					next = append(next, n.Children[i])
				} else {
					return fmt.Errorf("%s has no command %s", n.Path(), name)
				}
			}
		}
		nodes = next
	}
	return nil
}

// parses reads a command line as the binary does, without running it. A path/to/… in it is there.
func parses(t *testing.T, args []string) error {
	t.Helper()
	for i, arg := range args {
		if !strings.HasPrefix(arg, "path/to/") {
			continue
		}
		args[i] = filepath.Join(t.TempDir(), filepath.Base(arg))
		var err error
		if filepath.Ext(arg) == "" {
			err = os.Mkdir(args[i], 0o755)
		} else {
			err = os.WriteFile(args[i], nil, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	parser, err := newParser(&cli{}, kong.Exit(func(int) {}), kong.Writers(new(strings.Builder), new(strings.Builder)))
	if err != nil {
		return err
	}
	_, err = parser.Parse(args)
	return err
}

func flagNames(t *testing.T) (names []string) {
	t.Helper()
	parser, err := newParser(&cli{})
	if err != nil {
		t.Fatal(err)
	}
	var walk func(*kong.Node)
	walk = func(n *kong.Node) {
		for _, f := range n.Flags {
			names = append(names, f.Name)
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(parser.Model.Node)
	return names
}

// goTest checks that the packages are there, and that a test or benchmark in them goes by the name given.
func goTest(t *testing.T, line string, words []string) {
	t.Helper()
	var source strings.Builder
	for _, word := range words {
		if !strings.HasPrefix(word, "./") {
			continue
		}
		files, err := filepath.Glob(filepath.Join("../..", word, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("README.md says `%s`, and %s has no tests: %v", line, word, err)
		}
		for _, f := range files {
			source.WriteString(readText(t, f))
		}
	}
	for i, word := range words[:len(words)-1] {
		kind := map[string]string{"-run": "(?:Test|Fuzz|Example)", "-bench": "Benchmark"}[word]
		pattern := strings.Trim(words[i+1], `'"`)
		if kind == "" || strings.Trim(pattern, "x^$") == "" { // -run xxx runs no test
			continue
		}
		names := regexp.MustCompile(`(?m)^func (`+kind+`\w*)\(`).FindAllStringSubmatch(source.String(), -1)
		if !slices.ContainsFunc(names, func(n []string) bool { return regexp.MustCompile(pattern).MatchString(n[1]) }) {
			t.Errorf("README.md says `%s`, and nothing there matches %s", line, fmt.Sprintf("%s %s", word, pattern))
		}
	}
}
