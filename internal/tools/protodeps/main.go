// Command protodeps writes the .proto sources that Marquee's own contracts import, printed from the descriptors that
// the pinned Go modules carry. buf would fetch them from its registry; printing them keeps `make generate` working
// without one, at exactly the version go.mod names.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/jhump/protoreflect/v2/protoprint"
)

func main() {
	out := flag.String("out", "", "folder to write the .proto files to")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "protodeps:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	if out == "" {
		return fmt.Errorf("-out is required")
	}
	file := validate.File_buf_validate_validate_proto
	path := filepath.Join(out, filepath.FromSlash(file.Path()))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("create %s: %w", filepath.Dir(path), err)
	}
	printer := protoprint.Printer{Compact: true}
	text, err := printer.PrintProtoToString(file)
	if err != nil {
		return fmt.Errorf("print %s: %w", file.Path(), err)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
