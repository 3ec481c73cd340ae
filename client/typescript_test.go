package client_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"marquee/internal/testkit"
)

// needTypescript returns the folder of the TypeScript client as `make typescript-client` builds it, or leaves the test out where it was
// not built from what is there now.
func needTypescript(t *testing.T) string {
	t.Helper()
	root := testkit.ProjectRoot(t)
	dir := filepath.Join(root, "client", "typescript")
	if _, err := exec.LookPath("node"); err != nil {
		testkit.LeftOut(t, "Node.js is not installed", "Debian: nodejs npm; then make typescript-client")
	}
	have, err := os.ReadFile(filepath.Join(dir, "dist", "ready"))
	if err != nil || strings.TrimSpace(string(have)) != madeFrom(t, root) {
		testkit.LeftOut(t, "the TypeScript client as it is now is not built", "run make typescript-client")
	}
	return dir
}

// madeFrom is the checksum of what the client is built from, as the Makefile has it.
func madeFrom(t *testing.T, root string) string {
	t.Helper()
	sum := sha256.New()
	for _, pattern := range []string{"ingest/v1/*.proto", "catalog/v1/*.proto", "serving/v1/*.proto", "client/typescript/*.json", "client/typescript/src/*.ts"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			sum.Write(text)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// TestTypescriptClient runs the client's example, compiled by its typed build, against a service.
func TestTypescriptClient(t *testing.T) {
	dir := needTypescript(t)
	s, err := start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.close(true, 503, 503) // and what is refused for now is asked again
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(dir, "dist", "example.js"), s.url, "anna")
	cmd.Env = append(os.Environ(), "MARQUEE_TOKEN=secret")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var got struct {
		Recommended int
		Still       bool
		Degraded    []string
	}
	if err := json.Unmarshal(out, &got); err != nil || got.Recommended != 5 || got.Still || len(got.Degraded) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	paths := map[string]int{}
	for _, c := range s.seen() {
		paths[c.path[strings.LastIndex(c.path, "/")+1:]]++
		if c.token != "Bearer secret" {
			t.Errorf("%s was called with %q", c.path, c.token)
		}
	}
	if paths["Recommend"] != 4 || paths["RecordEvents"] != 1 {
		t.Errorf("the calls were %v", paths)
	}
}
