package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"marquee/internal/config"
)

var update = flag.Bool("update", false, "write config.example.yaml anew")

const examplePath = "../../config.example.yaml"

// TestExampleIsTheCode holds config.example.yaml against the settings: every one of them stands in it, with its default
// and with the words that its field says of it.
func TestExampleIsTheCode(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# Every setting of Marquee with its default. A setting may also be given by an environment variable (MARQUEE_ and its\n" +
		"# path in capitals: broker.url is MARQUEE_BROKER_URL) or a flag (--set broker.url=…); flags win over the environment,\n" +
		"# the environment over this file. `marquee config check --config FILE` says what is wrong with one.\n\n")
	e := example{t: t, out: &b, docs: map[string]map[string]string{}}
	e.section(reflect.ValueOf(defaultSettings()), "")
	if *update {
		if err := os.WriteFile(examplePath, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Error("config.example.yaml is not what the code says; run: go test ./cmd/marquee -run TestExampleIsTheCode -update")
	}
}

// TestExampleIsValid loads the example and finds the defaults.
func TestExampleIsValid(t *testing.T) {
	got, err := config.Load(defaultSettings(), config.Source{File: examplePath})
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	if !reflect.DeepEqual(got, defaultSettings()) {
		t.Errorf("the example is %+v, the defaults are %+v", got, defaultSettings())
	}
}

// example writes settings as YAML, each under what its field's comment says.
type example struct {
	t    *testing.T
	out  *bytes.Buffer
	docs map[string]map[string]string // by type, by field
}

func (e *example) section(v reflect.Value, indent string) {
	previous := ""
	for i := range v.NumField() {
		field := v.Type().Field(i)
		key := field.Tag.Get("koanf")
		if key == "" {
			continue
		}
		if nested := v.Field(i); nested.Kind() == reflect.Struct {
			if indent == "" {
				e.out.WriteString("\n")
			}
			fmt.Fprintf(e.out, "%s%s:\n", indent, key)
			e.section(nested, indent+"  ")
			continue
		}
		doc := byKeys(e.doc(v.Type(), field.Name), v.Type())
		if doc == "" {
			e.t.Errorf("%s.%s has no comment: config.example.yaml could not say what %s is", v.Type(), field.Name, key)
		}
		// One comment may stand for several fields.
		if doc != previous {
			e.comment(doc, indent)
		}
		previous = doc
		fmt.Fprintf(e.out, "%s%s: %s\n", indent, key, e.value(v.Field(i).Interface()))
	}
}

// value is a setting's value in YAML.
func (e *example) value(v any) string {
	if d, ok := v.(time.Duration); ok {
		return d.String()
	}
	node := &yaml.Node{}
	if err := node.Encode(v); err != nil {
		e.t.Fatal(err)
	}
	node.Style = yaml.FlowStyle
	if node.Kind == yaml.ScalarNode {
		node.Style = 0
	}
	text, err := yaml.Marshal(node)
	if err != nil {
		e.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// byKeys is a comment with the fields it names called as the file calls them.
func byKeys(doc string, typ reflect.Type) string {
	for i := range typ.NumField() {
		field := typ.Field(i)
		if key := field.Tag.Get("koanf"); key != "" {
			doc = regexp.MustCompile(`\b`+field.Name+`\b`).ReplaceAllString(doc, key)
		}
	}
	return doc
}

// comment writes a field's comment, wrapped; a line that is indented stands alone.
func (e *example) comment(doc, indent string) {
	line := indent + "#"
	end := func() {
		if line != indent+"#" {
			fmt.Fprintln(e.out, line)
		}
		line = indent + "#"
	}
	for text := range strings.Lines(doc) {
		alone := strings.HasPrefix(text, "\t") || strings.HasPrefix(text, "  ")
		if alone {
			end()
			line += "  "
		}
		for word := range strings.FieldsSeq(text) {
			if len(line)+1+len(word) > 118 {
				end()
			}
			line += " " + word
		}
		if alone {
			end()
		}
	}
	end()
}

// doc is the comment on a field, from the source.
func (e *example) doc(typ reflect.Type, field string) string {
	name := typ.PkgPath() + "." + typ.Name()
	if e.docs[name] == nil {
		e.docs[name] = map[string]string{}
		// This package's own path is main's in the binary and this folder in the source.
		dir := filepath.Join("../..", strings.TrimPrefix(strings.TrimPrefix(typ.PkgPath(), "marquee"), "/"))
		if typ.PkgPath() == "main" || strings.HasSuffix(typ.PkgPath(), "/cmd/marquee") {
			dir = "."
		}
		e.parse(dir, typ.Name(), e.docs[name])
	}
	return e.docs[name][field]
}

func (e *example) parse(dir, typ string, docs map[string]string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		e.t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			e.t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != typ {
				return true
			}
			structure, ok := spec.Type.(*ast.StructType)
			if !ok {
				return false
			}
			// A comment stands for the fields up to the next blank line or comment, as in "A and B bound …".
			group := ""
			for _, field := range structure.Fields.List {
				if field.Doc != nil {
					group = field.Doc.Text()
				}
				for _, n := range field.Names {
					docs[n.Name] = group
				}
			}
			return false
		})
	}
}
