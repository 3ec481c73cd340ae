// Package arch reads the project's own source and says where it breaks the rules of the house: who may import whom, how
// long a file may be, what every package must say of itself. Its test fails the build.
package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Module is the Go module the rules are for.
const Module = "marquee"

const maxLines = 600

// Package is one folder of Go files, tests and generated files apart.
type Package struct {
	// Dir is relative to the project root, with slashes; "." is the root.
	Dir     string
	Doc     bool
	Imports []string
	Files   []File
}

// File is one hand-written Go file, tests included.
type File struct {
	Path  string
	Lines int
	Inits int
}

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// Load reads every Go package under root. Folders that begin with a dot or an underscore, and testdata, are left out.
func Load(root fs.FS) ([]Package, error) {
	packages := map[string]*Package{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		return load(root, name, packages)
	})
	if err != nil {
		return nil, fmt.Errorf("read the source: %w", err)
	}
	out := make([]Package, 0, len(packages))
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		p := packages[dir]
		slices.Sort(p.Imports)
		p.Imports = slices.Compact(p.Imports)
		out = append(out, *p)
	}
	return out, nil
}

func load(root fs.FS, name string, packages map[string]*Package) error {
	src, err := fs.ReadFile(root, name)
	if err != nil {
		return err
	}
	f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir := path.Dir(name)
	p := packages[dir]
	if p == nil {
		p = &Package{Dir: dir}
		packages[dir] = p
	}
	test := strings.HasSuffix(name, "_test.go")
	if !test {
		for _, spec := range f.Imports {
			target := strings.Trim(spec.Path.Value, `"`)
			if rel, ok := strings.CutPrefix(target, Module+"/"); ok {
				p.Imports = append(p.Imports, rel)
			}
		}
	}
	if generated.Match(src) {
		return nil
	}
	p.Doc = p.Doc || f.Doc != nil && !test
	p.Files = append(p.Files, File{Path: name, Lines: bytes.Count(src, []byte("\n")), Inits: countInits(f)})
	return nil
}

func countInits(f *ast.File) int {
	n := 0
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			n++
		}
	}
	return n
}

// Check lists every breach of the rules, in a stable order.
func Check(packages []Package) []string {
	var out []string
	for _, p := range packages {
		out = append(out, checkPackage(p)...)
		for _, target := range p.Imports {
			if why := importLaw(p.Dir, target); why != "" {
				out = append(out, fmt.Sprintf("%s imports %s: %s", p.Dir, target, why))
			}
		}
	}
	return append(out, mutual(packages)...)
}

func checkPackage(p Package) []string {
	var out []string
	for _, part := range strings.Split(p.Dir, "/") {
		if slices.Contains([]string{"util", "utils", "common", "helpers", "misc"}, part) {
			out = append(out, fmt.Sprintf("%s: a folder named %s says nothing of what is in it", p.Dir, part))
		}
	}
	hasCode := false
	for _, f := range p.Files {
		hasCode = hasCode || !strings.HasSuffix(f.Path, "_test.go")
		if f.Lines > maxLines {
			out = append(out, fmt.Sprintf("%s has %d lines; at most %d", f.Path, f.Lines, maxLines))
		}
		if f.Inits > 0 {
			out = append(out, fmt.Sprintf("%s has an init function: wire it where main can see it", f.Path))
		}
	}
	if hasCode && !p.Doc {
		out = append(out, fmt.Sprintf("%s has no package comment", p.Dir))
	}
	return out
}
