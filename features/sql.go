package features

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Every set is one file beside this one. What several sets share is defined once under defs/, and named by the comment
// "-- include: a, b" on a file's first line.
//
//go:embed *.sql defs/*.sql
var sqlFiles embed.FS

// includePrefix starts the first line of a file that builds on others.
const includePrefix = "-- include: "

// Query is a feature set's query, ready to run with the parameters as_of and input_ends.
type Query struct {
	Set string
	SQL string
	// SHA256 of SQL, hexadecimal: what a manifest records as sql_sha256.
	SHA256 string
}

// Sets returns the names of all feature sets, sorted.
func Sets() []string {
	// The pattern is constant and valid, so that reading the embedded folder cannot fail.
	files, err := sqlFiles.ReadDir(".")
	if err != nil {
		panic(err)
	}
	var names []string
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".sql"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// SetQuery returns the query of the named set. An unknown name's error lists the valid ones.
func SetQuery(set string) (Query, error) {
	if !slices.Contains(Sets(), set) {
		return Query{}, fmt.Errorf("there is no feature set %q: the sets are %s", set, strings.Join(Sets(), ", "))
	}
	sql, err := compose(set + ".sql")
	if err != nil {
		return Query{}, fmt.Errorf("compose feature set %s: %w", set, err)
	}
	sum := sha256.Sum256([]byte(sql))
	return Query{Set: set, SQL: sql, SHA256: hex.EncodeToString(sum[:])}, nil
}

// definition is one file of SQL: a query, or for a name that stands for a function, a lambda.
type definition struct {
	name, body string
}

// compose puts a file's definitions before it as common table expressions, each once, in the order they depend on each
// other. Comments are left out, so that a change to one changes no checksum.
func compose(file string) (string, error) {
	var defs []definition
	if err := collect(file, nil, &defs); err != nil {
		return "", err
	}
	main := defs[len(defs)-1].body
	clauses := make([]string, 0, len(defs))
	for _, d := range defs[:len(defs)-1] {
		clauses = append(clauses, d.clause())
	}
	if own, ok := strings.CutPrefix(main, "WITH "); ok {
		return "WITH " + strings.Join(append(clauses, own), ",\n"), nil
	}
	if len(clauses) == 0 {
		return main, nil
	}
	return "WITH " + strings.Join(clauses, ",\n") + "\n" + main, nil
}

func (d definition) clause() string {
	if strings.HasPrefix(d.body, "SELECT") || strings.HasPrefix(d.body, "WITH") {
		return d.name + " AS\n(\n" + d.body + "\n)"
	}
	return "(" + d.body + ") AS " + d.name
}

// collect appends file's definitions, then file itself. within is the chain of files that led here.
func collect(file string, within []string, defs *[]definition) error {
	if slices.Contains(within, file) {
		return fmt.Errorf("%s includes itself by way of %s", file, strings.Join(within, ", "))
	}
	src, err := sqlFiles.ReadFile(file)
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(src), "\n")
	if list, ok := strings.CutPrefix(first, includePrefix); ok {
		for name := range strings.SplitSeq(list, ",") {
			name = strings.TrimSpace(name)
			if slices.ContainsFunc(*defs, func(d definition) bool { return d.name == name }) {
				continue
			}
			if err := collect("defs/"+name+".sql", append(within, file), defs); err != nil {
				return err
			}
		}
	}
	*defs = append(*defs, definition{name: strings.TrimSuffix(path.Base(file), ".sql"), body: stripComments(string(src))})
	return nil
}

// stripComments leaves out lines that are comments, blank lines and trailing spaces.
func stripComments(src string) string {
	var out []string
	for line := range strings.SplitSeq(src, "\n") {
		line = strings.TrimRight(line, " \t\r")
		if line != "" && !strings.HasPrefix(strings.TrimSpace(line), "--") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}
